//! Softmax cross-entropy over an item table that stays cut into shards, see [`softmax`](mod@crate::softmax).
//!
//! As on the CPU, two calls per block of positions and shard around one exchange: [`softmax_scan`] makes the block's
//! logits and their statistics, [`combine_shards`] those of the whole table, [`softmax_gradient`] turns the logits in
//! place into their gradient and multiplies it out. The logits of a batch never exist: [`block_of`] says how many
//! positions fit a bound of bytes.

pub mod sampled;
mod stats;

pub use stats::{CombinedStats, ShardStats, combine_shards, softmax_loss};

use super::Error;
use super::bf16::{Bf16, round};
use super::blas::{Factor, Operand, gemm};
use super::device::Device;
use super::error::count;
use super::launch::Shape;
use super::memory::{Buffer, View, ViewMut};
use super::reduce::column_sums;
use crate::error::check_shape;
use crate::gemm::Beta;

/// Rows of the table that a block scores for one position; `SOFTMAX_TILE` of `softmax.cu`.
const TILE: usize = 4096;
/// Says that a position's target lies in another shard.
const NONE: u32 = u32::MAX;
/// The most positions of a block: the second dimension of a grid ends there.
const MOST_POSITIONS: usize = 65_535;

/// One shard of an item table.
#[derive(Debug, Clone, Copy)]
pub struct TableShard<'a> {
    /// Values `[n_rows, dim]`.
    pub rows: View<'a, f32>,
    /// One value `[n_rows]` that is added to the logit of its row.
    pub bias: Option<View<'a, f32>>,
    /// The same rows as bfloat16, where products are to take such operands; see [`bf16`](mod@crate::bf16).
    pub rounded: Option<View<'a, Bf16>>,
    /// Rows of the shard.
    pub n_rows: usize,
    /// Values of a row.
    pub dim: usize,
}

/// The local row of each position's target in one shard, in device memory.
#[derive(Debug)]
pub struct Targets {
    buffer: Buffer<u32>,
    below: usize,
}

impl Targets {
    /// Copies targets to the device; `None` where another shard has the target.
    ///
    /// # Errors
    /// The device's.
    pub fn upload(device: &Device, targets: &[Option<u32>]) -> Result<Self, Error> {
        let below = targets.iter().flatten().max().map_or(0, |&row| row as usize + 1);
        let rows: Vec<u32> = targets.iter().map(|target| target.unwrap_or(NONE)).collect();
        Ok(Self { buffer: device.upload(&rows)?, below })
    }

    /// Returns the number of positions.
    pub fn len(&self) -> usize {
        self.buffer.len()
    }

    /// Returns whether there are none.
    pub fn is_empty(&self) -> bool {
        self.buffer.is_empty()
    }
}

/// A block of positions: consecutive ones of a batch in its canonical order.
#[derive(Debug, Clone, Copy)]
pub struct Positions<'a> {
    /// Hidden states of the block `[n, dim]`.
    pub hidden: View<'a, f32>,
    /// Targets of the whole batch.
    pub targets: &'a Targets,
    /// The block's first position in the batch.
    pub first: usize,
    /// Positions of the block, n.
    pub len: usize,
}

impl<'a> Positions<'a> {
    fn targets(&self) -> View<'a, u32> {
        self.targets.buffer.view().range(self.first..self.first + self.len)
    }

    fn check(&self, op: &'static str, table: TableShard<'_>) -> Result<(), Error> {
        check_shape(op, "length of the hidden states", self.len * table.dim, self.hidden.len())?;
        check_shape(op, "length of the table's rows", table.n_rows * table.dim, table.rows.len())?;
        let rounded = table.rounded.map_or(table.rows.len(), |rows| rows.len());
        check_shape(op, "length of the rounded rows", table.rows.len(), rounded)?;
        let bias = table.bias.map_or(table.n_rows, |bias| bias.len());
        check_shape(op, "length of the table's bias", table.n_rows, bias)?;
        if self.first + self.len > self.targets.len() {
            check_shape(op, "number of targets", self.first + self.len, self.targets.len())?;
        }
        if self.targets.below > table.n_rows {
            let got = format!("{} of {} rows", self.targets.below - 1, table.n_rows);
            let (what, expected) = ("target row", "a row of the table shard");
            return Err(crate::Error::Value { op, what, expected, got }.into());
        }
        Ok(())
    }
}

/// Returns how many positions of a block have logits over `n_rows` rows within `bytes`; at least 1.
pub fn block_of(n_rows: usize, bytes: usize) -> usize {
    (bytes / size_of::<f32>() / n_rows.max(1)).clamp(1, MOST_POSITIONS)
}

/// What one shard keeps for one block of positions between its scan and its gradient.
#[derive(Debug)]
pub struct BlockScan {
    logits: Buffer<f32>,
    /// The hidden states as operands, where they are rounded.
    hidden: Option<Buffer<Bf16>>,
    max: Buffer<f32>,
    sum: Buffer<f32>,
    target_logit: Buffer<f32>,
}

impl BlockScan {
    /// Returns the shard's statistics of the block.
    pub fn stats(&self) -> ShardStats<'_> {
        ShardStats { max: self.max.view(), sum: self.sum.view(), target_logit: self.target_logit.view() }
    }
}

/// Scores a block of positions against one shard.
///
/// # Errors
/// [`crate::Error`] where lengths do not fit or a target may be no row of the shard, else the device's.
pub fn softmax_scan(
    device: &Device,
    table: TableShard<'_>,
    positions: Positions<'_>,
) -> Result<BlockScan, Error> {
    const OP: &str = "softmax_scan";
    positions.check(OP, table)?;
    let (n, n_rows, dim) = (positions.len, table.n_rows, table.dim);
    let mut logits = device.buffer(n * n_rows)?;
    let hidden = table.rounded.map(|_| round(device, positions.hidden)).transpose()?;
    let sizes = [n, n_rows, dim];
    match (&hidden, table.rounded) {
        (Some(hidden), Some(rows)) => score(device, hidden.view(), rows, sizes, &mut logits)?,
        _ => score(device, positions.hidden, table.rows, sizes, &mut logits)?,
    }
    let (mut max, mut sum) = (device.buffer(n)?, device.buffer(n)?);
    let mut target_logit = device.zeros(n)?;
    let tiles = n_rows.div_ceil(TILE);
    let (mut tile_max, mut tile_sum) = (device.buffer(tiles * n)?, device.buffer(tiles * n)?);
    let positions_of_block = count(OP, "number of positions", n)?;
    device
        .launch("softmax_stats_kernel")
        .input(logits.view())
        .input_or_null(table.bias)
        .input(positions.targets())
        .output(&mut tile_max.view_mut())
        .output(&mut tile_sum.view_mut())
        .output(&mut target_logit.view_mut())
        .value(positions_of_block)
        .value(count(OP, "rows of the shard", n_rows)?)
        .run(Shape { grid: [tiles, n], ..Shape::blocks(0) })?;
    // An empty shard has no tiles: its maximum is -infinity and its sum 0.
    stats::combine(
        device,
        stats::Parts { max: tile_max.view(), sum: tile_sum.view(), target_logit: None, parts: tiles },
        stats::Combined { max: max.view_mut(), sum: sum.view_mut(), target_logit: target_logit.view_mut() },
    )?;
    Ok(BlockScan { logits, hidden, max, sum, target_logit })
}

/// Makes the logits `[n, n_rows]` of hidden states `[n, dim]` over rows `[n_rows, dim]`.
fn score<T: Operand>(
    device: &Device,
    hidden: View<'_, T>,
    rows: View<'_, T>,
    [n, n_rows, dim]: [usize; 3],
    logits: &mut Buffer<f32>,
) -> Result<(), Error> {
    let (hidden, rows) = (Factor::new(hidden, n, dim), Factor::new(rows, n_rows, dim));
    gemm(device, hidden, rows.transposed(), &mut logits.view_mut(), Beta::Overwrite)
}

/// What each position of a block counts for.
#[derive(Debug, Clone, Copy)]
pub struct SoftmaxWeights<'a> {
    /// The statistics over all shards.
    pub combined: &'a CombinedStats,
    /// The factor of each position's loss `[n]`; 0 leaves the position out.
    pub weights: View<'a, f32>,
}

/// Where one shard's gradients go.
#[derive(Debug)]
pub struct SoftmaxGrads<'a> {
    /// The shard's part of the hidden states' gradient `[n, dim]`, overwritten; the caller adds parts in shard order.
    pub d_hidden: ViewMut<'a, f32>,
    /// Gradient of the rows `[n_rows, dim]`.
    pub d_rows: ViewMut<'a, f32>,
    /// Gradient of the biases `[n_rows]`.
    pub d_bias: Option<ViewMut<'a, f32>>,
    /// Whether `d_rows` and `d_bias` are replaced (first block of positions) or added to (the others, in order).
    pub beta: Beta,
}

/// Gives the gradients of one block of positions and one shard, from what [`softmax_scan`] kept of the same.
///
/// # Errors
/// [`crate::Error`] where lengths do not fit, else the device's.
pub fn softmax_gradient(
    device: &Device,
    table: TableShard<'_>,
    positions: Positions<'_>,
    weights: SoftmaxWeights<'_>,
    scan: BlockScan,
    grads: SoftmaxGrads<'_>,
) -> Result<(), Error> {
    const OP: &str = "softmax_gradient";
    positions.check(OP, table)?;
    let (n, n_rows, dim) = (positions.len, table.n_rows, table.dim);
    let BlockScan { mut logits, hidden, .. } = scan;
    check_shape(OP, "length of the scan's logits", n * n_rows, logits.len())?;
    check_shape(OP, "length of the combined maxima", n, weights.combined.max.len())?;
    check_shape(OP, "length of the weights", n, weights.weights.len())?;
    let mut rounded = hidden.as_ref().map(|_| device.buffer(logits.len())).transpose()?;
    device
        .launch("softmax_gradient_kernel")
        .output(&mut logits.view_mut())
        .input_or_null(table.bias)
        .input(positions.targets())
        .input(weights.weights)
        .input(weights.combined.max.view())
        .input(weights.combined.sum.view())
        .output_or_null(rounded.as_mut().map(Buffer::view_mut).as_mut())
        .value(count(OP, "rows of the shard", n_rows)?)
        .run(Shape { grid: [n_rows.div_ceil(TILE), n], ..Shape::blocks(0) })?;
    let (sizes, mut grads) = ([n, n_rows, dim], grads);
    match (&rounded, &hidden, table.rounded) {
        (Some(d_logits), Some(hidden), Some(rows)) => {
            multiply_out(device, d_logits.view(), [hidden.view(), rows], sizes, &mut grads)?;
        }
        _ => {
            multiply_out(device, logits.view(), [positions.hidden, table.rows], sizes, &mut grads)?;
        }
    }
    match grads.d_bias {
        Some(mut d_bias) => {
            check_shape(OP, "length of d_bias", n_rows, d_bias.len())?;
            column_sums(device, logits.view(), &mut d_bias, grads.beta)
        }
        None => Ok(()),
    }
}

/// Gives hidden states and rows their gradients from that of the logits, `[n, n_rows]`.
fn multiply_out<T: Operand>(
    device: &Device,
    d_logits: View<'_, T>,
    [hidden, rows]: [View<'_, T>; 2],
    [n, n_rows, dim]: [usize; 3],
    grads: &mut SoftmaxGrads<'_>,
) -> Result<(), Error> {
    let d_logits = Factor::new(d_logits, n, n_rows);
    gemm(device, d_logits, Factor::new(rows, n_rows, dim), &mut grads.d_hidden, Beta::Overwrite)?;
    gemm(device, d_logits.transposed(), Factor::new(hidden, n, dim), &mut grads.d_rows, grads.beta)
}
