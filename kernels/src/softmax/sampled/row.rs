//! What happens to a row of negatives' logits between the matrix products.

use super::SampledInput;
use crate::isa::{Kernel, Simd};
use crate::math;
use crate::softmax::dot::{LANES, fold, lane_dot};

/// Turns the logits `[n, K]` into their gradient; gives the loss and the gradient of each target's logit.
pub(super) struct Softmax<'a> {
    pub(super) input: SampledInput<'a>,
    pub(super) logits: &'a mut [f32],
    /// What is added to each negative's dot product `[K]`.
    pub(super) offsets: &'a [f32],
    pub(super) target_scale: &'a mut [f32],
}

impl Kernel for Softmax<'_> {
    type Output = f64;

    #[inline(always)]
    fn run<S: Simd>(self, _: S) -> f64 {
        let Self { input: SampledInput { dim, hidden, weights, targets, negatives }, .. } = self;
        let k = negatives.ids.len();
        let mut loss = 0.0;
        for (i, &weight) in weights.iter().enumerate() {
            let row = &mut self.logits[i * k..(i + 1) * k];
            let range = i * dim..(i + 1) * dim;
            let offset = targets.bias.map_or(0.0, |bias| bias[i]) - targets.log_q[i];
            let target = lane_dot(&hidden[range.clone()], &targets.rows[range]) + offset;
            let max = mask_and_max(row, self.offsets, negatives.ids, targets.ids[i], target);
            let target_exp = math::exp(target - max);
            let sum = target_exp + exps(row, max);
            let scale = weight / sum;
            row.iter_mut().for_each(|e| *e *= scale);
            self.target_scale[i] = target_exp * scale - weight;
            if weight != 0.0 {
                loss += f64::from(weight) * f64::from(math::ln(sum) + max - target);
            }
        }
        loss
    }
}

/// Adds the offsets, takes accidental hits out and returns the largest logit, the target's included.
#[inline(always)]
fn mask_and_max(row: &mut [f32], offsets: &[f32], ids: &[u32], target_id: u32, target: f32) -> f32 {
    let mut lanes = [target; LANES];
    let step = |max: &mut f32, logit: &mut f32, offset: f32, id: u32| {
        let value = *logit + offset;
        *logit = if id == target_id { f32::NEG_INFINITY } else { value };
        *max = if *logit > *max { *logit } else { *max };
    };
    let (row, row_rest) = row.as_chunks_mut::<LANES>();
    let (offsets, offsets_rest) = offsets.as_chunks::<LANES>();
    let (ids, ids_rest) = ids.as_chunks::<LANES>();
    for ((row, offsets), ids) in row.iter_mut().zip(offsets).zip(ids) {
        for j in 0..LANES {
            step(&mut lanes[j], &mut row[j], offsets[j], ids[j]);
        }
    }
    for (j, logit) in row_rest.iter_mut().enumerate() {
        step(&mut lanes[j], logit, offsets_rest[j], ids_rest[j]);
    }
    lanes.into_iter().fold(target, |max, lane| if lane > max { lane } else { max })
}

/// Replaces logits by exps at `max` and returns their sum.
#[inline(always)]
fn exps(row: &mut [f32], max: f32) -> f32 {
    let mut lanes = [0.0_f32; LANES];
    let (row, rest) = row.as_chunks_mut::<LANES>();
    for row in row {
        for j in 0..LANES {
            row[j] = math::exp(row[j] - max);
            lanes[j] += row[j];
        }
    }
    for (lane, value) in lanes.iter_mut().zip(rest) {
        *value = math::exp(*value - max);
        *lane += *value;
    }
    fold(lanes)
}

/// Starts the hidden states' gradient with the targets' part, and gives the targets' own.
pub(super) struct TargetGradients<'a> {
    pub(super) input: SampledInput<'a>,
    pub(super) scale: &'a [f32],
    pub(super) d_hidden: &'a mut [f32],
    pub(super) d_targets: &'a mut [f32],
}

impl Kernel for TargetGradients<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        let SampledInput { dim, hidden, targets, .. } = self.input;
        for (i, &scale) in self.scale.iter().enumerate() {
            let range = i * dim..(i + 1) * dim;
            for (d, &row) in self.d_hidden[range.clone()].iter_mut().zip(&targets.rows[range.clone()]) {
                *d = scale * row;
            }
            for (d, &h) in self.d_targets[range.clone()].iter_mut().zip(&hidden[range]) {
                *d = scale * h;
            }
        }
    }
}

/// Adds up the columns of `[n, K]` in the order of rows.
pub(super) struct ColumnSums<'a> {
    pub(super) rows: &'a [f32],
    pub(super) sums: &'a mut [f32],
}

impl Kernel for ColumnSums<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        self.sums.fill(0.0);
        if self.sums.is_empty() {
            return;
        }
        for row in self.rows.chunks_exact(self.sums.len()) {
            for (sum, &value) in self.sums.iter_mut().zip(row) {
                *sum += value;
            }
        }
    }
}
