//! Softmax cross-entropy over an item table that stays cut into shards, and what else scores rows against hidden states.
//!
//! The full softmax takes two calls per block of positions and table shard, around one exchange between the owners:
//! [`softmax_scan`] walks over tiles of [`TILE_ROWS`] rows and keeps exp(logits), their sums and their weighted sum of
//! rows, all at the running maximum; [`combine_shards`] turns the shards' maxima and sums into those of the whole table;
//! [`softmax_gradient`] gives the gradients. So each logit is computed once, each exp is written once and read once, and
//! the logits of a batch never exist. Within a call, tiles go in order, and every sum has one fixed order, which
//! [`reference`](mod@reference) spells out; across calls the caller keeps shards in shard order and blocks in block order.
//!
//! Padding never gets here: positions are real ones, or have weight 0.

pub mod dot;
mod gradient;
pub mod reference;
pub mod sampled;
mod scan;
pub mod score;
mod stats;
#[cfg(test)]
mod tests;
mod tile;

pub use gradient::{SoftmaxGrads, SoftmaxWeights, softmax_gradient};
pub use scan::{BlockScan, softmax_scan};
pub use stats::{CombinedStats, ShardStats, combine_shards, softmax_loss};

use crate::error::{Error, check_shape};

/// Rows of the table that are scored at a time; part of the numeric contract, not a tuning knob.
pub const TILE_ROWS: usize = 256;

/// Positions per block for which the working set of a tile fits the second-level cache.
pub const SCORE_BLOCK: usize = 256;

/// One shard of an item table.
#[derive(Debug, Clone, Copy)]
pub struct TableShard<'a, T = f32> {
    /// Values `[V_s, dim]`.
    pub rows: &'a [T],
    /// One value `[V_s]` that is added to the logit of its row.
    pub bias: Option<&'a [T]>,
    /// Values of a row.
    pub dim: usize,
}

impl<'a, T> TableShard<'a, T> {
    /// Returns V_s; a table of dimension 0 has as many rows as it has biases.
    pub fn n_rows(&self) -> usize {
        match (self.dim, self.bias) {
            (0, bias) => bias.map_or(0, <[T]>::len),
            (dim, _) => self.rows.len() / dim,
        }
    }

    /// Returns the values of rows `range`.
    pub(crate) fn tile(&self, range: std::ops::Range<usize>) -> &'a [T] {
        &self.rows[range.start * self.dim..range.end * self.dim]
    }

    pub(crate) fn check(&self, op: &'static str) -> Result<(), Error> {
        check_shape(op, "length of the table's rows", self.n_rows() * self.dim, self.rows.len())?;
        match self.bias {
            Some(bias) => check_shape(op, "length of the table's bias", self.n_rows(), bias.len()),
            None => Ok(()),
        }
    }
}

/// A block of positions that are scored against the table, in the batch's canonical order.
#[derive(Debug, Clone, Copy)]
pub struct Positions<'a, T = f32> {
    /// Hidden states `[n, dim]`.
    pub hidden: &'a [T],
    /// The local row of each position's target `[n]`, where this shard has it.
    pub targets: &'a [Option<u32>],
}

impl<T> Positions<'_, T> {
    /// Returns the number of positions.
    pub fn len(&self) -> usize {
        self.targets.len()
    }

    /// Returns whether there is no position.
    pub fn is_empty(&self) -> bool {
        self.targets.is_empty()
    }

    fn check(&self, op: &'static str, n_rows: usize, dim: usize) -> Result<(), Error> {
        check_shape(op, "length of the hidden states", self.len() * dim, self.hidden.len())?;
        match self.targets.iter().flatten().max() {
            Some(&row) if row as usize >= n_rows => Err(Error::Value {
                op,
                what: "target row",
                expected: "a row of the table shard",
                got: format!("{row} of {n_rows} rows"),
            }),
            _ => Ok(()),
        }
    }
}
