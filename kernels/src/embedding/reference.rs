//! The embedding ops as plain loops: the specification of the fast versions.

use super::{Bags, RowwiseTable, Table};
use crate::optimizer::{RowwiseAdagrad, reference};

/// Copies the rows of `ids`.
pub fn gather(table: Table<'_>, ids: &[u32]) -> Vec<f32> {
    let row = |&id: &u32| &table.rows[id as usize * table.dim..(id as usize + 1) * table.dim];
    ids.iter().flat_map(row).copied().collect()
}

/// Sums gradients per distinct id; returns ascending ids and their rows.
pub fn scatter_sum(ids: &[u32], grads: &[f32], dim: usize) -> (Vec<u32>, Vec<f32>) {
    let mut unique = ids.to_vec();
    unique.sort_unstable();
    unique.dedup();
    let mut rows = Vec::new();
    for &id in &unique {
        let mut occurrences = (0..ids.len()).filter(|&i| ids[i] == id);
        let first = occurrences.next().unwrap_or_default();
        let mut sum = grads[first * dim..(first + 1) * dim].to_vec();
        for i in occurrences {
            for j in 0..dim {
                sum[j] += grads[i * dim + j];
            }
        }
        rows.append(&mut sum);
    }
    (unique, rows)
}

/// Sums the rows of each bag.
pub fn bag_forward(table: Table<'_>, bags: Bags<'_>) -> Vec<f32> {
    let mut out = Vec::new();
    for ends in bags.offsets.windows(2) {
        for j in 0..table.dim {
            let mut sum = 0.0;
            for &id in &bags.ids[ends[0]..ends[1]] {
                sum += table.rows[id as usize * table.dim + j];
            }
            out.push(sum);
        }
    }
    out
}

/// The gradient of [`bag_forward`], then row-wise Adagrad on the rows that occur.
pub fn bag_backward_rowwise_adagrad(
    table: RowwiseTable<'_>,
    bags: Bags<'_>,
    d_out: &[f32],
    spec: &RowwiseAdagrad,
) {
    let RowwiseTable { rows, sum, dim } = table;
    let mut grads = Vec::new();
    for (bag, ends) in bags.offsets.windows(2).enumerate() {
        for _ in ends[0]..ends[1] {
            grads.extend_from_slice(&d_out[bag * dim..(bag + 1) * dim]);
        }
    }
    let (ids, grads) = scatter_sum(bags.ids, &grads, dim);
    for (i, &id) in ids.iter().enumerate() {
        let row = &mut rows[id as usize * dim..(id as usize + 1) * dim];
        let state = &mut sum[id as usize..=id as usize];
        reference::rowwise_adagrad(spec, dim, row, &grads[i * dim..(i + 1) * dim], state);
    }
}
