//! The first half of the softmax: exps, their sums and their weighted sum of rows, tile by tile.
//!
//! Positions go in lines of 16. For each tile of rows and each line: the logits, the running maximum, the exps and the
//! weighted rows, all while the line's exps lie in the first-level cache. Each position's sum simply goes over rows in
//! order; vectors run over positions.

use super::tile::{LINE, Line, logits, pack_columns, weighted_rows};
use super::{Positions, ShardStats, TILE_ROWS, TableShard};
use crate::bf16::Precision;
use crate::error::Error;
use crate::isa::{Kernel, Simd};
use crate::math;
use crate::scratch::{AlignedBuffer, Scratch};

/// What one shard keeps for one block of positions between its scan and its gradient; reused from block to block.
#[derive(Debug, Default)]
pub struct BlockScan {
    pub(super) precision: Precision,
    pub(super) n: usize,
    pub(super) n_rows: usize,
    pub(super) dim: usize,
    /// The hidden states, transposed: `[panels, dim]` lines.
    hidden: AlignedBuffer,
    /// exp(logit - running maximum after the row's tile): per tile `[panels, rows]` lines.
    pub(super) exps: AlignedBuffer,
    /// The running maximum after each tile `[tiles, panels]` lines.
    pub(super) tile_max: Vec<f32>,
    /// Maximum and sum `[panels]` lines.
    max: Vec<f32>,
    sum: Vec<f32>,
    target_logit: Vec<f32>,
    /// Sum of exp(logit - max) times the row, transposed: `[panels, dim]` lines.
    pub(super) weighted_rows: AlignedBuffer,
    /// What the gradient makes of the maxima.
    pub(super) scale: Vec<f32>,
}

impl BlockScan {
    /// Makes an empty scan whose products, and those of its gradient, take operands of `precision`.
    ///
    /// With bfloat16, hidden states, rows, exps and scaled hidden states are rounded where a product takes them; maxima,
    /// sums, logits and gradients are f32.
    pub fn new(precision: Precision) -> Self {
        Self { precision, ..Self::default() }
    }

    /// Returns the statistics that the last scan found.
    pub fn stats(&self) -> ShardStats<'_> {
        let n = self.n;
        ShardStats { max: &self.max[..n], sum: &self.sum[..n], target_logit: &self.target_logit[..n] }
    }

    /// Returns the bytes that a scan of `n` positions over `n_rows` rows keeps.
    pub fn workspace_bytes(n: usize, n_rows: usize, dim: usize) -> usize {
        let per_position = n_rows + n_rows.div_ceil(TILE_ROWS) + 4 + 2 * dim;
        size_of::<f32>() * n.next_multiple_of(LINE) * per_position
    }

    /// Returns the number of lines of positions.
    pub(super) fn panels(&self) -> usize {
        self.n.div_ceil(LINE)
    }

    fn start(&mut self, positions: Positions<'_>, table: TableShard<'_>) {
        (self.n, self.n_rows, self.dim) = (positions.len(), table.n_rows(), table.dim);
        let padded = self.panels() * LINE;
        self.exps.resize(self.n_rows * padded);
        self.tile_max.clear();
        let arrays = [
            (&mut self.max, padded, f32::NEG_INFINITY),
            (&mut self.sum, padded, 0.0),
            (&mut self.target_logit, self.n, 0.0),
        ];
        for (array, len, value) in arrays {
            array.clear();
            array.resize(len, value);
        }
        self.weighted_rows.resize(padded * self.dim).fill(0.0);
        let dim = self.dim;
        let hidden = self.hidden.resize(padded * dim);
        for (panel, lines) in hidden.chunks_exact_mut(LINE * dim.max(1)).enumerate() {
            for (k, line) in lines.as_chunks_mut::<LINE>().0.iter_mut().enumerate() {
                let value = |j| positions.hidden.get((panel * LINE + j) * dim + k).copied().unwrap_or(0.0);
                *line = std::array::from_fn(value);
                self.precision.operands(line);
            }
        }
    }
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
    positions.check("softmax_scan", table.n_rows(), table.dim)?;
    scan.start(positions, table);
    if positions.is_empty() {
        return Ok(());
    }
    let padded = scan.panels() * LINE;
    for start in (0..scan.n_rows).step_by(TILE_ROWS) {
        let end = scan.n_rows.min(start + TILE_ROWS);
        let mut rows = table.tile(start..end);
        if scan.precision != Precision::F32 {
            let rounded = scratch.packed_b.resize(rows.len());
            rounded.copy_from_slice(rows);
            scan.precision.operands(rounded);
            rows = scratch.packed_b.as_slice();
        }
        let packed = scratch.packed_a.resize(rows.len());
        pack_columns(rows, table.dim, packed);
        scratch.isa().dispatch(Tile {
            precision: scan.precision,
            rows,
            packed: scratch.packed_a.as_slice(),
            bias: table.bias.map(|bias| &bias[start..end]),
            start,
            targets: positions.targets,
            target_logit: &mut scan.target_logit,
            hidden: scan.hidden.as_slice().as_chunks().0,
            exps: scan.exps.as_mut_slice()[start * padded..end * padded].as_chunks_mut().0,
            max: scan.max.as_chunks_mut().0,
            sum: scan.sum.as_chunks_mut().0,
            weighted: scan.weighted_rows.as_mut_slice().as_chunks_mut().0,
        });
        scan.tile_max.extend_from_slice(&scan.max);
    }
    Ok(())
}

/// One tile of rows against all positions.
struct Tile<'a> {
    precision: Precision,
    rows: &'a [f32],
    packed: &'a [f32],
    bias: Option<&'a [f32]>,
    start: usize,
    targets: &'a [Option<u32>],
    target_logit: &'a mut [f32],
    hidden: &'a [Line],
    exps: &'a mut [Line],
    max: &'a mut [Line],
    sum: &'a mut [Line],
    weighted: &'a mut [Line],
}

impl Kernel for Tile<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let panels = self.max.len();
        let (dim, count) = (self.hidden.len() / panels, self.exps.len() / panels);
        for (panel, exps) in self.exps.chunks_exact_mut(count).enumerate() {
            logits(simd, self.rows, &self.hidden[panel * dim..][..dim], exps);
            if let Some(bias) = self.bias {
                for (line, &b) in exps.iter_mut().zip(bias) {
                    line.iter_mut().for_each(|logit| *logit += b);
                }
            }
            let targets = self.targets.iter().zip(&mut *self.target_logit).skip(panel * LINE).take(LINE);
            for (j, (target, logit)) in targets.enumerate() {
                let row = target.and_then(|row| (row as usize).checked_sub(self.start));
                if let Some(line) = row.and_then(|row| exps.get(row)) {
                    *logit = line[j];
                }
            }
            let keep = exps_at_maximum(exps, &mut self.max[panel], &mut self.sum[panel]);
            // The sum is of exact exps; only what enters products is rounded.
            self.precision.operands(exps.as_flattened_mut());
            weighted_rows(simd, self.packed, exps, &keep, &mut self.weighted[panel * dim..][..dim]);
        }
    }
}

/// Turns logits into exps at the running maximum, updates maximum and sum, and returns what older sums are worth.
#[inline(always)]
fn exps_at_maximum(lines: &mut [Line], max: &mut Line, sum: &mut Line) -> Line {
    let before = *max;
    let mut highest = before;
    for line in &*lines {
        for j in 0..LINE {
            highest[j] = if line[j] > highest[j] { line[j] } else { highest[j] };
        }
    }
    let mut total = [0.0; LINE];
    for line in lines {
        for j in 0..LINE {
            line[j] = math::exp(line[j] - highest[j]);
            total[j] += line[j];
        }
    }
    let mut keep = [0.0; LINE];
    for j in 0..LINE {
        keep[j] = math::exp(before[j] - highest[j]);
        sum[j] = sum[j] * keep[j] + total[j];
    }
    *max = highest;
    keep
}
