//! A Muster job over a prepared dataset, as a capacity question asks it.

use muster_proto::capacity::{
    CapacitySpec, DenseSpec, LstmSpec, Precision, SoftmaxSpec, Software, TableOptimizer, TableSpec,
};
use muster_proto::dataset::DatasetManifest;
use muster_proto::job::tables::MissingColumn;
use muster_proto::job::{self, Combine, Head, JobSpec, OptimizerKind};
use muster_proto::sharding::TableDecl;

/// Puts a job's tables, dense part and run in the place of those of `spec`; pools, deadline and fleet stay.
///
/// An epoch has the dataset's users as samples; each has as many events as a user has on average, at most `max_len`.
///
/// # Errors
/// A column that the job needs and the dataset lacks.
pub fn import(
    spec: &mut CapacitySpec,
    job: &JobSpec,
    dataset: &DatasetManifest,
) -> Result<(), MissingColumn> {
    let known: Vec<&str> = dataset.columns.iter().map(|column| column.name.as_str()).collect();
    let declared = job.table_decls(|column| dataset.rows_of(column), &known.join(", "))?;
    let users = u64::from(dataset.users).max(1);
    let events = (dataset.events as f64 / users as f64).clamp(1.0, f64::from(job.batch.max_len));
    spec.tables = declared
        .iter()
        .map(|declared| {
            let mut table = table_of(job, declared, declared.dim, events);
            table.device_cache = job.tables.device_cache.get(&declared.name).copied();
            table
        })
        .collect();
    spec.table_list = None;
    spec.dense = dense(job, dataset, events);
    spec.run.batch = u64::from(job.batch.sequences);
    spec.run.samples = users;
    spec.run.epochs = f64::from(job.training.epochs);
    spec.run.software = Software::Muster;
    Ok(())
}

/// A table that a job declares, of `dim` values a row and looked up `events` times a sample.
pub(crate) fn table_of(job: &JobSpec, declared: &TableDecl, dim: u32, events: f64) -> TableSpec {
    let scored = job.scored_whole() == Some(declared.table());
    let kind = job.table_optimizer().kind;
    let mut table = TableSpec::new(&declared.name, declared.rows, dim, vec![events]);
    table.pooled = false;
    table.optimizer = match kind {
        OptimizerKind::Sgd => TableOptimizer::Sgd,
        OptimizerKind::Adagrad => TableOptimizer::Adagrad,
        OptimizerKind::RowWiseAdagrad => TableOptimizer::RowWiseAdagrad,
        OptimizerKind::Adam | OptimizerKind::AdamW | OptimizerKind::LazyAdam => TableOptimizer::Adam,
    };
    table.updates_all_rows = scored || matches!(kind, OptimizerKind::Adam | OptimizerKind::AdamW);
    table
}

fn dense(job: &JobSpec, dataset: &DatasetManifest, events: f64) -> DenseSpec {
    let model = &job.model;
    let widths = model.features.iter().map(|feature| feature.dim.unwrap_or(1));
    let input = match model.combine {
        Combine::Concat => model.embedding_dim + widths.sum::<u32>(),
        Combine::Add => model.embedding_dim,
    };
    let layer = |idx: u32| LstmSpec {
        input: if idx == 0 { input } else { model.hidden_size },
        hidden: model.hidden_size,
        events,
    };
    let candidates = match &model.head {
        Head::Softmax { .. } => Some(u64::from(dataset.items)),
        Head::SampledSoftmax { negatives, .. } => Some(u64::from(*negatives) + 1),
        Head::Bce { .. } | Head::Mse { .. } => Some(1),
        Head::Regression {} => None,
    };
    let projection = model.projection.map(|width| {
        let (hidden, width) = (f64::from(model.hidden_size), f64::from(width));
        (2.0 * hidden * width * events, ((hidden + 1.0) * width) as u64)
    });
    let (flops_per_sample, parameters) = projection.unwrap_or((0.0, 0));
    DenseSpec {
        precision: match model.head.precision() {
            job::Precision::F32 => Precision::F32,
            job::Precision::Bf16 => Precision::Bf16,
        },
        lstm: (0..model.layers).map(layer).collect(),
        flops_per_sample,
        parameters,
        softmax: candidates.map(|candidates| SoftmaxSpec {
            positions: events,
            candidates: candidates.max(1),
            dim: model.head_input(),
        }),
        ..DenseSpec::default()
    }
}
