//! The full softmax as plain loops, generic over f32 and f64: the order that the fast version keeps.

use std::ops::Div;

use super::dot::reference::lane_dot;
use super::{CombinedStats, Positions, ShardStats, SoftmaxGrads, SoftmaxWeights, TILE_ROWS, TableShard};
use crate::bf16::Precision;
use crate::gemm::Beta;
use crate::matrix::{MatrixMut, MatrixRef};
use crate::reference::{Real, gemm};

/// What the scan of one shard keeps for one block of `n` positions.
#[derive(Debug, Clone, Default)]
pub struct Scan<T> {
    /// What the products' operands are rounded to.
    pub precision: Precision,
    /// exp(logit - running maximum after the row's tile) `[V_s, n]`.
    pub exps: Vec<T>,
    /// The running maximum after each tile `[tiles, n]`.
    pub tile_max: Vec<T>,
    /// The maximum over the shard `[n]`.
    pub max: Vec<T>,
    /// Sum of exp(logit - max) `[n]`.
    pub sum: Vec<T>,
    /// The target's logit where the shard has it, else 0 `[n]`.
    pub target_logit: Vec<T>,
    /// Sum of exp(logit - max) times the row `[n, dim]`.
    pub weighted_rows: Vec<T>,
}

impl<T> Scan<T> {
    /// Returns what owners exchange.
    pub fn stats(&self) -> ShardStats<'_, T> {
        ShardStats { max: &self.max, sum: &self.sum, target_logit: &self.target_logit }
    }
}

/// Makes exps at the running maximum of one tile's logits, updates the running values, and returns what older sums are
/// worth.
fn scan_tile<T: Real>(logits: &mut [T], n: usize, scan: &mut Scan<T>) -> Vec<T> {
    let rows = logits.len() / n;
    let mut keeps = Vec::new();
    for i in 0..n {
        let before = scan.max[i];
        let mut max = before;
        for v in 0..rows {
            if logits[v * n + i] > max {
                max = logits[v * n + i];
            }
        }
        let keep = before.sub(max).exp();
        let mut sum = T::default();
        for v in 0..rows {
            let e = logits[v * n + i].sub(max).exp();
            logits[v * n + i] = e;
            sum = sum.add(e);
        }
        scan.max[i] = max;
        scan.sum[i] = scan.sum[i].mul(keep).add(sum);
        keeps.push(keep);
    }
    keeps
}

/// Returns copies of values as operands of a product.
fn operands<T: Real>(values: &[T], precision: Precision) -> Vec<T> {
    values.iter().map(|value| value.operand(precision)).collect()
}

/// Scores a block of positions against one shard; panics where shapes do not fit.
pub fn softmax_scan<T: Real>(
    table: TableShard<'_, T>,
    positions: Positions<'_, T>,
    precision: Precision,
) -> Scan<T> {
    let (n, dim, n_rows) = (positions.len(), table.dim, table.n_rows());
    let mut scan = Scan {
        precision,
        max: vec![T::from_f64(f64::NEG_INFINITY); n],
        sum: vec![T::default(); n],
        target_logit: vec![T::default(); n],
        weighted_rows: vec![T::default(); n * dim],
        ..Scan::default()
    };
    if n == 0 {
        return scan;
    }
    let hidden = operands(positions.hidden, precision);
    let hidden = matrix(&hidden, n, dim);
    for start in (0..n_rows).step_by(TILE_ROWS) {
        let end = n_rows.min(start + TILE_ROWS);
        let rows = operands(table.tile(start..end), precision);
        let rows = matrix(&rows, end - start, dim);
        let mut logits = vec![T::default(); (end - start) * n];
        gemm(rows, hidden.transposed(), &mut matrix_mut(&mut logits, end - start, n), Beta::Overwrite);
        for (v, line) in logits.chunks_exact_mut(n).enumerate() {
            let b = table.bias.map_or(T::default(), |bias| bias[start + v]);
            line.iter_mut().for_each(|logit| *logit = logit.add(b));
        }
        for (i, target) in positions.targets.iter().enumerate() {
            match target.map(|row| row as usize) {
                Some(row) if (start..end).contains(&row) => {
                    scan.target_logit[i] = logits[(row - start) * n + i];
                }
                _ => {}
            }
        }
        let keep = scan_tile(&mut logits, n, &mut scan);
        let logits = operands(&logits, precision);
        let exps = matrix(&logits, end - start, n).transposed();
        let mut weighted = vec![T::default(); n * dim];
        gemm(exps, rows, &mut matrix_mut(&mut weighted, n, dim), Beta::Overwrite);
        for (j, (total, new)) in scan.weighted_rows.iter_mut().zip(weighted).enumerate() {
            *total = total.mul_add(keep[j / dim], new);
        }
        scan.tile_max.extend_from_slice(&scan.max);
        scan.exps.extend_from_slice(&logits);
    }
    scan
}

/// Combines the shards' statistics in shard order.
pub fn combine_shards<T: Real>(parts: &[ShardStats<'_, T>]) -> CombinedStats<T> {
    let n = parts.first().map_or(0, |part| part.max.len());
    let mut combined = CombinedStats::default();
    for i in 0..n {
        let mut max = T::from_f64(f64::NEG_INFINITY);
        for part in parts {
            if part.max[i] > max {
                max = part.max[i];
            }
        }
        let (mut sum, mut target_logit) = (T::default(), T::default());
        for part in parts {
            sum = sum.add(part.sum[i].mul(part.max[i].sub(max).exp()));
            target_logit = target_logit.add(part.target_logit[i]);
        }
        combined.max.push(max);
        combined.sum.push(sum);
        combined.target_logit.push(target_logit);
    }
    combined
}

/// Returns the sum over positions of `weight * (ln sum + max - target_logit)`, in f64 and in order.
pub fn softmax_loss<T: Real>(combined: &CombinedStats<T>, weights: &[T]) -> f64 {
    let mut loss = 0.0;
    for (i, weight) in weights.iter().enumerate() {
        if weight.to_f64() == 0.0 {
            continue;
        }
        let log_sum = combined.sum[i].ln().add(combined.max[i]);
        loss += weight.to_f64() * log_sum.sub(combined.target_logit[i]).to_f64();
    }
    loss
}

/// Returns `weight * exp(max - combined max) / combined sum`: what an exp at `max` counts for in the gradient.
fn coefficient<T: Real + Div<Output = T>>(combined: &CombinedStats<T>, weight: T, max: T, i: usize) -> T {
    weight.mul(max.sub(combined.max[i]).exp()) / combined.sum[i]
}

/// Gives the gradients of one block and shard; panics where shapes do not fit.
pub fn softmax_gradient<T: Real + Div<Output = T>>(
    table: TableShard<'_, T>,
    positions: Positions<'_, T>,
    weights: SoftmaxWeights<'_, T>,
    scan: &Scan<T>,
    grads: SoftmaxGrads<'_, T>,
) {
    let (n, dim, n_rows) = (positions.len(), table.dim, table.n_rows());
    let SoftmaxGrads { d_hidden, d_rows, mut d_bias, beta } = grads;
    let SoftmaxWeights { combined, weights } = weights;
    for (tile, start) in (0..n_rows).step_by(TILE_ROWS).enumerate() {
        let rows = TILE_ROWS.min(n_rows - start);
        let max = scan.tile_max.get(tile * n..(tile + 1) * n).unwrap_or_default();
        let scale: Vec<T> = (0..n).map(|i| coefficient(combined, weights[i], max[i], i)).collect();
        let hidden = operands(positions.hidden, scan.precision);
        let scaled: Vec<T> = (0..n * dim).map(|j| hidden[j].mul(scale[j / dim])).collect();
        let scaled = operands(&scaled, scan.precision);
        let exps = &scan.exps[start * n..(start + rows) * n];
        let tile = &mut d_rows[start * dim..(start + rows) * dim];
        gemm(matrix(exps, rows, n), matrix(&scaled, n, dim), &mut matrix_mut(tile, rows, dim), beta);
        if let Some(d_bias) = &mut d_bias {
            for v in 0..rows {
                let sum = lane_dot(&exps[v * n..(v + 1) * n], &scale);
                let d = &mut d_bias[start + v];
                *d = if beta == Beta::Overwrite { sum } else { d.add(sum) };
            }
        }
    }
    for i in 0..n {
        let scale = coefficient(combined, weights[i], scan.max[i], i);
        for j in 0..dim {
            d_hidden[i * dim + j] = scan.weighted_rows[i * dim + j].mul(scale);
        }
        let Some(row) = positions.targets[i] else { continue };
        for j in 0..dim {
            let (d, at) = (i * dim + j, row as usize * dim + j);
            let (value, hidden) =
                (table.rows[at].operand(scan.precision), positions.hidden[d].operand(scan.precision));
            d_hidden[d] = d_hidden[d].sub(weights[i].mul(value));
            d_rows[at] = d_rows[at].sub(weights[i].mul(hidden));
        }
        if let Some(d_bias) = &mut d_bias {
            d_bias[row as usize] = d_bias[row as usize].sub(weights[i]);
        }
    }
}

pub(super) fn matrix<T: Real>(data: &[T], rows: usize, cols: usize) -> MatrixRef<'_, T> {
    MatrixRef::row_major(data, rows, cols).expect("slices are cut to the matrix")
}

pub(super) fn matrix_mut<T: Real>(data: &mut [T], rows: usize, cols: usize) -> MatrixMut<'_, T> {
    MatrixMut::row_major(data, rows, cols).expect("slices are cut to the matrix")
}
