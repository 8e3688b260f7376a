//! Rows that begin with the mean of others.
//!
//! Beside weights and biases, the running mean of squared gradients (Adam's `exp_avg_sq`) begins with the mean: the bias
//! correction goes on counting from the parent's updates, and takes that average for full. From zero it would be too small
//! for about 1 / (1 - beta2) updates, and a new row's steps up to six times as long as a known one's. Everything else that
//! an optimizer keeps begins as it does in a new model: first moments and momentum at rest, Adagrad's sums at zero, since a
//! row that was never updated is to learn faster.

use muster_collective::{Collective, RootSums};
use muster_kernels::optimizer::state_slots;
use muster_proto::job::OptimizerKind;

use super::Error;
use super::origins::Origins;
use crate::embedding::{Shard, Table, kernel_kind};

/// The state that begins with a mean.
const SQUARES: &str = "exp_avg_sq";

/// The group of all rows that take the parent's.
const ALL: &[u32] = &[0];

/// Values that are summed at once, which bounds what is exchanged.
const AT_ONCE: usize = 1 << 20;

/// The arrays of a shard of which means are made.
#[derive(Debug, Clone, Copy)]
struct Averaged {
    dim: usize,
    bias: bool,
    /// The slot of the optimizer's state.
    squares: Option<usize>,
}

impl Averaged {
    fn of(table: &Table, kind: Option<OptimizerKind>) -> Self {
        let slots = kind.map(|kind| state_slots(kernel_kind(kind)));
        let squares = slots.and_then(|slots| slots.iter().position(|slot| slot.name == SQUARES));
        Self { dim: table.dim(), bias: table.decl.bias, squares }
    }

    /// Values of a row: weights, bias, and the squares of both.
    fn width(self) -> usize {
        let parameters = self.dim + usize::from(self.bias);
        if self.squares.is_some() { 2 * parameters } else { parameters }
    }

    /// The arrays with their values per row, in the order of a row's values.
    fn arrays(self, shard: &Shard) -> Vec<(&[f32], usize)> {
        let mut arrays: Vec<(&[f32], usize)> = vec![(&shard.weight[..], self.dim)];
        if self.bias {
            arrays.push((&shard.bias[..], 1));
        }
        if let Some(slot) = self.squares {
            arrays.push((&shard.state.weight[slot][..], self.dim));
            if self.bias {
                arrays.push((&shard.state.bias[slot][..], 1));
            }
        }
        arrays
    }

    /// The arrays of [`Averaged::arrays`], to write to.
    fn arrays_mut(self, shard: &mut Shard) -> Vec<(&mut [f32], usize)> {
        let Shard { weight, bias, state, .. } = shard;
        let mut arrays: Vec<(&mut [f32], usize)> = vec![(&mut weight[..], self.dim)];
        if self.bias {
            arrays.push((&mut bias[..], 1));
        }
        if let Some(slot) = self.squares {
            arrays.push((&mut state.weight[slot][..], self.dim));
            if self.bias {
                arrays.push((&mut state.bias[slot][..], 1));
            }
        }
        arrays
    }
}

/// Sets the rows of this rank's shards that take none of the parent's. Collective where there are such rows.
pub(super) fn begin_rows(
    table: &mut Table,
    origins: &Origins,
    kind: Option<OptimizerKind>,
    collective: &mut dyn Collective,
) -> Result<(), Error> {
    if origins.new.is_empty() {
        return Ok(());
    }
    let averaged = Averaged::of(table, kind);
    let means = means(table, averaged, &origins.groups, collective)?;
    let width = averaged.width();
    let parameters = averaged.dim + usize::from(averaged.bias);
    let mut values = vec![0.0; width];
    for (row, groups) in &origins.new {
        let block = table.decl.block_of(u64::from(*row));
        let local = table.decl.local_row(u64::from(*row)) as usize;
        let Some(shard) = table.shards.get_mut(&block) else { continue };
        // A row that begins at random has only its squares from others, from all.
        let (from, first) = if groups.is_empty() { (ALL, parameters) } else { (&groups[..], 0) };
        mean_of_means(&means, from, &mut values);
        let mut place = 0;
        for (array, width) in averaged.arrays_mut(shard) {
            if place >= first {
                array[local * width..(local + 1) * width].copy_from_slice(&values[place..place + width]);
            }
            place += width;
        }
    }
    Ok(())
}

/// The mean of each group's rows, `[groups, width]`; zeros of a group without rows. Collective.
fn means(
    table: &Table,
    averaged: Averaged,
    groups: &[Vec<u32>],
    collective: &mut dyn Collective,
) -> Result<Vec<f32>, Error> {
    let (width, blocks) = (averaged.width(), table.decl.row_blocks as usize);
    let mut means = Vec::with_capacity(groups.len() * width);
    for groups in groups.chunks((AT_ONCE / width.max(1)).max(1)) {
        let mut sums = RootSums::new(blocks);
        for block in table.scored_by(collective.rank() as u32) {
            let of_block = block_sums(table, averaged, groups, block);
            sums.push(block as usize, of_block)?;
        }
        let mut total = vec![0.0; groups.len() * width];
        collective.all_reduce_tree(&sums.roots(), blocks, &mut total)?;
        for (values, group) in total.chunks_exact_mut(width.max(1)).zip(groups) {
            let rows = group.len().max(1) as f32;
            values.iter_mut().for_each(|value| *value /= rows);
        }
        means.extend(total);
    }
    Ok(means)
}

/// The sums of the groups' rows that lie in one block, in the order of rows.
fn block_sums(table: &Table, averaged: Averaged, groups: &[Vec<u32>], block: u32) -> Vec<f32> {
    let (arrays, width) = (averaged.arrays(&table.shards[&block]), averaged.width());
    let mut sums = vec![0.0_f64; groups.len() * width];
    for (sums, group) in sums.chunks_exact_mut(width.max(1)).zip(groups) {
        for row in group.iter().map(|row| u64::from(*row)).filter(|row| table.decl.block_of(*row) == block) {
            let local = table.decl.local_row(row) as usize;
            let values = arrays.iter().flat_map(|(array, width)| &array[local * width..(local + 1) * width]);
            sums.iter_mut().zip(values).for_each(|(sum, value)| *sum += f64::from(*value));
        }
    }
    sums.into_iter().map(|sum| sum as f32).collect()
}

/// The mean of the means of some groups, each of which counts alike however many rows it has.
fn mean_of_means(means: &[f32], groups: &[u32], values: &mut [f32]) {
    let width = values.len();
    for (column, value) in values.iter_mut().enumerate() {
        let sum: f64 = groups.iter().map(|group| f64::from(means[*group as usize * width + column])).sum();
        *value = (sum / groups.len() as f64) as f32;
    }
}
