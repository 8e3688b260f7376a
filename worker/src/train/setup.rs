//! Everything that a rank needs before the first step: its data, its shards, the network.

use std::path::Path;

use muster_collective::{Collective, CollectiveExt};
use muster_data::Dataset;
use muster_kernels::optimizer::state_slots;
use muster_proto::job::tables::{ITEM, OUTPUT};
use muster_proto::job::{Head, JobSpec};
use muster_proto::sharding::{ShardingPlan, TableDecl};

use super::step::Trainer;
use crate::batch::{self, Corpus, EpochPlan, Group, Sampler};
use crate::embedding::{Init, Table, TableSet, kernel_kind};
use crate::loss::NegativeSampler;
use crate::model::{Dense, Inputs, Layout, Network};

/// Why a rank could not get ready.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// The dataset.
    #[error(transparent)]
    Data(#[from] batch::Error),
    /// The dataset's popularity counts.
    #[error("cannot load the dataset: {0}")]
    Popularity(#[from] muster_data::Error),
    /// The plan does not fit the tables.
    #[error("the sharding plan does not fit the job: {0}")]
    Plan(#[from] muster_proto::sharding::Error),
    /// Compute threads could not be started.
    #[error("cannot start {threads} compute threads: {source}")]
    Threads {
        /// How many.
        threads: usize,
        /// What the pool said.
        source: rayon::ThreadPoolBuildError,
    },
    /// The collective failed.
    #[error(transparent)]
    Collective(#[from] muster_collective::Error),
    /// There is nothing to train on.
    #[error(
        "dataset {name} has no user with two or more training events; check the cleaning report of `muster prepare`"
    )]
    Empty {
        /// The dataset.
        name: String,
    },
}

/// The job, its dataset and this rank's place in the plan.
#[derive(Debug)]
pub struct Setup {
    /// The job.
    pub job: JobSpec,
    /// The dataset.
    pub dataset: Dataset,
    /// The job's tables, of those that are cut their column blocks.
    pub tables: Vec<TableDecl>,
    /// Who owns what.
    pub plan: ShardingPlan,
    /// Compute threads.
    pub threads: usize,
}

impl Setup {
    /// Opens the dataset and places the job's tables by `plan`, or by the simple rule for `world_size` ranks.
    ///
    /// # Errors
    /// A dataset that cannot be read or does not fit the job.
    pub fn open(
        job: JobSpec,
        dataset_dir: &Path,
        plan: Option<ShardingPlan>,
        world_size: u32,
        threads: usize,
    ) -> Result<Self, SetupError> {
        let dataset = Dataset::open(dataset_dir)?;
        let tables = declare(&job, &dataset)?;
        let plan = match plan {
            Some(plan) => plan,
            None => ShardingPlan::simple(&tables, job.batch.micro_batches, world_size)?,
        };
        plan.check(&tables)?;
        Ok(Self { job, dataset, tables, plan, threads })
    }

    /// Loads this rank's log partitions, makes its shards and agrees on the epoch with the others. Collective.
    ///
    /// # Errors
    /// Data that cannot be loaded, or the collective's.
    pub fn build(self, collective: &mut dyn Collective) -> Result<Trainer, SetupError> {
        let rank = collective.rank() as u32;
        let corpus = Corpus::new(&self.job, self.dataset.manifest())?;
        let mine = self.plan.micro_batches_of(rank);
        let groups = mine.map(|m| corpus.load_group(&self.dataset, m)).collect::<Result<Vec<Group>, _>>()?;
        let sizes = group_sizes(&self.job, &groups, collective)?;
        if sizes.iter().all(|size| *size == 0) {
            return Err(SetupError::Empty { name: self.dataset.manifest().name.clone() });
        }
        self.assemble(rank, corpus, groups, sizes)
    }

    /// Makes all shards and loads no log partition: for a model that is asked about histories that come with the question. It cannot
    /// be trained or evaluated.
    ///
    /// # Errors
    /// A dataset whose vocabularies cannot be read.
    pub fn build_to_ask(self) -> Result<Trainer, SetupError> {
        let corpus = Corpus::new(&self.job, self.dataset.manifest())?;
        let sizes = vec![0; self.job.batch.micro_batches as usize];
        self.assemble(0, corpus, Vec::new(), sizes)
    }

    fn assemble(
        self,
        rank: u32,
        corpus: Corpus,
        groups: Vec<Group>,
        sizes: Vec<u64>,
    ) -> Result<Trainer, SetupError> {
        let Self { job, dataset, tables, plan, threads } = self;
        let epoch = EpochPlan::new(sizes, job.batch.sequences);
        let init = Init { seed: job.seed, std: job.model.init_std };
        let kind = job.table_optimizer().kind;
        let table = |decl: TableDecl| {
            let table_plan = plan.tables[&decl.name].clone();
            Table::initial(decl, table_plan, rank, kind, init)
        };
        let set = TableSet::new(tables.into_iter().map(table).collect());
        let inputs = Inputs::new(&job.model, corpus.numeric_width());
        let outputs = usize::from(job.model.head.is_regression());
        let layout = Layout::of(&job, inputs.width(), outputs);
        let slots = state_slots(kernel_kind(job.optimizer.kind)).len();
        let dense = Dense::initial(layout.clone(), job.seed, slots);
        let network = Network::new(job.model.clone(), layout, inputs.width(), outputs, job.seed);
        let negatives = match &job.model.head {
            Head::SampledSoftmax { negatives, alpha, log_q, .. } => {
                Some(NegativeSampler::new(&dataset.popularity()?, *alpha, *negatives, *log_q, job.seed))
            }
            _ => None,
        };
        let output_table = set.index(if job.model.head.tied() { ITEM } else { OUTPUT });
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .thread_name(|i| format!("compute-{i}"))
            .build()
            .map_err(|source| SetupError::Threads { threads, source })?;
        let sampler = Sampler::new(epoch, job.seed);
        Ok(Trainer::new(super::step::Parts {
            job,
            dataset,
            plan,
            corpus,
            groups,
            sampler,
            set,
            dense,
            inputs,
            network,
            negatives,
            output_table,
            pool,
        }))
    }
}

/// The tables of a job over a dataset.
///
/// # Errors
/// A column that the dataset lacks.
pub fn declare(job: &JobSpec, dataset: &Dataset) -> Result<Vec<TableDecl>, batch::Error> {
    let manifest = dataset.manifest();
    let known: Vec<&str> = manifest.categorical().map(|c| c.name.as_str()).collect();
    let known = if known.is_empty() { "none".into() } else { known.join(", ") };
    Ok(job.table_decls(|column| manifest.rows_of(column), &known)?)
}

/// Training samples of each micro-batch's group, over all ranks.
fn group_sizes(
    job: &JobSpec,
    groups: &[Group],
    collective: &mut dyn Collective,
) -> Result<Vec<u64>, muster_collective::Error> {
    let mine: Vec<u64> = groups.iter().flat_map(|g| [u64::from(g.index), g.samples.len() as u64]).collect();
    let mut all = vec![mine.clone()];
    if collective.world_size() > 1 {
        collective.all_gather::<u64>(&mine, &mut all)?;
    }
    let mut sizes = vec![0; job.batch.micro_batches as usize];
    for pair in all.iter().flat_map(|words| words.chunks_exact(2)) {
        sizes[pair[0] as usize] = pair[1];
    }
    Ok(sizes)
}
