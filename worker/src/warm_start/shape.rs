//! Whether two jobs have models of the same shape.

use muster_kernels::optimizer::state_slots;
use muster_proto::job::tables::{ITEM, OUTPUT};
use muster_proto::job::{JobSpec, KeptState, ModelSpec, OptimizerSpec, WarmStartSpec};

use crate::embedding::kernel_kind;

/// The first key in which the models differ that the parameters' shapes or meaning follow from, with the parent's value and
/// the job's; none where parameters can be taken over. What is only about training may differ: dropout, the learning rate,
/// softmax over all items or over samples.
pub(super) fn difference(
    job: &JobSpec,
    spec: &WarmStartSpec,
    parent: &JobSpec,
) -> Option<(String, String, String)> {
    let (ours, theirs) = (&job.model, &parent.model);
    let keys = [
        ("model.head", head(theirs), head(ours)),
        ("model.embedding_dim", theirs.embedding_dim.to_string(), ours.embedding_dim.to_string()),
        ("model.hidden_size", theirs.hidden_size.to_string(), ours.hidden_size.to_string()),
        ("model.layers", theirs.layers.to_string(), ours.layers.to_string()),
        ("model.projection", optional(theirs.projection), optional(ours.projection)),
        ("model.combine", name(&theirs.combine), name(&ours.combine)),
        (
            "model.features",
            features(theirs, str::to_owned),
            features(ours, |c| spec.column_of_parent(c).to_owned()),
        ),
    ];
    let shape = keys.into_iter().map(|(key, found, expected)| (key.to_owned(), found, expected));
    let mut keys: Vec<_> = shape.chain(column_blocks(job, spec, parent)).collect();
    if spec.optimizer_state == KeptState::Keep {
        let kinds = [
            ("optimizer.kind", &parent.optimizer, &job.optimizer),
            ("table_optimizer.kind", parent.table_optimizer(), job.table_optimizer()),
        ];
        let unlike = kinds.into_iter().filter(|(_, theirs, ours)| slots(theirs) != slots(ours));
        keys.extend(unlike.map(|(key, theirs, ours)| {
            let hint = " (or set warm_start.optimizer_state = \"reset\")";
            (key.to_owned(), name(&theirs.kind), name(&ours.kind) + hint)
        }));
    }
    keys.into_iter().find(|(_, found, expected)| found != expected)
}

/// How tables are cut into column blocks, by table.
fn column_blocks(job: &JobSpec, spec: &WarmStartSpec, parent: &JobSpec) -> Vec<(String, String, String)> {
    let columns = job.model.features.iter().map(|feature| feature.column.as_str());
    let blocks =
        |job: &JobSpec, table: &str| job.tables.column_blocks.get(table).copied().unwrap_or(1).to_string();
    let of_table = |table: &str| {
        let there = spec.column_of_parent(table);
        (format!("tables.column_blocks.{table}"), blocks(parent, there), blocks(job, table))
    };
    [ITEM, OUTPUT].into_iter().chain(columns).map(of_table).collect()
}

/// The names of an optimizer's state.
fn slots(spec: &OptimizerSpec) -> Vec<&'static str> {
    state_slots(kernel_kind(spec.kind)).iter().map(|slot| slot.name).collect()
}

/// What of a head its parameters follow from.
fn head(model: &ModelSpec) -> String {
    if model.head.is_regression() {
        return "a regression".to_owned();
    }
    let tied = if model.head.tied() { "tied" } else { "with a table of its own" };
    format!("{tied}, {}", if model.head.bias() { "with biases" } else { "without biases" })
}

fn features(model: &ModelSpec, name_there: impl Fn(&str) -> String) -> String {
    let feature = |feature: &muster_proto::job::FeatureSpec| match feature.dim {
        Some(dim) => format!("{} ({dim})", name_there(&feature.column)),
        None => name_there(&feature.column),
    };
    let list: Vec<String> = model.features.iter().map(feature).collect();
    if list.is_empty() { "none".to_owned() } else { list.join(", ") }
}

fn optional(value: Option<u32>) -> String {
    value.map_or_else(|| "none".to_owned(), |value| value.to_string())
}

/// The name of a choice, as files have it.
fn name(choice: &impl serde::Serialize) -> String {
    toml::Value::try_from(choice).map_or_else(|error| error.to_string(), |value| value.to_string())
}
