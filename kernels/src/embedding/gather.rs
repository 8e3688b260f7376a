//! Lookup: copies of rows, in the order of the ids.

use super::Table;
use crate::error::{Error, check_shape};
use crate::optimizer::check_rows;
use crate::prefetch::prefetch;

/// Rows ahead of the current one that are requested from memory.
const PREFETCH_AHEAD: usize = 10;

/// Copies the rows of `ids` into `out` `[ids, dim]`.
///
/// # Errors
/// [`Error::Shape`] where `out` has another length, [`Error::Value`] where an id is no row of the table.
pub fn gather(table: Table<'_>, ids: &[u32], out: &mut [f32]) -> Result<(), Error> {
    let dim = table.dim;
    check_shape("gather", "length of out", ids.len() * dim, out.len())?;
    check_rows("gather", ids, table.n_rows())?;
    if dim == 0 {
        return Ok(());
    }
    for (i, (to, &id)) in out.chunks_exact_mut(dim).zip(ids).enumerate() {
        if let Some(&ahead) = ids.get(i + PREFETCH_AHEAD) {
            prefetch(table.rows, ahead as usize * dim, dim);
        }
        let start = id as usize * dim;
        to.copy_from_slice(&table.rows[start..start + dim]);
    }
    Ok(())
}
