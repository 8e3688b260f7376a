//! Sampled softmax: each position's target against negatives that the micro-batch shares, with logQ correction.
//!
//! A candidate's logit is `hidden . row + bias - log_q`. A negative that happens to be the position's target (an
//! accidental hit) does not take part for that position. Sums over negatives use 16 virtual lanes and a fixed tree.

pub mod reference;
mod row;

use crate::error::{Error, check_shape};
use crate::gemm::{Beta, Gemm, gemm};
use crate::matrix::{MatrixMut, MatrixRef};
use crate::scratch::Scratch;

/// Rows that compete for a position, with what their logits need.
#[derive(Debug, Clone, Copy)]
pub struct Candidates<'a, T = f32> {
    /// Values `[count, dim]`.
    pub rows: &'a [T],
    /// Added to the logits `[count]`.
    pub bias: Option<&'a [T]>,
    /// Global row ids `[count]`, to find accidental hits.
    pub ids: &'a [u32],
    /// Log of the chance to be drawn `[count]`; subtracted from the logits.
    pub log_q: &'a [T],
}

/// One micro-batch.
#[derive(Debug, Clone, Copy)]
pub struct SampledInput<'a, T = f32> {
    /// Values of a row.
    pub dim: usize,
    /// Hidden states `[n, dim]`.
    pub hidden: &'a [T],
    /// The factor of each position's loss `[n]`; 0 leaves the position out.
    pub weights: &'a [T],
    /// The target of each position `[n]`.
    pub targets: Candidates<'a, T>,
    /// The negatives of all positions `[K]`.
    pub negatives: Candidates<'a, T>,
}

/// Where the gradients go; all are overwritten.
#[derive(Debug)]
pub struct SampledGrads<'a, T = f32> {
    /// Gradient of the hidden states `[n, dim]`.
    pub d_hidden: &'a mut [T],
    /// Gradient of each position's target row `[n, dim]`.
    pub d_targets: &'a mut [T],
    /// Gradient of the negatives' rows `[K, dim]`.
    pub d_negatives: &'a mut [T],
    /// Gradient of each position's target bias `[n]`.
    pub d_target_bias: Option<&'a mut [T]>,
    /// Gradient of the negatives' biases `[K]`.
    pub d_negative_bias: Option<&'a mut [T]>,
}

/// Reusable memory: the negatives' logits `[n, K]` and a few values per position.
#[derive(Debug, Default)]
pub struct SampledBuffers {
    logits: Vec<f32>,
    offsets: Vec<f32>,
    target_scale: Vec<f32>,
    bias_sums: Vec<f32>,
}

/// Returns the sum of `weight * loss` over positions, in f64 and in order, and gives all gradients.
///
/// # Errors
/// [`Error::Shape`] where lengths do not fit.
pub fn sampled_softmax(
    input: SampledInput<'_>,
    grads: SampledGrads<'_>,
    buffers: &mut SampledBuffers,
    scratch: &mut Scratch,
) -> Result<f64, Error> {
    check(&input, &grads)?;
    let (n, k, dim) = (input.weights.len(), input.negatives.ids.len(), input.dim);
    buffers.resize(n, k);
    let SampledBuffers { logits, offsets, target_scale, bias_sums } = buffers;
    for (i, (offset, log_q)) in offsets.iter_mut().zip(input.negatives.log_q).enumerate() {
        *offset = input.negatives.bias.map_or(0.0, |bias| bias[i]) - log_q;
    }
    let hidden = MatrixRef::row_major(input.hidden, n, dim)?;
    let negatives = MatrixRef::row_major(input.negatives.rows, k, dim)?;
    let c = MatrixMut::row_major(logits, n, k)?;
    gemm(Gemm { a: hidden, b: negatives.transposed(), c, beta: Beta::Overwrite }, scratch)?;
    let loss = scratch.isa().dispatch(row::Softmax { input, logits, offsets, target_scale });
    scratch.isa().dispatch(row::TargetGradients {
        input,
        scale: target_scale,
        d_hidden: grads.d_hidden,
        d_targets: grads.d_targets,
    });
    let scaled = MatrixRef::row_major(logits, n, k)?;
    let c = MatrixMut::row_major(grads.d_hidden, n, dim)?;
    gemm(Gemm { a: scaled, b: negatives, c, beta: Beta::Accumulate }, scratch)?;
    let c = MatrixMut::row_major(grads.d_negatives, k, dim)?;
    gemm(Gemm { a: scaled.transposed(), b: hidden, c, beta: Beta::Overwrite }, scratch)?;
    if let Some(d_bias) = grads.d_target_bias {
        d_bias.copy_from_slice(target_scale);
    }
    if let Some(d_bias) = grads.d_negative_bias {
        scratch.isa().dispatch(row::ColumnSums { rows: logits, sums: bias_sums });
        d_bias.copy_from_slice(bias_sums);
    }
    Ok(loss)
}

impl SampledBuffers {
    fn resize(&mut self, n: usize, k: usize) {
        self.logits.resize(n * k, 0.0);
        self.offsets.resize(k, 0.0);
        self.target_scale.resize(n, 0.0);
        self.bias_sums.resize(k, 0.0);
    }
}

fn check(input: &SampledInput<'_>, grads: &SampledGrads<'_>) -> Result<(), Error> {
    const OP: &str = "sampled_softmax";
    let (n, k, dim) = (input.weights.len(), input.negatives.ids.len(), input.dim);
    check_shape(OP, "length of the hidden states", n * dim, input.hidden.len())?;
    for (what, candidates, count) in [("targets", &input.targets, n), ("negatives", &input.negatives, k)] {
        check_shape(OP, what, count, candidates.ids.len())?;
        check_shape(OP, "length of candidate rows", count * dim, candidates.rows.len())?;
        check_shape(OP, "length of a candidate bias", count, candidates.bias.map_or(count, <[f32]>::len))?;
        check_shape(OP, "length of log_q", count, candidates.log_q.len())?;
    }
    check_shape(OP, "length of d_hidden", n * dim, grads.d_hidden.len())?;
    check_shape(OP, "length of d_targets", n * dim, grads.d_targets.len())?;
    check_shape(OP, "length of d_negatives", k * dim, grads.d_negatives.len())?;
    let length = |bias: &Option<&mut [f32]>, default| bias.as_ref().map_or(default, |bias| bias.len());
    check_shape(OP, "length of d_target_bias", n, length(&grads.d_target_bias, n))?;
    check_shape(OP, "length of d_negative_bias", k, length(&grads.d_negative_bias, k))
}
