//! Optimizers: the update of a slice of parameters, or of the touched rows of a table shard.
//!
//! Every element (for row-wise Adagrad: every row) is updated by itself, with plain multiplies and adds in a fixed
//! order, so the result depends neither on how parameters are cut into slices nor on the instruction set.
//! The formulas are PyTorch's; scalars such as bias corrections are computed in f64 and rounded to f32 once a call.
//! `update` takes a whole slice, `update_rows` only rows that have a gradient: rows without one keep their
//! parameters and their state as they are (PyTorch calls this sparse or lazy), weight decay included.
//! State starts as zeros, Adagrad's `sum` at the caller's initial accumulator.

mod adagrad;
mod adam;
mod elementwise;
pub mod reference;
mod rowwise;
mod sgd;
mod slots;
#[cfg(test)]
mod tests;

pub use adagrad::Adagrad;
pub(crate) use adagrad::Rates as AdagradRates;
pub(crate) use adam::Rates as AdamRates;
pub use adam::{Adam, AdamW};
pub(crate) use elementwise::check_step;
pub(crate) use rowwise::Rates as RowwiseRates;
pub use rowwise::{RowSquares, RowwiseAdagrad};
pub use sgd::Sgd;
pub use slots::{Kind, PerRow, StateSlot, state_slots};

use crate::error::{Error, check_shape};
use crate::prefetch::prefetch;

/// The rows of a table shard that have a gradient.
#[derive(Clone, Copy, Debug)]
pub struct Rows<'a> {
    /// Local row of each gradient; no row twice.
    pub ids: &'a [u32],
    /// Gradients `[ids, dim]`.
    pub grads: &'a [f32],
    /// Values of a row.
    pub dim: usize,
}

impl Rows<'_> {
    /// Rows ahead of the current one whose parameters and state are requested from memory.
    const PREFETCH_AHEAD: usize = 8;

    /// Checks the gradients' length, and that all rows lie in a table of `table_len` values.
    fn check(&self, op: &'static str, table_len: usize) -> Result<(), Error> {
        check_shape(op, "length of the gradients", self.ids.len() * self.dim, self.grads.len())?;
        check_rows(op, self.ids, table_len.checked_div(self.dim).unwrap_or(usize::MAX))
    }

    /// Returns the element range of gradient `i`'s row, after asking for a row that comes a little later.
    #[inline(always)]
    fn range(&self, i: usize) -> std::ops::Range<usize> {
        let start = self.ids[i] as usize * self.dim;
        start..start + self.dim
    }

    #[inline(always)]
    fn prefetch(&self, i: usize, array: &[f32]) {
        if let Some(&ahead) = self.ids.get(i + Self::PREFETCH_AHEAD) {
            prefetch(array, ahead as usize * self.dim, self.dim);
        }
    }

    #[inline(always)]
    fn grad(&self, i: usize) -> &[f32] {
        &self.grads[i * self.dim..(i + 1) * self.dim]
    }
}

/// Checks that every id is a row of a table of `n_rows`.
pub(crate) fn check_rows(op: &'static str, ids: &[u32], n_rows: usize) -> Result<(), Error> {
    match ids.iter().max() {
        Some(&id) if id as usize >= n_rows => Err(Error::Value {
            op,
            what: "row id",
            expected: "a row of the table shard",
            got: format!("{id} of {n_rows} rows"),
        }),
        _ => Ok(()),
    }
}
