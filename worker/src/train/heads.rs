//! The head of a step: scores, loss and the gradient of the hidden states.

use muster_collective::{Collective, CollectiveExt};
use muster_proto::job::Head;
use rayon::prelude::*;

use super::Error;
use super::step::Trainer;
use crate::batch::MicroBatch;
use crate::embedding::Rows;
use crate::loss::{
    Heads, Occurrences, PointwiseKind, Weight as _, full_softmax, pointwise, sampled_softmax_head,
    series_regression,
};

/// What a head gives back to the step.
pub(super) struct HeadOutput {
    /// The normalized loss of the global batch.
    pub(super) loss: f64,
    /// Per micro-batch: gradients of the scored rows, where the head does not score all rows.
    pub(super) occurrences: Vec<Occurrences>,
}

/// Sums over the global batch, the same on every rank.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Totals {
    /// Real targets.
    pub(crate) targets: u64,
    /// Sequences.
    pub(crate) samples: u64,
    /// Status bits that every rank has, and that some rank has.
    pub(crate) status: (u64, u64),
}

impl Trainer {
    /// Whether the head scores all rows of its table: its gradient is then dense and needs no lookups.
    pub(crate) fn scores_all_rows(&self) -> bool {
        matches!(self.job.model.head, Head::Softmax { .. })
    }

    /// Computes the loss and leaves the gradient of each micro-batch's hidden states in its `d_out`. Collective.
    pub(super) fn head(
        &mut self,
        batches: &[MicroBatch],
        rows: &[Rows],
        negatives: &[Vec<u32>],
        totals: Totals,
        collective: &mut dyn Collective,
    ) -> Result<HeadOutput, Error> {
        let (loss, occurrences) = if self.scores_all_rows() {
            (self.softmax_head(batches, collective)?, Vec::new())
        } else {
            let weight = self.job.model.normalize.weight(totals.targets as usize);
            let (losses, occurrences) = self.local_heads(batches, rows, negatives, weight)?;
            (self.sum_losses(&losses, collective)?, occurrences)
        };
        Ok(HeadOutput { loss, occurrences })
    }

    fn softmax_head(
        &mut self,
        batches: &[MicroBatch],
        collective: &mut dyn Collective,
    ) -> Result<f64, Error> {
        let Some(output) = self.output_table else { return Ok(0.0) };
        let hidden: Vec<&[f32]> = self.states.iter().map(|s| &s.out[..]).collect();
        let heads = Heads { batches, hidden: &hidden, normalize: self.job.model.normalize };
        // A job in which a softmax scores a table that is cut is refused when it is read.
        let whole = self.set.of_model()[output].parts.start;
        let table = &mut self.set.tables[whole];
        let (block, workspace) = (self.job.batch.score_block as usize, &mut self.softmax);
        let result = self.pool.install(|| full_softmax(table, &heads, block, workspace, collective))?;
        let mut left = result.d_hidden.as_slice();
        for state in &mut self.states {
            let (mine, rest) = left.split_at(state.out.len());
            state.d_out.clear();
            state.d_out.extend_from_slice(mine);
            left = rest;
        }
        Ok(result.loss)
    }

    /// Heads that work on one micro-batch at a time: weighted losses and gradients of the scored rows.
    fn local_heads(
        &mut self,
        batches: &[MicroBatch],
        rows: &[Rows],
        negatives: &[Vec<u32>],
        weight: f32,
    ) -> Result<(Vec<f64>, Vec<Occurrences>), Error> {
        let (head, network, sampler) = (&self.job.model.head, &self.network, self.negatives.as_ref());
        let output = self.output_table.map(|table| &rows[table]);
        let packed = self.packed.as_ref();
        let states = &mut self.states;
        let one = |((batch, state), negatives): ((&MicroBatch, &mut crate::model::MicroState), &Vec<u32>)| {
            let scored = match (head, output, sampler, packed) {
                (Head::SampledSoftmax { .. }, Some(output), Some(sampler), _) => {
                    sampled_softmax_head(batch, &state.out, weight, output, sampler, negatives)?
                }
                (Head::Bce { .. }, Some(output), ..) => {
                    pointwise(PointwiseKind::Bce, batch, &state.out, weight, output)?
                }
                (Head::Mse { .. }, Some(output), ..) => {
                    pointwise(PointwiseKind::Mse, batch, &state.out, weight, output)?
                }
                (_, _, _, Some(packed)) => {
                    let (loss, gradient) = series_regression(batch, &state.predictions, weight)?;
                    network.backward_linear(batch, packed, &gradient, state)?;
                    return Ok((loss, Occurrences::default()));
                }
                _ => return Ok((0.0, Occurrences::default())),
            };
            state.d_out = scored.1;
            Ok((scored.0, scored.2))
        };
        let results: Result<Vec<(f64, Occurrences)>, muster_kernels::Error> = self
            .pool
            .install(|| batches.par_iter().zip(states).zip(negatives).with_max_len(1).map(one).collect());
        Ok(results?.into_iter().unzip())
    }

    /// Adds the losses of all micro-batches in their order.
    pub(crate) fn sum_losses(&self, losses: &[f64], collective: &mut dyn Collective) -> Result<f64, Error> {
        let mut all = vec![losses.to_vec()];
        if collective.world_size() > 1 {
            collective.all_gather::<f64>(losses, &mut all)?;
        }
        Ok(all.iter().flatten().sum())
    }
}

/// Sums targets and sequences over the ranks and tells everyone's status bits.
pub(crate) fn count(
    batches: &[MicroBatch],
    status: u64,
    collective: &mut dyn Collective,
) -> Result<Totals, Error> {
    let targets: usize = batches.iter().map(MicroBatch::real_targets).sum();
    let samples: usize = batches.iter().map(MicroBatch::sequences).sum();
    let mut all = vec![vec![targets as u64, samples as u64, status]];
    if collective.world_size() > 1 {
        let mine = std::mem::take(&mut all[0]);
        collective.all_gather::<u64>(&mine, &mut all)?;
    }
    let sum = |place: usize| all.iter().map(|words| words[place]).sum();
    let every = all.iter().fold(u64::MAX, |bits, words| bits & words[2]);
    let some = all.iter().fold(0, |bits, words| bits | words[2]);
    Ok(Totals { targets: sum(0), samples: sum(1), status: (every, some) })
}
