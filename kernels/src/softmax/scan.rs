//! The first half of the softmax: exps, their sums and their weighted sum of rows, tile by tile.
//!
//! A tile's logits are computed transposed, `[rows, positions]`, so that maxima, exps and sums run over positions in
//! vectors and each position's sum simply goes over rows in order. Lines of the tile are an odd number of cache
//! lines apart, so that walking down a column does not hit the same few cache sets.

use super::dot::LANES;
use super::{Positions, ShardStats, TILE_ROWS, TableShard};
use crate::error::Error;
use crate::gemm::{Beta, Gemm, GemmPacked, PackedB, gemm, gemm_packed};
use crate::isa::{Kernel, Simd};
use crate::math;
use crate::matrix::{MatrixMut, MatrixRef};
use crate::scratch::{AlignedBuffer, Scratch};

/// What one shard keeps for one block of positions between its scan and its gradient; reused from block to block.
#[derive(Debug, Default)]
pub struct BlockScan {
    /// The hidden states, transposed `[dim, n]`.
    hidden: Option<PackedB>,
    pub(super) n: usize,
    pub(super) n_rows: usize,
    /// exp(logit - running maximum after the row's tile) `[V_s, stride]`.
    pub(super) exps: AlignedBuffer,
    /// The running maximum after each tile `[tiles, stride]`.
    pub(super) tile_max: Vec<f32>,
    max: Vec<f32>,
    sum: Vec<f32>,
    target_logit: Vec<f32>,
    keep: Vec<f32>,
    /// Sum of exp(logit - max) times the row `[n, dim]`.
    pub(super) weighted_rows: Vec<f32>,
    pub(super) scale: Vec<f32>,
    pub(super) scaled: Vec<f32>,
}

impl BlockScan {
    /// Returns the statistics that the last scan found.
    pub fn stats(&self) -> ShardStats<'_> {
        let n = self.n;
        ShardStats { max: &self.max[..n], sum: &self.sum[..n], target_logit: &self.target_logit[..n] }
    }

    /// Returns the bytes that a scan of `n` positions over `n_rows` rows keeps.
    pub fn workspace_bytes(n: usize, n_rows: usize, dim: usize) -> usize {
        let per_position = n_rows + n_rows.div_ceil(TILE_ROWS) + 5;
        size_of::<f32>() * (stride(n) * per_position + 2 * n * dim)
    }

    fn start(&mut self, n: usize, n_rows: usize, dim: usize) {
        let stride = stride(n);
        (self.n, self.n_rows) = (n, n_rows);
        self.exps.resize(n_rows * stride);
        self.tile_max.clear();
        for (array, len, value) in [
            (&mut self.max, stride, f32::NEG_INFINITY),
            (&mut self.sum, stride, 0.0),
            (&mut self.target_logit, n, 0.0),
            (&mut self.keep, stride, 0.0),
            (&mut self.weighted_rows, n * dim, 0.0),
        ] {
            array.clear();
            array.resize(len, value);
        }
    }
}

/// Returns the distance between two rows of exps: whole cache lines, an odd number of them.
pub(super) fn stride(n: usize) -> usize {
    (n.div_ceil(LANES) | 1) * LANES
}

/// Scores a block of positions against one shard and keeps in `scan` what the exchange and the gradient need.
///
/// # Errors
/// [`Error::Shape`] where lengths do not fit, [`Error::Value`] where a target is no row of the shard.
pub fn softmax_scan(
    table: TableShard<'_>,
    positions: Positions<'_>,
    scan: &mut BlockScan,
    scratch: &mut Scratch,
) -> Result<(), Error> {
    table.check("softmax_scan")?;
    let (n, dim, n_rows) = (positions.len(), table.dim, table.n_rows());
    positions.check("softmax_scan", n_rows, dim)?;
    scan.start(n, n_rows, dim);
    if n == 0 {
        return Ok(());
    }
    let stride = stride(n);
    let hidden = match &mut scan.hidden {
        Some(hidden) if hidden.isa() == scratch.isa() => hidden,
        other => other.insert(PackedB::new(scratch.isa())),
    };
    hidden.pack(MatrixRef::row_major(positions.hidden, n, dim)?.transposed());
    for start in (0..n_rows).step_by(TILE_ROWS) {
        let end = n_rows.min(start + TILE_ROWS);
        let rows = MatrixRef::row_major(table.tile(start..end), end - start, dim)?;
        let logits = &mut scan.exps.as_mut_slice()[start * stride..end * stride];
        let c = MatrixMut::strided(logits, [end - start, n], stride)?;
        gemm_packed(GemmPacked { a: rows, b: hidden, columns: 0..n, c, beta: Beta::Overwrite }, scratch)?;
        let targets = positions.targets.iter().zip(&mut scan.target_logit).enumerate();
        for (i, (target, logit)) in targets {
            if let Some(row) = target.map(|row| row as usize).filter(|row| (start..end).contains(row)) {
                *logit = logits[(row - start) * stride + i] + table.bias.map_or(0.0, |bias| bias[row]);
            }
        }
        scratch.isa().dispatch(Exps {
            logits,
            bias: table.bias.map(|bias| &bias[start..end]),
            max: &mut scan.max,
            sum: &mut scan.sum,
            keep: &mut scan.keep,
        });
        scratch.isa().dispatch(Rescale { rows: &mut scan.weighted_rows, dim, by: &scan.keep });
        let exps = MatrixRef::strided(logits, [end - start, n], [stride, 1])?.transposed();
        let c = MatrixMut::row_major(&mut scan.weighted_rows, n, dim)?;
        gemm(Gemm { a: exps, b: rows, c, beta: Beta::Accumulate }, scratch)?;
        scan.tile_max.extend_from_slice(&scan.max);
    }
    Ok(())
}

/// Turns a tile's logits into exps at the running maximum.
struct Exps<'a> {
    logits: &'a mut [f32],
    bias: Option<&'a [f32]>,
    max: &'a mut [f32],
    sum: &'a mut [f32],
    keep: &'a mut [f32],
}

impl Exps<'_> {
    /// One line of positions, at `column`; `bias` gives each row's.
    #[inline(always)]
    fn line(&mut self, column: usize, bias: impl Fn(usize) -> f32) {
        let stride = self.max.len();
        let columns = column..column + LANES;
        let before: [f32; LANES] = self.max[columns.clone()].try_into().expect("LANES columns");
        let mut max = before;
        for (v, row) in self.logits.chunks_exact_mut(stride).enumerate() {
            let b = bias(v);
            for (max, logit) in max.iter_mut().zip(&mut row[columns.clone()]) {
                let value = *logit + b;
                *max = if value > *max { value } else { *max };
            }
        }
        let mut sum = [0.0_f32; LANES];
        for (v, row) in self.logits.chunks_exact_mut(stride).enumerate() {
            let b = bias(v);
            let row: &mut [f32; LANES] = (&mut row[columns.clone()]).try_into().expect("LANES columns");
            for j in 0..LANES {
                row[j] = math::exp((row[j] + b) - max[j]);
                sum[j] += row[j];
            }
        }
        for j in 0..LANES {
            let keep = math::exp(before[j] - max[j]);
            self.keep[column + j] = keep;
            self.sum[column + j] = self.sum[column + j] * keep + sum[j];
            self.max[column + j] = max[j];
        }
    }
}

impl Kernel for Exps<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(mut self, _: S) {
        for column in (0..self.max.len()).step_by(LANES) {
            match self.bias {
                Some(bias) => self.line(column, |v| bias[v]),
                None => self.line(column, |_| 0.0),
            }
        }
    }
}

/// Multiplies each position's row by its factor; most are exactly 1 and need no work.
struct Rescale<'a> {
    rows: &'a mut [f32],
    dim: usize,
    by: &'a [f32],
}

impl Kernel for Rescale<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        if self.dim == 0 {
            return;
        }
        for (row, &by) in self.rows.chunks_exact_mut(self.dim).zip(self.by) {
            if by != 1.0 {
                row.iter_mut().for_each(|value| *value *= by);
            }
        }
    }
}
