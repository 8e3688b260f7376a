//! The second half of the softmax: the gradients of hidden states, rows and biases, from the kept exps.

use super::dot::lane_dot;
use super::scan::{BlockScan, stride};
use super::{CombinedStats, Positions, TILE_ROWS, TableShard};
use crate::error::{Error, check_shape};
use crate::gemm::{Beta, Gemm, gemm};
use crate::isa::{Kernel, Simd};
use crate::math;
use crate::matrix::{MatrixMut, MatrixRef};
use crate::scratch::Scratch;

/// What each position counts for.
#[derive(Debug, Clone, Copy)]
pub struct SoftmaxWeights<'a, T = f32> {
    /// The statistics over all shards.
    pub combined: &'a CombinedStats<T>,
    /// The factor of each position's loss `[n]`; 0 leaves the position out.
    pub weights: &'a [T],
}

/// Where one shard's gradients go.
#[derive(Debug)]
pub struct SoftmaxGrads<'a, T = f32> {
    /// The shard's part of the hidden states' gradient `[n, dim]`, overwritten; the caller adds parts in shard order.
    pub d_hidden: &'a mut [T],
    /// Gradient of the rows `[V_s, dim]`.
    pub d_rows: &'a mut [T],
    /// Gradient of the biases `[V_s]`.
    pub d_bias: Option<&'a mut [T]>,
    /// Whether `d_rows` and `d_bias` are replaced (first block of positions) or added to (the others, in order).
    pub beta: Beta,
}

/// Gives the gradients of one block of positions and one shard; `scan` is as [`softmax_scan`](super::softmax_scan) of
/// the same table and positions left it.
///
/// # Errors
/// [`Error::Shape`] where lengths do not fit or `scan` is of another block or shard, [`Error::Value`] where a target is
/// no row of the shard.
pub fn softmax_gradient(
    table: TableShard<'_>,
    positions: Positions<'_>,
    weights: SoftmaxWeights<'_>,
    scan: &mut BlockScan,
    grads: SoftmaxGrads<'_>,
    scratch: &mut Scratch,
) -> Result<(), Error> {
    check(table, positions, weights, scan, &grads)?;
    let (n, dim, n_rows) = (positions.len(), table.dim, table.n_rows());
    let SoftmaxGrads { d_hidden, d_rows, mut d_bias, beta } = grads;
    let stride = stride(n);
    scan.scale.clear();
    scan.scale.resize(stride, 0.0);
    scan.scaled.clear();
    scan.scaled.resize(n * dim, 0.0);
    for start in (0..n_rows).step_by(TILE_ROWS) {
        let end = n_rows.min(start + TILE_ROWS);
        if n > 0 {
            let max = &scan.tile_max[start / TILE_ROWS * stride..][..n];
            scratch.isa().dispatch(Scale { weights, max, scale: &mut scan.scale[..n] });
            scale_rows(&scan.scale, positions.hidden, dim, &mut scan.scaled);
        }
        let exps = &scan.exps.as_slice()[start * stride..end * stride];
        let a = MatrixRef::strided(exps, [end - start, n], [stride, 1])?;
        let b = MatrixRef::row_major(&scan.scaled, n, dim)?;
        let c = MatrixMut::row_major(&mut d_rows[start * dim..end * dim], end - start, dim)?;
        if let Some(d_bias) = &mut d_bias {
            let d_bias = &mut d_bias[start..end];
            scratch.isa().dispatch(BiasGradient { exps, n, scale: &scan.scale, d_bias, beta });
        }
        gemm(Gemm { a, b, c, beta }, scratch)?;
    }
    if let Some(max) = scan.tile_max.len().checked_sub(stride).map(|last| &scan.tile_max[last..][..n]) {
        scratch.isa().dispatch(Scale { weights, max, scale: &mut scan.scale[..n] });
    }
    scale_rows(&scan.scale, &scan.weighted_rows, dim, d_hidden);
    subtract_targets(table, positions, weights.weights, SoftmaxGrads { d_hidden, d_rows, d_bias, beta });
    Ok(())
}

fn check(
    table: TableShard<'_>,
    positions: Positions<'_>,
    weights: SoftmaxWeights<'_>,
    scan: &BlockScan,
    grads: &SoftmaxGrads<'_>,
) -> Result<(), Error> {
    const OP: &str = "softmax_gradient";
    table.check(OP)?;
    let (n, dim, n_rows) = (positions.len(), table.dim, table.n_rows());
    positions.check(OP, n_rows, dim)?;
    weights.combined.check(OP, n)?;
    check_shape(OP, "length of the weights", n, weights.weights.len())?;
    check_shape(OP, "positions of the scan", n, scan.n)?;
    check_shape(OP, "table rows of the scan", n_rows, scan.n_rows)?;
    check_shape(OP, "length of the scan's weighted rows", n * dim, scan.weighted_rows.len())?;
    check_shape(OP, "length of d_hidden", n * dim, grads.d_hidden.len())?;
    check_shape(OP, "length of d_rows", n_rows * dim, grads.d_rows.len())?;
    match &grads.d_bias {
        Some(d_bias) => check_shape(OP, "length of d_bias", n_rows, d_bias.len()),
        None => Ok(()),
    }
}

/// Writes `from * scale`, row by row.
fn scale_rows(scale: &[f32], from: &[f32], dim: usize, to: &mut [f32]) {
    if dim == 0 {
        return;
    }
    for ((to, from), &scale) in to.chunks_exact_mut(dim).zip(from.chunks_exact(dim)).zip(scale) {
        for (to, &from) in to.iter_mut().zip(from) {
            *to = from * scale;
        }
    }
}

/// Subtracts what a position's own target adds to the loss, in the order of positions.
fn subtract_targets(
    table: TableShard<'_>,
    positions: Positions<'_>,
    weights: &[f32],
    grads: SoftmaxGrads<'_>,
) {
    let dim = table.dim;
    let SoftmaxGrads { d_hidden, d_rows, mut d_bias, .. } = grads;
    for (i, (&target, &weight)) in positions.targets.iter().zip(weights).enumerate() {
        let Some(row) = target.map(|row| row as usize) else { continue };
        let (here, there) = (i * dim..(i + 1) * dim, row * dim..(row + 1) * dim);
        for (d, &value) in d_hidden[here.clone()].iter_mut().zip(&table.rows[there.clone()]) {
            *d -= weight * value;
        }
        for (d, &value) in d_rows[there].iter_mut().zip(&positions.hidden[here]) {
            *d -= weight * value;
        }
        if let Some(d_bias) = &mut d_bias {
            d_bias[row] -= weight;
        }
    }
}

/// Writes what an exp at `max` counts for: `weight * exp(max - combined max) / combined sum`.
struct Scale<'a> {
    weights: SoftmaxWeights<'a>,
    max: &'a [f32],
    scale: &'a mut [f32],
}

impl Kernel for Scale<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        let CombinedStats { max, sum, .. } = self.weights.combined;
        let table = max.iter().zip(sum).zip(self.weights.weights);
        for ((scale, &shard_max), ((&max, &sum), &weight)) in self.scale.iter_mut().zip(self.max).zip(table) {
            *scale = weight * math::exp(shard_max - max) / sum;
        }
    }
}

/// Sums each row's scaled exps over the positions, in 16 lanes.
struct BiasGradient<'a> {
    exps: &'a [f32],
    n: usize,
    scale: &'a [f32],
    d_bias: &'a mut [f32],
    beta: Beta,
}

impl Kernel for BiasGradient<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        let stride = self.scale.len();
        for (v, d) in self.d_bias.iter_mut().enumerate() {
            let sum = lane_dot(&self.exps[v * stride..][..self.n], &self.scale[..self.n]);
            *d = if self.beta == Beta::Overwrite { sum } else { *d + sum };
        }
    }
}
