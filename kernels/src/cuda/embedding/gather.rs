//! Lookup: copies of rows, in the order of the ids.

use super::{Ids, Table, check_below, lane_shift};
use crate::cuda::Error;
use crate::cuda::device::Device;
use crate::cuda::error::count;
use crate::cuda::launch::{Shape, THREADS};
use crate::cuda::memory::ViewMut;
use crate::error::check_shape;

/// Rows that a thread loads at once; `ROWS_IN_FLIGHT` of `embedding.cu`.
const ROWS_IN_FLIGHT: usize = 4;

/// What becomes of the rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Combine {
    /// They replace what was there.
    Replace,
    /// They are added to what is there.
    Add,
}

/// Writes the rows of `ids` into `out`, whose rows are `stride` apart (`dim` where they lie back to back).
///
/// `out` starts at the first row's first value, so that a part of a wider input can be filled.
///
/// # Errors
/// [`crate::Error`] where lengths do not fit or an id may be no row of the table, else the device's.
pub fn gather(
    device: &Device,
    table: Table<'_>,
    ids: &Ids,
    out: &mut ViewMut<'_, f32>,
    stride: usize,
    combine: Combine,
) -> Result<(), Error> {
    const OP: &str = "gather";
    let (n, dim) = (ids.len(), table.dim);
    let span = if n == 0 { 0 } else { (n - 1) * stride + dim };
    if out.len() < span || stride < dim {
        check_shape(OP, "length of out", span.max(n * dim), out.len())?;
        check_shape(OP, "distance of rows", dim, stride)?;
    }
    check_below(OP, ids.below(), table.n_rows())?;
    if n == 0 || dim == 0 {
        return Ok(());
    }
    let wide =
        dim.is_multiple_of(4) && stride.is_multiple_of(4) && table.rows.is_aligned() && out.is_aligned();
    let kernel = match (combine, wide) {
        (Combine::Replace, true) => "embedding_gather_vec4_kernel",
        (Combine::Replace, false) => "embedding_gather_kernel",
        (Combine::Add, true) => "embedding_gather_add_vec4_kernel",
        (Combine::Add, false) => "embedding_gather_add_kernel",
    };
    let shift = lane_shift(dim / if wide { 4 } else { 1 });
    let rows_of_block = (THREADS as usize >> shift) * ROWS_IN_FLIGHT;
    device
        .launch(kernel)
        .input(table.rows)
        .input(ids.view())
        .output(out)
        .value(count(OP, "number of ids", n)?)
        .value(count(OP, "dimension", dim)?)
        .value(count(OP, "distance of rows", stride)?)
        .value(shift)
        .run(Shape::blocks(n.div_ceil(rows_of_block)))
}
