//! A step, in the order in which ranks execute it.

use std::collections::BTreeMap;

use muster_proto::capacity::Phase;
use muster_proto::job::tables::ITEM;
use muster_proto::job::{Head, JobSpec};
use muster_proto::measured::calibration::spread;
use muster_proto::measured::{Forecast, MicroShape, StepShape, Term, Workload};
use muster_proto::sharding::{Placement, ShardingPlan};

use super::curves::{Ask, Curves, Error};
use super::dense::Network;
use super::memory;
use super::share::Machine;
use super::trials::Parts;

/// What a forecast is made for.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'a> {
    /// The job.
    pub job: &'a JobSpec,
    /// What its steps are made of, on as many ranks as the plan has.
    pub workload: &'a Workload,
    /// Where its pieces lie.
    pub plan: &'a ShardingPlan,
    /// Threads of each rank.
    pub threads: usize,
}

/// Forecasts the steps of a job on ranks that all are on the calibration's machine: the mean over the workload's steps.
///
/// # Errors
/// A term that the job needs and the calibration lacks.
pub fn forecast(subject: &Subject<'_>, curves: &Curves) -> Result<Forecast, Error> {
    let Subject { job, workload, plan, threads } = *subject;
    let machine = Machine { cores: curves.cores, threads };
    let ranks = Ranks { job, workload, plan, curves, machine };
    curves.take_outside();
    let mut terms = Parts::new();
    let n_steps = workload.steps.len().max(1) as f64;
    for step in &workload.steps {
        for (phase, seconds) in ranks.step(step)? {
            *terms.entry(phase).or_default() += seconds / n_steps;
        }
    }
    let mut extrapolated = curves.take_outside();
    if curves.trials.is_beyond(plan.world_size) {
        extrapolated.push("waiting".to_owned());
    }
    let parts = curves.trials.whole(plan.world_size, &terms, activations(job, workload, plan));
    let of_phase = |(phase, seconds): (&Option<Phase>, &f64)| Some(((*phase)?, *seconds));
    let phases: BTreeMap<Phase, f64> = parts.iter().filter_map(of_phase).collect();
    let rest = parts.get(&None).copied().unwrap_or(0.0);
    let layouts = plan.tables.iter().map(|(name, table)| (name.clone(), layout_of(table.placement)));
    let seconds = phases.values().sum::<f64>() + rest;
    Ok(Forecast {
        source: curves.source.clone(),
        workers: plan.world_size,
        threads: threads as u32,
        layouts: layouts.collect(),
        phases,
        rest,
        peak_bytes: memory::peaks(&ranks, seconds),
        extrapolated,
    })
}

/// Values of the network's input and output of the rank that has most, in a step on average.
#[must_use]
pub fn activations(job: &JobSpec, workload: &Workload, plan: &ShardingPlan) -> f64 {
    let width = f64::from(workload.input) + f64::from(job.model.head_input());
    let steps = workload.steps.len().max(1) as f64;
    workload.steps.iter().map(|step| most_tokens(plan, step)).sum::<f64>() / steps * width
}

/// Tokens of the rank that has most.
fn most_tokens(plan: &ShardingPlan, step: &StepShape) -> f64 {
    per_rank(plan, |micro| step.micro[micro].tokens())
}

/// The largest sum over a rank's micro-batches.
fn per_rank(plan: &ShardingPlan, of: impl Fn(usize) -> f64) -> f64 {
    let sum = |rank: u32| plan.micro_batches_of(rank).map(|micro| of(micro as usize)).sum::<f64>();
    (0..plan.world_size.max(1)).map(sum).fold(0.0, f64::max)
}

fn layout_of(placement: Placement) -> String {
    let word = serde_json::to_value(placement).ok();
    word.and_then(|word| word.as_str().map(str::to_owned)).unwrap_or_default()
}

/// The ranks of a job on one machine.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ranks<'a> {
    pub(super) job: &'a JobSpec,
    pub(super) workload: &'a Workload,
    pub(super) plan: &'a ShardingPlan,
    pub(super) curves: &'a Curves,
    pub(super) machine: Machine,
}

impl Ranks<'_> {
    /// Seconds of each part of a step; a phase may have several.
    fn step(&self, step: &StepShape) -> Result<Vec<(Option<Phase>, f64)>, Error> {
        let look_up = self.look_up(step)?;
        let dense = self.dense(step)?;
        let update = self.update(step)?;
        Ok(vec![
            (None, self.batches(step)?),
            (Some(Phase::InputExchange), look_up.ids),
            (Some(Phase::Lookup), look_up.read),
            (Some(Phase::ForwardExchange), look_up.rows),
            (Some(Phase::Dense), dense),
            (Some(Phase::Loss), self.loss(step)?),
            (Some(Phase::BackwardExchange), update.exchange),
            (Some(Phase::TableUpdate), update.own),
            (Some(Phase::AllReduce), self.all_reduce()?),
        ])
    }

    /// Number of ranks.
    pub(super) fn n(&self) -> usize {
        self.plan.world_size.max(1) as usize
    }

    /// The spread of a table of which each rank has a share.
    pub(super) fn shared(&self) -> f64 {
        spread::SHARED
    }

    /// Seconds of what each rank does alone, or all do together.
    pub(super) fn alone(&self, term: Term, at: &[f64], size: f64) -> Result<f64, Error> {
        self.curves.seconds(Ask::new(term, at, size, self.n() as f64))
    }

    /// Seconds of a task while so many threads are at work.
    pub(super) fn busy(&self, term: Term, (at, size): (&[f64], f64), busy: f64) -> Result<f64, Error> {
        self.curves.seconds(Ask::new(term, at, size, busy))
    }

    /// Seconds to start work on a rank's threads and to wait for it.
    pub(super) fn fork(&self) -> Result<f64, Error> {
        self.alone(Term::ForkJoin, &[self.machine.threads as f64], 1.0)
    }

    /// Threads at work while micro-batches are computed.
    pub(super) fn pool_busy(&self) -> f64 {
        self.machine.busy((0..self.n() as u32).map(|rank| self.plan.micro_batches_of(rank).len()))
    }

    /// A task for each micro-batch, rank by rank.
    pub(super) fn of_micro(
        &self,
        step: &StepShape,
        task: impl Fn(&MicroShape) -> Result<f64, Error>,
    ) -> Result<Vec<Vec<f64>>, Error> {
        let of_rank = |rank: u32| {
            let mine = self.plan.micro_batches_of(rank);
            mine.map(|micro| step.micro.get(micro as usize).map_or(Ok(0.0), &task)).collect()
        };
        (0..self.plan.world_size.max(1)).map(of_rank).collect()
    }

    /// The largest sum over a rank's micro-batches.
    pub(super) fn per_rank(&self, of: impl Fn(usize) -> f64) -> f64 {
        per_rank(self.plan, of)
    }

    /// Tokens of the rank that has most.
    pub(super) fn most_tokens(&self, step: &StepShape) -> f64 {
        most_tokens(self.plan, step)
    }

    /// Whether the network reads a table's rows.
    pub(super) fn is_input(&self, table: usize) -> bool {
        let name = &self.workload.tables[table].name;
        name == ITEM || self.job.model.features.iter().any(|feature| feature.column == *name)
    }

    /// Occurrences of rows that a head scores in a micro-batch, where it looks them up.
    pub(super) fn scored_of(&self, micro: &MicroShape, table: usize) -> f64 {
        if self.output().is_none_or(|(output, _)| output != table) {
            return 0.0;
        }
        match &self.job.model.head {
            Head::Softmax { .. } | Head::Regression {} => 0.0,
            Head::SampledSoftmax { negatives, .. } => micro.tokens() + f64::from(*negatives),
            Head::Bce { .. } | Head::Mse { .. } => micro.tokens(),
        }
    }

    /// The same of all micro-batches of the rank that has most.
    pub(super) fn scored(&self, step: &StepShape, table: usize) -> f64 {
        self.per_rank(|micro| self.scored_of(&step.micro[micro], table))
    }

    /// What is of no phase: batches, negatives, counting.
    fn batches(&self, step: &StepShape) -> Result<f64, Error> {
        let columns = 1.0 + self.job.model.features.len() as f64;
        let busy = self.pool_busy();
        let pack = |micro: &MicroShape| self.busy(Term::MakeBatch, (&[columns], micro.tokens()), busy);
        let tasks = self.of_micro(step, pack)?;
        let mut seconds = self.machine.seconds(&tasks) + self.fork()? + self.alone(Term::Words, &[], 1.0)?;
        if let Head::SampledSoftmax { negatives, .. } = &self.job.model.head {
            let drawn = self.per_rank(|_| f64::from(*negatives));
            seconds += self.alone(Term::DrawNegatives, &[], drawn)?;
        }
        Ok(seconds)
    }

    fn dense(&self, step: &StepShape) -> Result<f64, Error> {
        let Self { curves, workload, .. } = *self;
        let network = Network { curves, model: &self.job.model, workload, busy: self.pool_busy() };
        let forward = self.of_micro(step, |micro| network.forward(micro))?;
        let backward = self.of_micro(step, |micro| network.backward(micro))?;
        let pack = self.alone(Term::PackWeights, &[], workload.parameters as f64)?;
        let computed = self.machine.seconds(&forward) + self.machine.seconds(&backward);
        Ok(computed + pack + 2.0 * self.fork()?)
    }

    fn all_reduce(&self) -> Result<f64, Error> {
        let most = (0..self.plan.world_size.max(1)).map(|rank| self.plan.micro_batches_of(rank).len()).max();
        let most = most.unwrap_or(1).max(1) as f64;
        self.alone(Term::SumGradients, &[most], self.workload.parameters as f64)
    }
}
