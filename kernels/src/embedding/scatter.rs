//! The gradient of a lookup: one summed row per distinct id.

use super::sort::{SortBuffers, id_of, origin_of, pair};
use crate::error::{Error, check_shape};
use crate::optimizer::Rows;
use crate::prefetch::prefetch;

/// Gradients ahead of the current one that are requested from memory.
const PREFETCH_AHEAD: usize = 10;

/// Sums `grads` `[ids, dim]` per distinct id, in the order of occurrence; the result's ids ascend.
///
/// # Errors
/// [`Error::Shape`] where `grads` has another length.
pub fn scatter_sum<'s>(
    ids: &[u32],
    grads: &[f32],
    dim: usize,
    buffers: &'s mut SortBuffers,
) -> Result<Rows<'s>, Error> {
    check_shape("scatter_sum", "length of the gradients", ids.len() * dim, grads.len())?;
    buffers.pairs.clear();
    buffers.pairs.extend(ids.iter().zip(0..).map(|(&id, origin)| pair(id, origin)));
    buffers.sort();
    buffers.ids.clear();
    buffers.rows.clear();
    for (i, &entry) in buffers.pairs.iter().enumerate() {
        if let Some(&ahead) = buffers.pairs.get(i + PREFETCH_AHEAD) {
            prefetch(grads, origin_of(ahead) * dim, dim);
        }
        let start = origin_of(entry) * dim;
        let grad = &grads[start..start + dim];
        if buffers.ids.last() == Some(&id_of(entry)) {
            let last = buffers.rows.len() - dim;
            for (sum, &g) in buffers.rows[last..].iter_mut().zip(grad) {
                *sum += g;
            }
        } else {
            buffers.ids.push(id_of(entry));
            buffers.rows.extend_from_slice(grad);
        }
    }
    Ok(Rows { ids: &buffers.ids, grads: &buffers.rows, dim })
}
