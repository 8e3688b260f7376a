//! Sampled softmax as plain loops, generic over f32 and f64.

use std::ops::Div;

use super::{SampledGrads, SampledInput};
use crate::gemm::Beta;
use crate::reference::{Real, gemm};
use crate::softmax::dot::LANES;
use crate::softmax::dot::reference::{fold, lane_dot};
use crate::softmax::reference::{matrix, matrix_mut};

/// Returns the loss and gives all gradients; panics where shapes do not fit.
pub fn sampled_softmax<T: Real + Div<Output = T>>(
    input: SampledInput<'_, T>,
    grads: SampledGrads<'_, T>,
) -> f64 {
    let SampledInput { dim, hidden, weights, targets, negatives } = input;
    let (n, k) = (weights.len(), negatives.ids.len());
    let mut logits = vec![T::default(); n * k];
    let mut target_scale = vec![T::default(); n];
    let (h, negative_rows) = (matrix(hidden, n, dim), matrix(negatives.rows, k, dim));
    gemm(h, negative_rows.transposed(), &mut matrix_mut(&mut logits, n, k), Beta::Overwrite);
    let offset =
        |bias: Option<&[T]>, log_q: &[T], i: usize| bias.map_or(T::default(), |bias| bias[i]).sub(log_q[i]);
    let mut loss = 0.0;
    for i in 0..n {
        let row = &mut logits[i * k..(i + 1) * k];
        let range = i * dim..(i + 1) * dim;
        let dot = lane_dot(&hidden[range.clone()], &targets.rows[range]);
        let target = dot.add(offset(targets.bias, targets.log_q, i));
        let mut max = target;
        for (j, logit) in row.iter_mut().enumerate() {
            *logit = logit.add(offset(negatives.bias, negatives.log_q, j));
            if negatives.ids[j] == targets.ids[i] {
                *logit = T::from_f64(f64::NEG_INFINITY);
            }
            if *logit > max {
                max = *logit;
            }
        }
        let mut lanes = [T::default(); LANES];
        for (j, logit) in row.iter_mut().enumerate() {
            *logit = logit.sub(max).exp();
            lanes[j % LANES] = lanes[j % LANES].add(*logit);
        }
        let target_exp = target.sub(max).exp();
        let sum = target_exp.add(fold(lanes));
        let scale = weights[i] / sum;
        row.iter_mut().for_each(|e| *e = e.mul(scale));
        target_scale[i] = target_exp.mul(scale).sub(weights[i]);
        if weights[i].to_f64() != 0.0 {
            loss += weights[i].to_f64() * sum.ln().add(max).sub(target).to_f64();
        }
    }
    for i in 0..n * dim {
        grads.d_hidden[i] = target_scale[i / dim].mul(targets.rows[i]);
        grads.d_targets[i] = target_scale[i / dim].mul(hidden[i]);
    }
    let scaled = matrix(&logits, n, k);
    gemm(scaled, negative_rows, &mut matrix_mut(grads.d_hidden, n, dim), Beta::Accumulate);
    gemm(scaled.transposed(), h, &mut matrix_mut(grads.d_negatives, k, dim), Beta::Overwrite);
    if let Some(d_bias) = grads.d_target_bias {
        d_bias.copy_from_slice(&target_scale);
    }
    for (j, d) in grads.d_negative_bias.into_iter().flatten().enumerate() {
        *d = (0..n).fold(T::default(), |sum, i| sum.add(logits[i * k + j]));
    }
    loss
}
