//! What the steps of a job are made of, counted before it runs.
//!
//! The batches of a job are a function of the job and the dataset, so some of its steps are drawn and packed as ranks would
//! do it, and what is in them is counted: tokens, sequences alive at each time, distinct rows by micro-batch and by rank.

use std::path::Path;

use muster_data::Dataset;
use muster_proto::job::tables::{ITEM, OUTPUT};
use muster_proto::job::{Head, JobSpec};
use muster_proto::measured::{MicroShape, RankShape, Resident, StepShape, Workload};
use muster_proto::sharding::{ShardingPlan, TableDecl};

use crate::batch::{Corpus, EpochPlan, Group, MicroBatch, Sampler, pack_samples};
use crate::embedding::distinct;
use crate::loss::NegativeSampler;
use crate::model::{Inputs, Layout};
use crate::train::{SetupError, declare};

/// Steps that are counted.
const STEPS: u64 = 8;

/// A job over its dataset, as all its ranks together see it.
pub struct Counter {
    job: JobSpec,
    tables: Vec<TableDecl>,
    corpus: Corpus,
    inputs: Inputs,
    groups: Vec<Group>,
    sampler: Sampler,
    negatives: Option<NegativeSampler>,
    popularity: f64,
}

impl Counter {
    /// Loads the whole dataset.
    ///
    /// # Errors
    /// A dataset that cannot be read or does not fit the job.
    pub fn open(job: JobSpec, dataset_dir: &Path) -> Result<Self, SetupError> {
        let dataset = Dataset::open(dataset_dir)?;
        let tables = declare(&job, &dataset)?;
        let corpus = Corpus::new(&job, dataset.manifest())?;
        let load = |index| corpus.load_group(&dataset, index);
        let groups = (0..job.batch.micro_batches).map(load).collect::<Result<Vec<_>, _>>()?;
        let sizes = groups.iter().map(|group| group.samples.len() as u64).collect();
        let epoch = EpochPlan::new(sizes, job.batch.sequences);
        if epoch.samples() == 0 {
            return Err(SetupError::Empty { name: dataset.manifest().name.clone() });
        }
        let inputs = Inputs::new(&job.model, corpus.numeric_width());
        let (mut negatives, mut popularity) = (None, 0.0);
        if let Head::SampledSoftmax { negatives: count, alpha, log_q, .. } = &job.model.head {
            let counts = dataset.popularity()?;
            popularity = counts.len() as f64;
            negatives = Some(NegativeSampler::new(&counts, *alpha, *count, *log_q, job.seed));
        }
        let sampler = Sampler::new(epoch, job.seed);
        Ok(Self { job, tables, corpus, inputs, groups, sampler, negatives, popularity })
    }

    /// The job's tables.
    #[must_use]
    pub fn tables(&self) -> &[TableDecl] {
        &self.tables
    }

    /// The steps with the pieces where the plan puts them.
    #[must_use]
    pub fn count(&self, plan: &ShardingPlan) -> Workload {
        let outputs = usize::from(self.job.model.head.is_regression());
        let parameters = Layout::of(&self.job, self.inputs.width(), outputs).len();
        let steps = self.sampler.plan().steps();
        let drawn = STEPS.min(steps);
        Workload {
            world_size: plan.world_size,
            tables: self.tables.clone(),
            looked_up: self.looked_up(),
            input: self.inputs.width() as u32,
            outputs: outputs as u32,
            numeric: self.corpus.numeric_width() as u32,
            parameters: parameters as u64,
            steps: (0..drawn).map(|place| self.step(place * steps / drawn, plan)).collect(),
            resident: (0..plan.world_size).map(|rank| self.resident(rank, plan)).collect(),
        }
    }

    /// The output table where its rows are looked up.
    fn output(&self) -> Option<usize> {
        let head = &self.job.model.head;
        if matches!(head, Head::Softmax { .. } | Head::Regression {}) {
            return None;
        }
        let name = if head.tied() { ITEM } else { OUTPUT };
        self.tables.iter().position(|table| table.name == name)
    }

    fn looked_up(&self) -> Vec<usize> {
        let empty = MicroBatch::with_features(self.tables.len());
        let mut tables: Vec<usize> = self.inputs.tables(&empty).iter().map(|(table, _)| *table).collect();
        tables.extend(self.output().filter(|output| !tables.contains(output)));
        tables
    }

    fn step(&self, step: u64, plan: &ShardingPlan) -> StepShape {
        let looked_up = self.looked_up();
        let of_group = |group: &Group| {
            let chosen = self.sampler.samples(group.index as usize, step);
            let batch = pack_samples(&self.corpus, group, &chosen);
            let rows = looked_up.iter().map(|table| self.rows(*table, step, group, &batch)).collect();
            (batch.layout.batch_sizes().to_vec(), rows)
        };
        let groups: Vec<(Vec<u32>, Vec<Vec<u32>>)> = self.groups.iter().map(of_group).collect();
        let rank = |rank: u32| {
            let mine = plan.micro_batches_of(rank);
            let mine = &groups[mine.start as usize..mine.end as usize];
            let union = |place: usize| {
                distinct(mine.iter().flat_map(|(_, rows)| rows[place].iter().copied())).len() as u32
            };
            RankShape { rows: (0..looked_up.len()).map(union).collect() }
        };
        let ranks = (0..plan.world_size).map(rank).collect();
        let micro = groups.iter().map(|(alive, rows)| MicroShape {
            alive: alive.clone(),
            rows: rows.iter().map(|rows| rows.len() as u32).collect(),
        });
        StepShape { micro: micro.collect(), ranks }
    }

    /// The distinct rows of a table that a micro-batch needs.
    fn rows(&self, table: usize, step: u64, group: &Group, batch: &MicroBatch) -> Vec<u32> {
        let inputs = self.inputs.tables(batch);
        let inputs = inputs.into_iter().filter(|(of, _)| *of == table).flat_map(|(_, ids)| ids.to_vec());
        let scored = if self.output() == Some(table) {
            let drawn = self.negatives.as_ref().map(|sampler| sampler.sample(step, group.index));
            [batch.targets.clone(), drawn.unwrap_or_default()].concat()
        } else {
            Vec::new()
        };
        distinct(inputs.chain(scored))
    }

    fn resident(&self, rank: u32, plan: &ShardingPlan) -> Resident {
        let mine = plan.micro_batches_of(rank);
        let groups = &self.groups[mine.start as usize..mine.end as usize];
        let samples = groups.iter().map(|group| group.samples.len()).sum::<usize>() as f64;
        let partitions = || groups.iter().flat_map(|group| &group.partitions);
        let events = partitions().map(|partition| partition.items.len()).sum::<usize>() as f64;
        let users = partitions().map(|partition| f64::from(partition.users())).sum::<f64>();
        // Each of the two tables of the sampler, the counts and what they are made from are of 8 bytes an item or fewer.
        let negatives = self.popularity * 24.0;
        let data = partitions().map(|partition| partition.bytes() as f64).sum::<f64>();
        let longest = f64::from(self.job.batch.max_len);
        Resident {
            data: data + samples * size_of::<crate::batch::Sample>() as f64 + negatives,
            samples,
            users,
            history: events.min(users * longest),
        }
    }
}
