//! The second half of the softmax: the gradients of hidden states, rows and biases, from the kept exps.

use std::ops::Range;

use super::dot::fold;
use super::scan::BlockScan;
use super::tile::{Exps, LINE, Line, Target, row_gradients};
use super::{CombinedStats, Positions, TILE_ROWS, TableShard};
use crate::bf16::Precision;
use crate::error::{Error, check_shape};
use crate::gemm::Beta;
use crate::isa::{Kernel, Simd};
use crate::math;
use crate::scratch::Scratch;

/// Rows whose exps stay in the second-level cache while all columns of their gradient are computed.
const ROW_BLOCK: usize = 96;

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
    let padded = scan.panels() * LINE;
    scan.scale.clear();
    scan.scale.resize(padded, 0.0);
    let scaled = scratch.packed_b.resize(dim.next_multiple_of(LINE) * n);
    scaled.fill(0.0);
    for start in (0..n_rows).step_by(TILE_ROWS) {
        let end = n_rows.min(start + TILE_ROWS);
        let max = &scan.tile_max[start / TILE_ROWS * padded..][..n];
        scratch.isa().dispatch(Rescale {
            precision: scan.precision,
            weights,
            max,
            hidden: positions.hidden,
            scale: &mut scan.scale[..n],
            scaled: scratch.packed_b.as_mut_slice().as_chunks_mut().0,
        });
        let lines = scan.exps.as_slice()[start * padded..end * padded].as_chunks().0;
        scratch.isa().dispatch(Tile {
            exps: Exps { lines, rows: end - start, n },
            scale: scan.scale.as_chunks().0,
            scaled: scratch.packed_b.as_slice().as_chunks().0,
            d_rows: &mut d_rows[start * dim..end * dim],
            d_bias: d_bias.as_deref_mut().map(|d_bias| &mut d_bias[start..end]),
            beta,
        });
    }
    // Past the last tile, each position's scale is the one of the shard's maximum.
    let weighted = scan.weighted_rows.as_slice().as_chunks::<LINE>().0;
    for (i, &scale) in scan.scale[..n].iter().enumerate() {
        for (k, d) in d_hidden[i * dim..(i + 1) * dim].iter_mut().enumerate() {
            *d = weighted[i / LINE * dim + k][i % LINE] * scale;
        }
    }
    let grads = SoftmaxGrads { d_hidden, d_rows, d_bias, beta };
    subtract_targets(table, positions, weights.weights, scan.precision, grads);
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
    check_shape(OP, "dimension of the scan", dim, scan.dim)?;
    check_shape(OP, "length of d_hidden", n * dim, grads.d_hidden.len())?;
    check_shape(OP, "length of d_rows", n_rows * dim, grads.d_rows.len())?;
    match &grads.d_bias {
        Some(d_bias) => check_shape(OP, "length of d_bias", n_rows, d_bias.len()),
        None => Ok(()),
    }
}

/// Subtracts what a position's own target adds to the loss, in the order of positions.
fn subtract_targets(
    table: TableShard<'_>,
    positions: Positions<'_>,
    weights: &[f32],
    precision: Precision,
    grads: SoftmaxGrads<'_>,
) {
    let dim = table.dim;
    let SoftmaxGrads { d_hidden, d_rows, mut d_bias, .. } = grads;
    for (i, (&target, &weight)) in positions.targets.iter().zip(weights).enumerate() {
        let Some(row) = target.map(|row| row as usize) else { continue };
        let (here, there) = (i * dim..(i + 1) * dim, row * dim..(row + 1) * dim);
        for (d, &value) in d_hidden[here.clone()].iter_mut().zip(&table.rows[there.clone()]) {
            *d -= weight * precision.operand(value);
        }
        for (d, &value) in d_rows[there].iter_mut().zip(&positions.hidden[here]) {
            *d -= weight * precision.operand(value);
        }
        if let Some(d_bias) = &mut d_bias {
            d_bias[row] -= weight;
        }
    }
}

/// Finds what an exp at `max` counts for, `weight * exp(max - combined max) / combined sum`, and the hidden states times
/// that; a position whose maximum did not rise in this tile keeps its lines.
struct Rescale<'a> {
    precision: Precision,
    weights: SoftmaxWeights<'a>,
    max: &'a [f32],
    hidden: &'a [f32],
    scale: &'a mut [f32],
    scaled: &'a mut [Line],
}

impl Kernel for Rescale<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        let CombinedStats { max, sum, .. } = self.weights.combined;
        let (n, dim) = (self.scale.len(), self.hidden.len().checked_div(self.scale.len()).unwrap_or(0));
        let table = max.iter().zip(sum).zip(self.weights.weights);
        for (i, (&shard_max, ((&max, &sum), &weight))) in self.max.iter().zip(table).enumerate() {
            let scale = weight * math::exp(shard_max - max) / sum;
            if scale.to_bits() == self.scale[i].to_bits() {
                continue;
            }
            self.scale[i] = scale;
            for (column, values) in self.hidden[i * dim..(i + 1) * dim].chunks(LINE).enumerate() {
                for (to, value) in self.scaled[column * n + i].iter_mut().zip(values) {
                    *to = self.precision.operand(self.precision.operand(*value) * scale);
                }
            }
        }
    }
}

/// The gradients of one tile of rows.
struct Tile<'a> {
    exps: Exps<'a>,
    /// What each position's exps count for, `[panels]` lines, 0 past the last position.
    scale: &'a [Line],
    /// The hidden states times their scale: `[dim / 16, n]` lines.
    scaled: &'a [Line],
    d_rows: &'a mut [f32],
    d_bias: Option<&'a mut [f32]>,
    beta: Beta,
}

impl Kernel for Tile<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Self { exps, scaled, d_rows, beta, .. } = self;
        let dim = d_rows.len() / exps.rows;
        if exps.n == 0 && beta == Beta::Overwrite {
            d_rows.fill(0.0);
        }
        let mut d_bias = self.d_bias;
        for start in (0..exps.rows).step_by(ROW_BLOCK) {
            let rows = start..exps.rows.min(start + ROW_BLOCK);
            if let Some(d_bias) = &mut d_bias {
                bias_gradient(simd, exps, self.scale, rows.clone(), d_bias, beta);
            }
            let columns = (0..dim).step_by(LINE).zip(scaled.chunks_exact(exps.n.max(1)));
            for (column, scaled) in columns {
                let target = Target { rows: rows.clone(), dim, column, beta };
                row_gradients(simd, exps, scaled, d_rows, target);
            }
        }
    }
}

/// Sums each row's scaled exps over the positions in 16 lanes.
#[inline(always)]
fn bias_gradient<S: Simd>(
    simd: S,
    exps: Exps<'_>,
    scale: &[Line],
    rows: Range<usize>,
    d_bias: &mut [f32],
    beta: Beta,
) {
    for v in rows {
        let mut lanes = [simd.splat(0.0); 2];
        for (panel, scale) in scale.iter().enumerate() {
            let line = &exps.lines[panel * exps.rows + v];
            for (lanes, at) in lanes.iter_mut().zip((0..LINE).step_by(S::LANES)) {
                *lanes = simd.mul_add(simd.load(&line[at..]), simd.load(&scale[at..]), *lanes);
            }
        }
        let mut line = [0.0; LINE];
        for (lanes, at) in lanes.into_iter().zip((0..LINE).step_by(S::LANES)) {
            simd.store(lanes, &mut line[at..]);
        }
        let sum = fold(line);
        d_bias[v] = if beta == Beta::Overwrite { sum } else { d_bias[v] + sum };
    }
}
