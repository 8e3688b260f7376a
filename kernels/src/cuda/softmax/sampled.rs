//! Sampled softmax and single scores, see [`sampled`](mod@crate::softmax::sampled) and [`dot`](mod@crate::softmax::dot).

use crate::cuda::Error;
use crate::cuda::blas::{Factor, gemm};
use crate::cuda::device::Device;
use crate::cuda::error::count;
use crate::cuda::launch::{Shape, THREADS};
use crate::cuda::memory::{View, ViewMut};
use crate::cuda::norm::add_up;
use crate::cuda::reduce::column_sums;
use crate::error::check_shape;
use crate::gemm::Beta;

/// Threads of a position's block; `SAMPLED_THREADS` of `sampled_softmax.cu`.
const SAMPLED_THREADS: u32 = 128;

/// Rows that compete for a position, with what their logits need.
#[derive(Debug, Clone, Copy)]
pub struct Candidates<'a> {
    /// Values `[count, dim]`.
    pub rows: View<'a, f32>,
    /// Added to the logits `[count]`.
    pub bias: Option<View<'a, f32>>,
    /// Global row ids `[count]`, to find accidental hits; they are only compared.
    pub ids: View<'a, u32>,
    /// Log of the chance to be drawn `[count]`; subtracted from the logits.
    pub log_q: View<'a, f32>,
}

impl Candidates<'_> {
    fn check(&self, op: &'static str, count: usize, dim: usize) -> Result<(), crate::Error> {
        check_shape(op, "number of candidate ids", count, self.ids.len())?;
        check_shape(op, "length of candidate rows", count * dim, self.rows.len())?;
        check_shape(op, "length of a candidate bias", count, self.bias.map_or(count, |bias| bias.len()))?;
        check_shape(op, "length of log_q", count, self.log_q.len())
    }
}

/// One micro-batch.
#[derive(Debug, Clone, Copy)]
pub struct SampledInput<'a> {
    /// Values of a row.
    pub dim: usize,
    /// Hidden states `[n, dim]`.
    pub hidden: View<'a, f32>,
    /// The factor of each position's loss `[n]`; 0 leaves the position out.
    pub weights: View<'a, f32>,
    /// The target of each position `[n]`.
    pub targets: Candidates<'a>,
    /// The negatives of all positions `[K]`.
    pub negatives: Candidates<'a>,
}

/// Where the gradients go; all are overwritten, and the loss is added to.
#[derive(Debug)]
pub struct SampledGrads<'a> {
    /// Gradient of the hidden states `[n, dim]`.
    pub d_hidden: ViewMut<'a, f32>,
    /// Gradient of each position's target row `[n, dim]`.
    pub d_targets: ViewMut<'a, f32>,
    /// Gradient of the negatives' rows `[K, dim]`.
    pub d_negatives: ViewMut<'a, f32>,
    /// Gradient of each position's target bias `[n]`.
    pub d_target_bias: ViewMut<'a, f32>,
    /// Gradient of the negatives' biases `[K]`.
    pub d_negative_bias: Option<ViewMut<'a, f32>>,
    /// The sum of `weight * loss` over positions `[1]`.
    pub loss: ViewMut<'a, f64>,
}

fn check(input: &SampledInput<'_>, grads: &SampledGrads<'_>) -> Result<(), crate::Error> {
    const OP: &str = "sampled_softmax";
    let (n, k, dim) = (input.weights.len(), input.negatives.ids.len(), input.dim);
    check_shape(OP, "length of the hidden states", n * dim, input.hidden.len())?;
    input.targets.check(OP, n, dim)?;
    input.negatives.check(OP, k, dim)?;
    check_shape(OP, "length of d_hidden", n * dim, grads.d_hidden.len())?;
    check_shape(OP, "length of d_targets", n * dim, grads.d_targets.len())?;
    check_shape(OP, "length of d_negatives", k * dim, grads.d_negatives.len())?;
    check_shape(OP, "length of d_target_bias", n, grads.d_target_bias.len())?;
    check_shape(OP, "length of the loss", 1, grads.loss.len())?;
    let negative = grads.d_negative_bias.as_ref().map_or(k, ViewMut::len);
    check_shape(OP, "length of d_negative_bias", k, negative)
}

/// Adds the sum of `weight * loss` over positions to the loss, and gives all gradients.
///
/// # Errors
/// [`crate::Error::Shape`] where lengths do not fit, else the device's.
pub fn sampled_softmax(
    device: &Device,
    input: SampledInput<'_>,
    mut grads: SampledGrads<'_>,
) -> Result<(), Error> {
    const OP: &str = "sampled_softmax";
    check(&input, &grads)?;
    let SampledInput { dim, hidden, weights, targets, negatives } = input;
    let (n, k) = (weights.len(), negatives.ids.len());
    let mut logits = device.buffer(n * k)?;
    let mut losses = device.buffer(n)?;
    let (h, rows) = (Factor::new(hidden, n, dim), Factor::new(negatives.rows, k, dim));
    gemm(device, h, rows.transposed(), &mut logits.view_mut(), Beta::Overwrite)?;
    device
        .launch("sampled_softmax_kernel")
        .output(&mut logits.view_mut())
        .input(hidden)
        .input(targets.rows)
        .input_or_null(targets.bias)
        .input(targets.ids)
        .input(targets.log_q)
        .input_or_null(negatives.bias)
        .input(negatives.ids)
        .input(negatives.log_q)
        .input(weights)
        .output(&mut grads.d_target_bias)
        .output(&mut losses.view_mut())
        .value(count(OP, "number of negatives", k)?)
        .value(count(OP, "dimension", dim)?)
        .run(Shape { grid: [n, 1], threads: SAMPLED_THREADS, shared: 0 })?;
    add_up(device, losses.view(), &mut grads.loss)?;
    scaled_rows(
        device,
        DotInput { dim, hidden, rows: targets.rows, bias: None },
        grads.d_target_bias.as_view(),
        [grads.d_hidden.reborrow(), grads.d_targets.reborrow()],
    )?;
    let scaled = Factor::new(logits.view(), n, k);
    gemm(device, scaled, rows, &mut grads.d_hidden, Beta::Accumulate)?;
    gemm(device, scaled.transposed(), h, &mut grads.d_negatives, Beta::Overwrite)?;
    match grads.d_negative_bias {
        Some(mut d_bias) => column_sums(device, logits.view(), &mut d_bias, Beta::Overwrite),
        None => Ok(()),
    }
}

/// A hidden state and a row per position.
#[derive(Debug, Clone, Copy)]
pub struct DotInput<'a> {
    /// Values of a row.
    pub dim: usize,
    /// Hidden states `[n, dim]`.
    pub hidden: View<'a, f32>,
    /// The row of each position `[n, dim]`.
    pub rows: View<'a, f32>,
    /// Added to each position's score `[n]`.
    pub bias: Option<View<'a, f32>>,
}

impl DotInput<'_> {
    fn check(&self, op: &'static str, n: usize) -> Result<(), crate::Error> {
        check_shape(op, "length of the hidden states", n * self.dim, self.hidden.len())?;
        check_shape(op, "length of the rows", n * self.dim, self.rows.len())?;
        check_shape(op, "length of the bias", n, self.bias.map_or(n, |bias| bias.len()))
    }
}

/// Writes `hidden . row + bias` of each position into `pred` `[n]`.
///
/// # Errors
/// [`crate::Error::Shape`] where lengths do not fit, else the device's.
pub fn dot_forward(device: &Device, input: DotInput<'_>, pred: &mut ViewMut<'_, f32>) -> Result<(), Error> {
    const OP: &str = "dot_forward";
    let n = pred.len();
    input.check(OP, n)?;
    device
        .launch("dot_forward_kernel")
        .input(input.hidden)
        .input(input.rows)
        .input_or_null(input.bias)
        .output(pred)
        .value(count(OP, "number of positions", n)?)
        .value(count(OP, "dimension", input.dim)?)
        .run(Shape::blocks(n.div_ceil(THREADS as usize / 32)))
}

/// Gives the gradients of hidden states and rows, each `[n, dim]`, from that of the scores `[n]`.
///
/// # Errors
/// [`crate::Error::Shape`] where lengths do not fit, else the device's.
pub fn dot_backward(
    device: &Device,
    input: DotInput<'_>,
    d_pred: View<'_, f32>,
    grads: [ViewMut<'_, f32>; 2],
) -> Result<(), Error> {
    input.check("dot_backward", d_pred.len())?;
    scaled_rows(device, input, d_pred, grads)
}

/// Writes `scale * row` and `scale * hidden` of each position.
fn scaled_rows(
    device: &Device,
    input: DotInput<'_>,
    scale: View<'_, f32>,
    [mut d_hidden, mut d_rows]: [ViewMut<'_, f32>; 2],
) -> Result<(), Error> {
    const OP: &str = "dot_backward";
    check_shape(OP, "length of d_hidden", input.hidden.len(), d_hidden.len())?;
    check_shape(OP, "length of d_rows", input.rows.len(), d_rows.len())?;
    device
        .launch("sampled_targets_kernel")
        .input(scale)
        .input(input.hidden)
        .input(input.rows)
        .output(&mut d_hidden)
        .output(&mut d_rows)
        .value(count(OP, "number of positions", scale.len())?)
        .value(count(OP, "dimension", input.dim)?)
        .run(Shape::items(input.hidden.len()))
}
