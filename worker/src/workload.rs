//! What the steps of a job are made of, counted before it runs.
//!
//! The batches of a job are a function of the job and the dataset, so some of its steps are drawn and packed as ranks would
//! do it, and what is in them is counted: tokens, sequences alive at each time, distinct rows by micro-batch and by rank.

use std::ops::Range;
use std::path::Path;

use muster_data::{Dataset, Partition, Split};
use muster_proto::job::tables::{ITEM, OUTPUT};
use muster_proto::job::{Head, JobSpec};
use muster_proto::measured::{MicroShape, RankShape, Resident, StepShape, Workload};
use muster_proto::sharding::{ShardingPlan, TableDecl};

use crate::batch::{Corpus, EpochPlan, Group, MicroBatch, Sample, Sampler, pack_samples};
use crate::embedding::distinct;
use crate::loss::NegativeSampler;
use crate::model::{Inputs, Layout};
use crate::train::{SetupError, declare};

/// Steps that are counted.
const STEPS: u64 = 8;

/// The most steps of a run whose rows are drawn one by one.
const DRAWN: u64 = 200;

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
            touched: self.touched(),
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
        // The sampler's two lists, and the counts that they are made from.
        let negatives = self.popularity * 24.0;
        let data = partitions().map(|partition| partition.bytes() as f64).sum::<f64>();
        let held_out = partitions().flat_map(|partition| {
            let user =
                move |user| partition.held_out(user, Split::Test).map(|event| (partition, event.history));
            (0..partition.users()).filter_map(user)
        });
        let histories: Vec<_> = held_out.collect();
        let longest = self.job.batch.max_len as usize;
        let recent = |events: &[(&Partition, Range<usize>)]| -> Vec<u32> {
            let recent = events.iter().map(|(partition, history)| {
                &partition.items[history.end.saturating_sub(longest).max(history.start)..history.end]
            });
            recent.flatten().copied().collect()
        };
        let calls = histories.chunks(crate::evaluate::CALL).map(|call| recent(call).len() as f64);
        let rounds = histories
            .chunks(crate::evaluate::ROUND)
            .map(|round| distinct(recent(round).into_iter()).len() as f64);
        let (call_tokens, round_items) = (calls.fold(0.0, f64::max), rounds.fold(0.0, f64::max));
        let data = data + samples * size_of::<Sample>() as f64 + negatives;
        Resident { data, call_tokens, round_items }
    }

    /// The share of each table's rows that the run writes; of a long run all, which is never too few.
    fn touched(&self) -> Vec<f64> {
        let per_epoch = self.sampler.plan().steps();
        let all = u64::from(self.job.training.epochs) * per_epoch;
        let planned = self.job.training.max_steps.map_or(all, |most| most.min(all));
        if planned > DRAWN {
            return vec![1.0; self.tables.len()];
        }
        let mut written: Vec<Vec<bool>> =
            self.tables.iter().map(|table| vec![false; table.rows as usize]).collect();
        for (step, group) in (0..planned).flat_map(|step| self.groups.iter().map(move |group| (step, group)))
        {
            let batch = pack_samples(&self.corpus, group, &self.sampler.samples(group.index as usize, step));
            for (table, written) in written.iter_mut().enumerate() {
                let rows = self.rows(table, step, group, &batch);
                rows.into_iter().for_each(|row| written[row as usize] = true);
            }
        }
        let share = |written: &Vec<bool>| {
            written.iter().filter(|written| **written).count() as f64 / written.len().max(1) as f64
        };
        written.iter().map(share).collect()
    }
}
