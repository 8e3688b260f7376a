//! Embedding tables, cut into table shards (row blocks of column blocks) that ranks own.
//!
//! A rank holds the shards that the plan gives it (all of them for a replicated table), looks rows up at their
//! owners, and gives row gradients back to them. Gradients of a row are summed in the order of micro-batches and
//! of occurrence inside a micro-batch, so the result does not depend on who owns what.

mod dirty;
mod exchange;
mod init;
mod lookup;
mod push;
mod set;
mod shard;
mod squares;
mod table;
mod update;
mod whole;

pub use dirty::{Dirty, Mark};
pub use exchange::Error;
pub use lookup::{LookupRequest, Rows, look_up};
pub(crate) use lookup::{RowSource, distinct, look_up_from};
pub(crate) use push::{Arrived, exchange_gradients};
pub use push::{RowGradient, push_gradients};
pub use set::{ModelTable, TableSet};
pub(crate) use shard::kernel_kind;
pub use shard::{OptimizerState, Shard, ShardGradient};
pub use squares::sum_row_squares;
pub use table::{Init, Table};
pub use update::{update_dense, update_shard};
pub use whole::gather_whole;
