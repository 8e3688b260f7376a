//! Embedding tables: rows out (lookup, pooled lookup) and row gradients back in.
//!
//! A table shard is `[rows, dim]`, row-major; ids are local rows. Where an id occurs more than once, its gradients are
//! added in the order of occurrence, which a stable sort of the ids keeps; so results do not depend on anything but the
//! arguments. Memory latency is the cost here, so rows are requested ahead of their use.

mod bag;
mod gather;
mod memory;
pub mod reference;
mod scatter;
mod sort;
#[cfg(test)]
mod tests;

pub use bag::{Bags, RowwiseTable, bag_backward_rowwise_adagrad, bag_forward};
pub use gather::gather;
pub use memory::TableMemory;
pub use scatter::scatter_sum;
pub use sort::SortBuffers;

/// Rows of a table shard.
#[derive(Clone, Copy, Debug)]
pub struct Table<'a> {
    /// Values `[rows, dim]`.
    pub rows: &'a [f32],
    /// Values of a row.
    pub dim: usize,
}

impl Table<'_> {
    fn n_rows(&self) -> usize {
        self.rows.len().checked_div(self.dim).unwrap_or(usize::MAX)
    }
}
