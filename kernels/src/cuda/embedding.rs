//! Embedding tables on the device: lookups, pooled lookups, and updates of the rows that were looked up.
//!
//! Ids that kernels index with are [`Ids`], which know a bound of their values from the host; so every lookup is checked
//! against its table without waiting for the device.

mod bag;
mod gather;
mod ids;
mod rows;
mod segments;
mod update;

pub use bag::{Bags, bag_forward};
pub use gather::{Combine, gather};
pub use ids::Ids;
pub(super) use rows::adam_values;
pub use rows::{RowRule, add_rows, scatter_sum, update_rows};
pub use segments::Segments;
pub(super) use segments::sort_pairs;
pub use update::RowGradients;

use super::memory::View;
use crate::error::Error;

/// Rows of a table shard in device memory.
#[derive(Debug, Clone, Copy)]
pub struct Table<'a> {
    /// Values `[rows, dim]`.
    pub rows: View<'a, f32>,
    /// Values of a row.
    pub dim: usize,
}

impl Table<'_> {
    fn n_rows(&self) -> usize {
        self.rows.len().checked_div(self.dim).unwrap_or(usize::MAX)
    }
}

/// Checks that ids below `below` are rows of a table of `n_rows`.
fn check_below(op: &'static str, below: usize, n_rows: usize) -> Result<(), Error> {
    if below <= n_rows {
        return Ok(());
    }
    let got = format!("{} of {n_rows} rows", below - 1);
    Err(Error::Value { op, what: "row id", expected: "a row of the table shard", got })
}

/// Returns the base-2 logarithm of how many lanes of a warp share a row of `packs` loads.
fn lane_shift(packs: usize) -> u32 {
    packs.clamp(1, 32).next_power_of_two().trailing_zeros()
}
