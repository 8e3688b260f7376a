//! One training step on the device, in the order of [`Trainer::step`].

use std::collections::BTreeMap;

use muster_collective::{Collective, Root};
use muster_kernels::cuda::{Buffer, Device, Error as DeviceError};
use muster_proto::job::Head as JobHead;

use super::ahead::{Ahead, Now, PartIds};
use super::buckets::FreeOrder;
use super::gradients::{BatchGradient, Occurrences, Sparse, add_to_dense, bring_home};
use super::heads::{Head, Scored, Scores};
use super::nccl::Sums;
use super::network::{MicroState, Weights};
use super::rows::DeviceRows;
use super::softmax;
use super::update::Rule;
use super::{Accelerator, sums};
use crate::batch::MicroBatch;
use crate::loss::{PointwiseKind, Weight as _, gather_positions};
use crate::model::InputPart;
use crate::train::{Error, StepReport, Totals, Trainer, count, learning_rate};

/// What a step works on: this rank's micro-batches, their negatives, and the rows that they need.
#[derive(Clone, Copy)]
struct Input<'a> {
    batches: &'a [MicroBatch],
    negatives: &'a [Vec<u32>],
    rows: &'a [DeviceRows],
    parts: &'a [Vec<PartIds>],
}

impl Accelerator {
    /// Trains one step. Collective.
    pub(crate) fn step(
        &mut self,
        trainer: &mut Trainer,
        status: u64,
        collective: &mut dyn Collective,
    ) -> Result<StepReport, Error> {
        let Now { batches, negatives, requests, places, parts } = self.batch_at_hand(trainer, collective)?;
        let rows = self.look_up(&trainer.set, requests, &places, collective)?;
        let input = Input { batches: &batches, negatives: &negatives, rows: &rows, parts: &parts };
        self.forward(trainer, input)?;
        self.look_ahead(trainer, collective)?;
        let totals = count(&batches, status, collective)?;
        let (loss, scored) = self.head(trainer, input, totals, collective)?;
        // The loss was waited for, and with it the sums of the step before.
        self.check_sums()?;
        let step = trainer.step + 1;
        if !loss.is_finite() {
            return Err(Error::NotFinite { step, loss });
        }
        self.backward(trainer, &batches, collective)?;
        let mut sparse = self.row_gradients(trainer, input, &scored, collective)?;
        self.join_sums()?;
        let frozen = trainer.frozen();
        if frozen.tables {
            sparse.clear();
            self.tables.iter_mut().for_each(|table| table.dense = None);
        }
        if frozen.dense {
            self.dense_gradient = self.device.zeros(self.dense.len())?;
        }
        let factor = match trainer.job.training.clip_norm {
            Some(limit) => self.clip_factor(&trainer.set, &sparse, f64::from(limit), collective)?,
            None => None,
        };
        let (planned, updates) = (trainer.planned_steps(), trainer.job.updates_after(step));
        let Trainer { job, set, .. } = trainer;
        let rule = |spec, updates| Rule {
            spec,
            lr: learning_rate(&job.schedule, spec, step, planned),
            step: updates,
        };
        let (dense, table) =
            (rule(&job.optimizer, updates.dense), rule(job.table_optimizer(), updates.tables));
        let learning_rate = dense.lr;
        self.update(set, &sparse, table, (!frozen.dense).then_some(dense), factor.as_ref())?;
        trainer.count_samples(&batches);
        trainer.step = step;
        let Totals { targets, samples, status } = totals;
        Ok(StepReport { loss, targets, samples, learning_rate, status })
    }

    /// The batch of this step, prepared during the last one if there was one.
    fn batch_at_hand(&mut self, trainer: &Trainer, collective: &dyn Collective) -> Result<Now, DeviceError> {
        let ahead = self.ahead.take().filter(|ahead| ahead.step == trainer.step);
        let ahead = match ahead {
            Some(ahead) => ahead,
            None => self.prepare(trainer, trainer.step, collective)?,
        };
        ahead.arrive(&self.device, collective.world_size() == 1, &mut self.prefetch)
    }

    /// Prepares the batch of the next step, if there is one, while the device is at this one.
    fn look_ahead(&mut self, trainer: &Trainer, collective: &dyn Collective) -> Result<(), DeviceError> {
        let next = trainer.step + 1;
        if next < trainer.planned_steps() {
            self.ahead = Some(self.prepare(trainer, next, collective)?);
        }
        Ok(())
    }

    fn prepare(
        &mut self,
        trainer: &Trainer,
        step: u64,
        collective: &dyn Collective,
    ) -> Result<Ahead, DeviceError> {
        let alone = (collective.world_size() == 1).then_some(&self.tables[..]);
        Ahead::prepare(&self.device, trainer, step, alone, &mut self.prefetch)
    }

    fn forward(&mut self, trainer: &Trainer, input: Input<'_>) -> Result<(), Error> {
        self.states.clear();
        for (batch, parts) in input.batches.iter().zip(input.parts) {
            let mut state = MicroState::new(&self.device, &self.network, batch)?;
            if batch.tokens() > 0 {
                let weights = Weights { network: &self.network, values: self.dense.view() };
                state.assemble(&self.device, &trainer.inputs, batch, input.rows, parts)?;
                state.forward(&self.device, weights, batch, trainer.step)?;
            }
            self.states.push(state);
        }
        Ok(())
    }

    /// Returns the loss and, for heads that do not score all rows, the gradients of the scored rows. Collective.
    fn head(
        &mut self,
        trainer: &Trainer,
        input: Input<'_>,
        totals: Totals,
        collective: &mut dyn Collective,
    ) -> Result<(f64, Vec<Option<Scored>>), Error> {
        if trainer.scores_all_rows() {
            return Ok((self.full_softmax(trainer, input.batches, collective)?, Vec::new()));
        }
        let weight = trainer.job.model.normalize.weight(totals.targets as usize);
        let (mut losses, mut scored) = (Vec::new(), Vec::new());
        for (place, batch) in input.batches.iter().enumerate() {
            if batch.tokens() == 0 {
                losses.push(0.0);
                scored.push(None);
                continue;
            }
            let Some((loss, d_out, found)) = self.score(trainer, input, place, weight)? else {
                losses.push(self.regress(batch, place, weight)?);
                scored.push(None);
                continue;
            };
            self.states[place].d_out = d_out;
            losses.push(loss);
            scored.push(Some(found));
        }
        Ok((trainer.sum_losses(&losses, collective)?, scored))
    }

    /// The heads that score looked-up rows; none for the regression of a series.
    fn score(
        &self,
        trainer: &Trainer,
        input: Input<'_>,
        place: usize,
        weight: f32,
    ) -> Result<Option<Scores>, Error> {
        let batch = &input.batches[place];
        let head = Head { device: &self.device, batch, hidden: &self.states[place].out, weight };
        let Some(output) = trainer.output_table else { return Ok(None) };
        let (rows, dim) = (&input.rows[output], trainer.set.tables[output].dim());
        Ok(match (&trainer.job.model.head, &trainer.negatives) {
            (JobHead::SampledSoftmax { .. }, Some(sampler)) => {
                Some(head.sampled_softmax(rows, dim, sampler, &input.negatives[place])?)
            }
            (JobHead::Bce { .. }, _) => Some(head.pointwise(PointwiseKind::Bce, rows, dim)?),
            (JobHead::Mse { .. }, _) => Some(head.pointwise(PointwiseKind::Mse, rows, dim)?),
            _ => None,
        })
    }

    fn regress(&mut self, batch: &MicroBatch, place: usize, weight: f32) -> Result<f64, Error> {
        let state = &mut self.states[place];
        let head = Head { device: &self.device, batch, hidden: &state.out, weight };
        let (loss, d_predictions) = head.loss(PointwiseKind::Mse, &state.predictions)?;
        let weights = Weights { network: &self.network, values: self.dense.view() };
        state.backward_linear(&self.device, weights, batch, d_predictions.view())?;
        Ok(loss)
    }

    fn full_softmax(
        &mut self,
        trainer: &Trainer,
        batches: &[MicroBatch],
        collective: &mut dyn Collective,
    ) -> Result<f64, Error> {
        let Some(output) = trainer.output_table else { return Ok(0.0) };
        let (table, device) = (&trainer.set.tables[output], &self.device);
        let hidden = concat(device, self.states.iter().map(|state| &state.out))?;
        let targets = batches.iter().flat_map(|b| b.targets.iter().copied()).collect();
        let alone = collective.world_size() == 1;
        let mine = if alone { Vec::new() } else { device.download(hidden.view())? };
        let global = gather_positions(mine, targets, collective)?;
        let hidden = if alone { hidden } else { device.upload(&global.hidden)? };
        let weight = trainer.job.model.normalize.weight(global.targets.len());
        let block = trainer.job.batch.score_block as usize;
        let precision = trainer.job.model.head.precision();
        let softmax =
            softmax::OnDevice { device, hidden: &hidden, global: &global, weight, block, precision };
        let (loss, d_hidden) = softmax.full_softmax(table, &mut self.tables[output], collective)?;
        let mut first = 0;
        for state in &mut self.states {
            let len = state.d_out.len();
            device.copy(d_hidden.view().range(first..first + len), &mut state.d_out.view_mut())?;
            first += len;
        }
        Ok(loss)
    }

    /// Leaves the gradients of all ranks' dense parameters, and those of the inputs of this one's micro-batches. Sums over
    /// NCCL are under way then. Collective.
    fn backward(
        &mut self,
        trainer: &Trainer,
        batches: &[MicroBatch],
        collective: &mut dyn Collective,
    ) -> Result<(), Error> {
        let (batch_spec, step) = (&trainer.job.batch, trainer.step);
        if !trainer.job.reproducible && collective.world_size() > 1 {
            if self.sums.is_none() {
                self.sums = Some(Sums::connect(&self.device, collective)?);
            }
            let free = FreeOrder {
                micro_batches: batch_spec.micro_batches as usize,
                bucket_bytes: usize::try_from(batch_spec.gradient_bucket.bytes()).unwrap_or(usize::MAX),
            };
            if self.backward_with_sums(batches, &trainer.groups, &free, step)? {
                return Ok(());
            }
        }
        for (batch, state) in batches.iter().zip(&mut self.states).filter(|(b, _)| b.tokens() > 0) {
            let weights = Weights { network: &self.network, values: self.dense.view() };
            state.backward(&self.device, weights, batch, step)?;
        }
        self.sum_dense_gradients(trainer, collective)
    }

    /// Sums the dense gradients of all micro-batches of all ranks along the canonical tree, or in the collective's
    /// own order where the job does not ask for reproducible results.
    fn sum_dense_gradients(
        &mut self,
        trainer: &Trainer,
        collective: &mut dyn Collective,
    ) -> Result<(), Error> {
        let (device, leaves) = (&self.device, trainer.job.batch.micro_batches as usize);
        let mut held = BTreeMap::new();
        for (group, state) in trainer.groups.iter().zip(&mut self.states) {
            let gradient = std::mem::replace(&mut state.gradient, device.buffer(0)?);
            held.insert(group.index as usize, gradient);
        }
        let mut roots = sums::roots(device, leaves, held)?;
        if collective.world_size() == 1 {
            if let Some((_, total)) = roots.pop() {
                self.dense_gradient = total;
            }
            return Ok(());
        }
        let roots = sums::download(device, &roots)?;
        let mut total = vec![0.0; self.dense.len()];
        if trainer.job.reproducible {
            let roots: Vec<Root<'_>> =
                roots.iter().map(|(node, values)| Root { lo: node.start, hi: node.end, values }).collect();
            collective.all_reduce_tree(&roots, leaves, &mut total)?;
        } else {
            for (_, values) in &roots {
                total.iter_mut().zip(values).for_each(|(sum, value)| *sum += value);
            }
            collective.all_reduce(&mut total)?;
        }
        device.write(&mut self.dense_gradient.view_mut(), &total)?;
        Ok(())
    }

    /// Brings the gradients of looked-up rows to their owners. Those of tables whose gradient is of all rows are added
    /// to it; the others are returned. Collective.
    fn row_gradients(
        &mut self,
        trainer: &Trainer,
        input: Input<'_>,
        scored: &[Option<Scored>],
        collective: &mut dyn Collective,
    ) -> Result<Sparse, Error> {
        let output = trainer.output_table.filter(|_| !trainer.scores_all_rows());
        let mut gradients = Vec::new();
        for (place, (batch, state)) in input.batches.iter().zip(&self.states).enumerate() {
            if batch.tokens() == 0 {
                continue;
            }
            gradients.extend(self.input_gradients(trainer, batch, state, &input.parts[place])?);
            if let (Some(output), Some(Some(scored))) = (output, scored.get(place)) {
                let dim = trainer.set.tables[output].dim();
                gradients.push(BatchGradient::of_head(&self.device, output, scored, dim)?);
            }
        }
        let tables = trainer.tables_with_lookups();
        let device = &self.device;
        let mut home = bring_home(device, &trainer.set, &self.tables, &tables, &gradients, collective)?;
        let kind = trainer.job.table_optimizer().kind;
        for (index, table) in self.tables.iter_mut().enumerate() {
            if (!kind.is_sparse() || table.dense.is_some())
                && let Some(shards) = home.remove(&index)
            {
                add_to_dense(device, table, &shards)?;
            }
        }
        Ok(home)
    }

    fn input_gradients(
        &self,
        trainer: &Trainer,
        batch: &MicroBatch,
        state: &MicroState,
        parts: &[PartIds],
    ) -> Result<Vec<BatchGradient>, DeviceError> {
        let (inputs, d_x) = (&trainer.inputs, state.d_x.view());
        let scored = trainer.output_table.filter(|_| !trainer.scores_all_rows());
        let width = inputs.width();
        let mut parts = parts.iter();
        let gradient = |(part, place, columns): (InputPart, usize, usize)| {
            let (table, _) = part.lookup(batch)?;
            let ids = parts.next().expect("each part that is looked up has its ids");
            let grads = Occurrences { values: d_x.range(place..d_x.len()), dim: columns, stride: width };
            let sums = BatchGradient::of(&self.device, table, &ids.ids, ids.distinct.clone(), grads);
            let with_bias = scored == Some(table);
            Some(sums.and_then(|sums| if with_bias { sums.with_bias(&self.device) } else { Ok(sums) }))
        };
        inputs.places().into_iter().filter_map(gradient).collect()
    }
}

fn concat<'b>(
    device: &Device,
    parts: impl Iterator<Item = &'b Buffer<f32>> + Clone,
) -> Result<Buffer<f32>, DeviceError> {
    let mut all = device.buffer(parts.clone().map(Buffer::len).sum())?;
    let mut first = 0;
    for part in parts {
        device.copy(part.view(), &mut all.view_mut().range(first..first + part.len()))?;
        first += part.len();
    }
    Ok(all)
}
