//! One training step.
//!
//! In order: the batch; rows from their owners; the network forward per micro-batch; the head; the network backward;
//! dense gradients summed along the canonical tree; row gradients back to their owners; clipping; the optimizers.

use muster_collective::{Collective, RootSums};
use muster_data::Dataset;
use muster_kernels::bf16::Precision;
use muster_kernels::cuda::Device;
use muster_proto::capacity::Phase;
use muster_proto::checkpoint::{Counted, Validation};
use muster_proto::job::{self, JobSpec, OptimizerKind};
use muster_proto::sharding::ShardingPlan;
use rayon::prelude::*;

use super::clip::clip;
use super::heads::{Totals, count};
use super::meter::{Meter, Watched};
use super::{Error, learning_rate};
use crate::batch::{Corpus, Group, MicroBatch, Sampler, pack_samples};
use crate::checkpoint::{self, Extent, Reader, Snapshot};
use crate::cuda::Accelerator;
use crate::embedding::{
    LookupRequest, RowGradient, Rows, TableSet, look_up, push_gradients, sum_row_squares, update_dense,
    update_shard,
};
use crate::loss::{NegativeSampler, Occurrences, SoftmaxWorkspace};
use crate::model::{Dense, Inputs, MicroState, Network, Packed};

/// What a step did, the same on every rank.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StepReport {
    /// The normalized loss of the global batch, before the update.
    pub loss: f64,
    /// Real targets of the global batch.
    pub targets: u64,
    /// Sequences of the global batch.
    pub samples: u64,
    /// The learning rate of the dense optimizer.
    pub learning_rate: f64,
    /// Status bits that every rank had, and that some rank had.
    pub status: (u64, u64),
}

impl StepReport {
    /// Whether every rank had the status bit.
    #[must_use]
    pub fn all_have(&self, bit: u64) -> bool {
        self.status.0 & bit != 0
    }

    /// Whether some rank had the status bit.
    #[must_use]
    pub fn any_has(&self, bit: u64) -> bool {
        self.status.1 & bit != 0
    }
}

/// What a trainer is made of.
pub(super) struct Parts {
    pub(super) job: JobSpec,
    pub(super) dataset: Dataset,
    pub(super) plan: ShardingPlan,
    pub(super) corpus: Corpus,
    pub(super) groups: Vec<Group>,
    pub(super) sampler: Sampler,
    pub(super) set: TableSet,
    pub(super) dense: Dense,
    pub(super) inputs: Inputs,
    pub(super) network: Network,
    pub(super) negatives: Option<NegativeSampler>,
    pub(super) output_table: Option<usize>,
    pub(super) pool: rayon::ThreadPool,
}

/// A rank's share of a training job.
pub struct Trainer {
    /// The job.
    pub job: JobSpec,
    /// The dataset.
    pub dataset: Dataset,
    /// Who owns what.
    pub plan: ShardingPlan,
    /// How events become samples.
    pub corpus: Corpus,
    /// This rank's log partitions, by micro-batch.
    pub groups: Vec<Group>,
    /// The order of samples.
    pub sampler: Sampler,
    /// This rank's table shards.
    pub set: TableSet,
    /// The dense parameters.
    pub dense: Dense,
    /// Steps done.
    pub step: u64,
    /// How events become vectors.
    pub inputs: Inputs,
    /// The network.
    pub network: Network,
    /// The index, among the tables of the model, of the one that items are scored against.
    pub output_table: Option<usize>,
    /// Compute threads.
    pub pool: rayon::ThreadPool,
    pub(crate) negatives: Option<NegativeSampler>,
    /// The GPU that steps run on; none for the CPU.
    accelerator: Option<Box<Accelerator>>,
    pub(crate) packed: Option<Packed>,
    pub(super) states: Vec<MicroState>,
    pub(super) softmax: SoftmaxWorkspace,
    /// What this rank trained since it started, by epoch of the job.
    pub(super) counted: Vec<Counted>,
    /// What the checkpoint that was resumed from had counted, over all ranks.
    pub(super) resumed_ledger: Vec<Counted>,
    /// The state of validation of the checkpoint that was resumed from.
    pub(super) resumed_validation: Validation,
    pub(super) dense_gradient: Vec<f32>,
    /// Where the time of the steps goes.
    pub meter: Meter,
}

impl Trainer {
    pub(super) fn new(parts: Parts) -> Self {
        let states = vec![MicroState::default(); parts.groups.len()];
        let precision = match parts.job.model.head.precision() {
            job::Precision::F32 => Precision::F32,
            job::Precision::Bf16 => Precision::Bf16,
        };
        Self {
            job: parts.job,
            dataset: parts.dataset,
            plan: parts.plan,
            corpus: parts.corpus,
            groups: parts.groups,
            sampler: parts.sampler,
            set: parts.set,
            dense: parts.dense,
            step: 0,
            inputs: parts.inputs,
            network: parts.network,
            output_table: parts.output_table,
            pool: parts.pool,
            negatives: parts.negatives,
            accelerator: None,
            packed: None,
            states,
            softmax: SoftmaxWorkspace::new(precision),
            counted: Vec::new(),
            resumed_ledger: Vec::new(),
            resumed_validation: Validation::default(),
            dense_gradient: Vec::new(),
            meter: Meter::default(),
        }
    }

    /// Steps of an epoch.
    #[must_use]
    pub fn steps_per_epoch(&self) -> u64 {
        self.sampler.plan().steps()
    }

    /// Steps that the job plans in all.
    #[must_use]
    pub fn planned_steps(&self) -> u64 {
        let all = u64::from(self.job.training.epochs) * self.steps_per_epoch();
        self.job.training.max_steps.map_or(all, |most| most.min(all))
    }

    /// The micro-batches of this rank for the next step.
    #[must_use]
    pub fn next_batches(&self) -> Vec<MicroBatch> {
        self.batches_of(self.step)
    }

    /// The micro-batches of this rank for the step after `step` others.
    pub(crate) fn batches_of(&self, step: u64) -> Vec<MicroBatch> {
        let pack = |group: &Group| {
            let chosen = self.sampler.samples(group.index as usize, step);
            pack_samples(&self.corpus, group, &chosen)
        };
        self.pool.install(|| self.groups.par_iter().map(pack).collect())
    }

    /// Continues from a checkpoint: parameters, optimizer state, step and what was counted.
    ///
    /// # Errors
    /// A checkpoint of another model or dataset, or a damaged one.
    pub fn resume(&mut self, reader: &Reader) -> Result<(), checkpoint::Error> {
        let manifest = &reader.manifest;
        let dataset = &self.dataset.manifest().digest;
        if manifest.dataset != *dataset {
            return Err(checkpoint::Error::Mismatch {
                what: "the dataset's digest".into(),
                found: manifest.dataset.clone(),
                expected: dataset.clone(),
            });
        }
        self.check_warm_start(reader)?;
        self.load(reader)?;
        self.go_on_from(manifest.step, manifest.ledger.epochs.clone(), manifest.validation.clone());
        Ok(())
    }

    /// Takes only the parameters of a checkpoint.
    ///
    /// # Errors
    /// A checkpoint of another model, or a damaged one.
    ///
    /// # Panics
    /// After [`Trainer::move_to`]: the GPU would go on with the parameters that it took then.
    pub fn load(&mut self, reader: &Reader) -> Result<(), checkpoint::Error> {
        assert!(self.accelerator.is_none(), "a checkpoint is loaded before the trainer moves to a GPU");
        let kinds = self.kinds();
        reader.load(&mut self.set, &mut self.dense, kinds)
    }

    /// Takes the parameters of a checkpoint to be judged; training does not go on from here.
    ///
    /// # Errors
    /// As [`Trainer::load`].
    pub(super) fn take_parameters(&mut self, reader: &Reader) -> Result<(), checkpoint::Error> {
        self.accelerator = None;
        self.load(reader)
    }

    /// A copy of the pieces that this rank writes.
    #[must_use]
    pub fn snapshot(&self, rank: u32, extent: Extent) -> Snapshot {
        Snapshot::of(self.step, rank, &self.set, &self.dense, self.kinds(), extent)
    }

    /// Whether steps run on a GPU.
    pub(crate) fn is_on_gpu(&self) -> bool {
        self.accelerator.is_some()
    }

    /// The job as TOML.
    #[must_use]
    pub fn job_text(&self) -> String {
        toml::to_string(&self.job).expect("a job that was read from TOML can be written as TOML")
    }

    pub(crate) fn kinds(&self) -> (OptimizerKind, OptimizerKind) {
        (self.job.table_optimizer().kind, self.job.optimizer.kind)
    }

    /// Counts the samples of the step at hand.
    pub(crate) fn count_samples(&mut self, batches: &[MicroBatch]) {
        let epoch = (self.step / self.steps_per_epoch().max(1)) as usize;
        if self.counted.len() <= epoch {
            self.counted.resize(epoch + 1, Counted::default());
        }
        for sample in batches.iter().flat_map(|b| &b.samples) {
            self.counted[epoch].add(*sample);
        }
    }

    /// Runs the steps from now on on a GPU, which takes the parameters as they are.
    ///
    /// # Errors
    /// The device's, above all that its memory does not hold this rank's share of the model; `CutOnDevice` where a table
    /// is cut into column blocks.
    pub fn move_to(&mut self, device: Device) -> Result<(), Error> {
        if let Some(table) = self.set.of_model().iter().find(|table| table.is_cut()) {
            return Err(Error::CutOnDevice { table: table.name.clone() });
        }
        let accelerator = Accelerator::new(device, self.network.clone(), &self.set, &self.dense, &self.job)?;
        tracing::info!(device = accelerator.name(), "training on a GPU");
        self.accelerator = Some(Box::new(accelerator));
        Ok(())
    }

    /// The numerics that the steps have; ranks of a job must agree in them.
    #[must_use]
    pub fn numerics(&self) -> &'static str {
        if self.accelerator.is_some() { crate::CUDA_NUMERICS } else { crate::NUMERICS }
    }

    /// Brings the host's parameters and optimizer state up to date with the GPU's, if there is one.
    ///
    /// # Errors
    /// The device's.
    pub fn sync_host(&mut self) -> Result<(), Error> {
        if let Some(accelerator) = &self.accelerator {
            accelerator.download(&mut self.set, &mut self.dense)?;
        }
        Ok(())
    }

    /// Trains one step; `status` are this rank's status bits. Collective.
    ///
    /// # Errors
    /// The collective's or the device's, or a loss that is no longer a number.
    pub fn step(&mut self, status: u64, collective: &mut dyn Collective) -> Result<StepReport, Error> {
        match self.accelerator.take() {
            None => self.step_on_host(status, collective),
            Some(mut accelerator) => {
                // Kernels are queued and awaited across phases, so that only the whole step has a time.
                self.meter.begin(collective);
                let report = accelerator.step(self, status, collective);
                self.accelerator = Some(accelerator);
                self.meter.lap(None, collective);
                self.meter.end();
                report
            }
        }
    }

    fn step_on_host(&mut self, status: u64, collective: &mut dyn Collective) -> Result<StepReport, Error> {
        self.meter.begin(collective);
        let batches = self.next_batches();
        let negatives = self.negatives_of(self.step, &batches);
        self.meter.lap(None, collective);
        let mut watched = Watched::new(collective);
        let rows = look_up(&self.set, self.requests(&batches, &negatives), &mut watched)?;
        self.meter.lap_exchanges(Phase::Lookup, &[Phase::InputExchange, Phase::ForwardExchange], &watched);
        self.network.pack(&self.dense, &mut self.packed)?;
        self.forward(&batches, &rows)?;
        self.meter.lap(Some(Phase::Dense), collective);
        let totals = count(&batches, status, collective)?;
        self.meter.lap(None, collective);
        let head = self.head(&batches, &rows, &negatives, totals, collective)?;
        self.meter.lap(Some(Phase::Loss), collective);
        let step = self.step + 1;
        if !head.loss.is_finite() {
            return Err(Error::NotFinite { step, loss: head.loss });
        }
        self.backward(&batches)?;
        self.meter.lap(Some(Phase::Dense), collective);
        self.sum_dense_gradients(&batches, collective)?;
        self.meter.lap(Some(Phase::AllReduce), collective);
        let (tables, gradients) = self.row_gradients(&batches, &head.occurrences)?;
        let mut watched = Watched::new(collective);
        push_gradients(&mut self.set, &tables, &gradients, &mut watched)?;
        self.meter.lap_exchanges(Phase::TableUpdate, &[Phase::BackwardExchange], &watched);
        self.drop_frozen_gradients();
        if let Some(limit) = self.job.training.clip_norm {
            clip(&mut self.set, &mut self.dense_gradient, f64::from(limit), collective)?;
        }
        let (set, rule) = (&mut self.set, self.job.table_optimizer());
        self.pool.install(|| sum_row_squares(set, rule, collective))?;
        let learning_rate = self.update(step)?;
        self.meter.lap(Some(Phase::TableUpdate), collective);
        self.count_samples(&batches);
        self.step = step;
        self.meter.lap(None, collective);
        self.meter.end();
        let Totals { targets, samples, status } = totals;
        Ok(StepReport { loss: head.loss, targets, samples, learning_rate, status })
    }

    /// The negatives of each micro-batch of a step.
    pub(crate) fn negatives_of(&self, step: u64, batches: &[MicroBatch]) -> Vec<Vec<u32>> {
        let Some(sampler) = &self.negatives else { return vec![Vec::new(); batches.len()] };
        self.groups.iter().map(|group| sampler.sample(step, group.index)).collect()
    }

    /// One request a table: inputs, and what the head scores if it does not score all rows.
    pub(crate) fn requests(&self, batches: &[MicroBatch], negatives: &[Vec<u32>]) -> Vec<LookupRequest> {
        let mut requests = self.inputs.requests(batches);
        let Some(output) = self.output_table else { return requests };
        if output == requests.len() {
            requests.push(LookupRequest { table: output, ids: Vec::new() });
        }
        if !self.scores_all_rows() {
            let targets = batches.iter().flat_map(|b| b.targets.iter());
            let scored = targets.chain(negatives.iter().flatten()).copied();
            let inputs = std::mem::take(&mut requests[output].ids);
            requests[output] = LookupRequest::of(output, inputs.into_iter().chain(scored));
        }
        requests
    }

    fn forward(&mut self, batches: &[MicroBatch], rows: &[Rows]) -> Result<(), Error> {
        let (network, inputs, step) = (&self.network, &self.inputs, self.step);
        let Some(packed) = &self.packed else { return Ok(()) };
        let states = &mut self.states;
        self.pool.install(|| {
            batches.par_iter().zip(states).with_max_len(1).try_for_each(|(batch, state)| {
                inputs.assemble(batch, rows, network.input(batch.tokens(), state));
                network.forward(batch, packed, Some(step), state)
            })
        })?;
        Ok(())
    }

    fn backward(&mut self, batches: &[MicroBatch]) -> Result<(), Error> {
        let (network, step) = (&self.network, self.step);
        let Some(packed) = &self.packed else { return Ok(()) };
        let states = &mut self.states;
        self.pool.install(|| {
            batches
                .par_iter()
                .zip(states)
                .with_max_len(1)
                .try_for_each(|(batch, state)| network.backward(batch, packed, step, state))
        })?;
        Ok(())
    }

    /// Sums the dense gradients of all micro-batches of all ranks into `dense_gradient`.
    fn sum_dense_gradients(
        &mut self,
        batches: &[MicroBatch],
        collective: &mut dyn Collective,
    ) -> Result<(), Error> {
        let leaves = self.job.batch.micro_batches as usize;
        let mut sums = RootSums::new(leaves);
        for ((group, state), batch) in self.groups.iter().zip(&mut self.states).zip(batches) {
            if batch.tokens() == 0 {
                state.gradient.clear();
                state.gradient.resize(self.dense.values.len(), 0.0);
            }
            let gradient = std::mem::take(&mut state.gradient);
            if let Some(spare) = sums.push(group.index as usize, gradient)? {
                state.gradient = spare;
            }
        }
        let total = &mut self.dense_gradient;
        total.resize(self.dense.values.len(), 0.0);
        if self.job.reproducible || collective.world_size() == 1 {
            collective.all_reduce_tree(&sums.roots(), leaves, total)?;
        } else {
            total.fill(0.0);
            for root in sums.roots() {
                total.iter_mut().zip(root.values).for_each(|(sum, value)| *sum += value);
            }
            collective.all_reduce(total)?;
        }
        let mut buffers = Vec::new();
        sums.clear(&mut buffers);
        for (state, buffer) in self.states.iter_mut().filter(|s| s.gradient.is_empty()).zip(buffers) {
            state.gradient = buffer;
        }
        Ok(())
    }

    /// The tables whose rows are looked up, and so get gradients row by row.
    pub(crate) fn tables_with_lookups(&self) -> Vec<usize> {
        let empty = MicroBatch::with_features(self.set.of_model().len());
        let mut tables: Vec<usize> = self.inputs.tables(&empty).iter().map(|t| t.0).collect();
        let output = self.output_table.filter(|_| !self.scores_all_rows());
        tables.extend(output.filter(|o| !tables.contains(o)));
        tables
    }

    /// Row gradients of each table with lookups: per micro-batch, inputs first, then what the head scored.
    fn row_gradients(
        &self,
        batches: &[MicroBatch],
        scored: &[Occurrences],
    ) -> Result<(Vec<usize>, Vec<RowGradient>), Error> {
        let tables = self.tables_with_lookups();
        let output = self.output_table.filter(|_| !self.scores_all_rows());
        let per_batch = |(place, (batch, state)): (usize, (&MicroBatch, &MicroState))| -> Result<Vec<RowGradient>, muster_kernels::Error> {
            let mut occurrences = vec![Occurrences::default(); self.set.of_model().len()];
            for ((table, rows), (_, ids)) in
                self.inputs.table_gradients(&state.d_x).into_iter().zip(self.inputs.tables(batch))
            {
                occurrences[table] = Occurrences { ids: ids.to_vec(), rows, bias: Vec::new() };
            }
            if let (Some(output), Some(scored)) = (output, scored.get(place)) {
                occurrences[output].append(scored);
            }
            tables.iter().map(|t| occurrences[*t].sum(*t, self.set.of_model()[*t].dim)).collect()
        };
        let gradients: Result<Vec<Vec<RowGradient>>, muster_kernels::Error> =
            self.pool.install(|| batches.par_iter().zip(&self.states).enumerate().map(per_batch).collect());
        Ok((tables, gradients?.into_iter().flatten().collect()))
    }

    /// Applies both optimizers; returns the dense learning rate.
    fn update(&mut self, step: u64) -> Result<f64, Error> {
        let (planned, frozen, updates) = (self.planned_steps(), self.frozen(), self.job.updates_after(step));
        let (dense_spec, table_spec) = (&self.job.optimizer, self.job.table_optimizer());
        let table_lr = learning_rate(&self.job.schedule, table_spec, step, planned);
        let lr = learning_rate(&self.job.schedule, dense_spec, step, planned);
        let shards = self.set.tables.iter_mut().flat_map(|t| t.shards.values_mut());
        let shards: Vec<_> = shards.filter(|_| !frozen.tables).collect();
        let (dense, gradient) = (&mut self.dense, &self.dense_gradient);
        let (tables, dense) = self.pool.install(|| {
            rayon::join(
                || {
                    shards
                        .into_par_iter()
                        .try_for_each(|shard| update_shard(shard, table_spec, table_lr, updates.tables))
                },
                || match frozen.dense {
                    true => Ok(()),
                    false => update_dense(dense, gradient, dense_spec, lr, updates.dense),
                },
            )
        });
        tables.and(dense)?;
        Ok(lr)
    }
}
