//! Softmax against sampled negatives with the logQ correction (Bengio and Senecal 2008).
//!
//! Negatives are drawn with replacement from popularity^alpha, shared by all positions of a micro-batch, keyed by
//! (seed, step, micro-batch, draw): the draw does not depend on who computes it.

use muster_kernels::Error;
use muster_kernels::math;
use muster_kernels::rng::Stream;
use muster_kernels::softmax::sampled::{
    Candidates, SampledBuffers, SampledGrads, SampledInput, sampled_softmax,
};

use super::pointwise::Occurrences;
use crate::batch::MicroBatch;
use crate::embedding::Rows;
use crate::model::with_scratch;
use crate::random::Purpose;

/// Draws negatives from popularity^alpha.
#[derive(Debug, Clone)]
pub struct NegativeSampler {
    /// Cumulative integer weights, `[items]`.
    cumulative: Vec<u64>,
    /// ln(K p) of each item, or zeros without the correction.
    log_q: Vec<f32>,
    negatives: u32,
    stream: Stream,
}

/// Integer weight of the most popular item. Integers make the draw exact on every machine.
const WEIGHT_SCALE: f64 = 4_294_967_296.0;

impl NegativeSampler {
    /// A sampler over items with the given training counts; an item that was never seen counts as seen once.
    #[must_use]
    pub fn new(counts: &[u64], alpha: f32, negatives: u32, log_q: bool, seed: u64) -> Self {
        let top = counts.iter().copied().max().unwrap_or(1).max(1) as f32;
        let weight = |count: &u64| {
            let share = (*count).max(1) as f32 / top;
            // exp and ln are the kernels' own, so that the weights have the same bits everywhere.
            ((f64::from(math::exp(alpha * math::ln(share))) * WEIGHT_SCALE) as u64).max(1)
        };
        let weights: Vec<u64> = counts.iter().map(weight).collect();
        let cumulative: Vec<u64> = weights
            .iter()
            .scan(0_u64, |sum, w| {
                *sum += w;
                Some(*sum)
            })
            .collect();
        let total = cumulative.last().copied().unwrap_or(1) as f64;
        let expected = |w: &u64| (*w as f64 / total * f64::from(negatives)) as f32;
        let log_q = weights.iter().map(|w| if log_q { math::ln(expected(w)) } else { 0.0 }).collect();
        Self { cumulative, log_q, negatives, stream: Purpose::Negatives.stream(seed) }
    }

    /// The negatives of a micro-batch at a step, `[K]`, in drawing order.
    #[must_use]
    pub fn sample(&self, step: u64, micro_batch: u32) -> Vec<u32> {
        let Some(total) = self.cumulative.last().copied() else { return Vec::new() };
        let one = |i: u32| {
            let place = self.stream.below(step, (u64::from(micro_batch) << 32) | u64::from(i), total);
            self.cumulative.partition_point(|c| *c <= place) as u32
        };
        (0..self.negatives).map(one).collect()
    }

    pub(crate) fn log_q_of(&self, ids: &[u32]) -> Vec<f32> {
        ids.iter().map(|id| self.log_q[*id as usize]).collect()
    }
}

/// Loss and gradients of one micro-batch: returns (weighted loss, gradient of the hidden states, gradients of the
/// output rows in order of occurrence: targets, then negatives).
///
/// # Errors
/// Shapes that do not fit.
pub fn sampled_softmax_head(
    batch: &MicroBatch,
    hidden: &[f32],
    weight: f32,
    output: &Rows,
    sampler: &NegativeSampler,
    negatives: &[u32],
) -> Result<(f64, Vec<f32>, Occurrences), Error> {
    let (dim, n, k) = (output.dim, batch.targets.len(), negatives.len());
    let (target_rows, target_bias) = gather(output, &batch.targets);
    let (negative_rows, negative_bias) = gather(output, negatives);
    let (target_q, negative_q) = (sampler.log_q_of(&batch.targets), sampler.log_q_of(negatives));
    let weights = vec![weight; n];
    let input = SampledInput {
        dim,
        hidden,
        weights: &weights,
        targets: Candidates {
            rows: &target_rows,
            bias: Some(&target_bias),
            ids: &batch.targets,
            log_q: &target_q,
        },
        negatives: Candidates {
            rows: &negative_rows,
            bias: Some(&negative_bias),
            ids: negatives,
            log_q: &negative_q,
        },
    };
    let mut d_hidden = vec![0.0; n * dim];
    let (mut d_rows, mut d_bias) = (vec![0.0; (n + k) * dim], vec![0.0; n + k]);
    let (d_targets, d_negatives) = d_rows.split_at_mut(n * dim);
    let (d_target_bias, d_negative_bias) = d_bias.split_at_mut(n);
    let grads = SampledGrads {
        d_hidden: &mut d_hidden,
        d_targets,
        d_negatives,
        d_target_bias: Some(d_target_bias),
        d_negative_bias: Some(d_negative_bias),
    };
    let loss =
        with_scratch(|scratch| sampled_softmax(input, grads, &mut SampledBuffers::default(), scratch))?;
    let ids = batch.targets.iter().chain(negatives).copied().collect();
    Ok((loss, d_hidden, Occurrences { ids, rows: d_rows, bias: d_bias }))
}

fn gather(output: &Rows, ids: &[u32]) -> (Vec<f32>, Vec<f32>) {
    let dim = output.dim;
    let mut rows = Vec::with_capacity(ids.len() * dim);
    let mut bias = Vec::with_capacity(ids.len());
    for id in ids {
        let slot = output.slot(*id);
        rows.extend_from_slice(&output.rows[slot * dim..(slot + 1) * dim]);
        bias.push(output.bias[slot]);
    }
    (rows, bias)
}
