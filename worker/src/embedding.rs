//! Embedding tables, cut into table shards that ranks own.
//!
//! A rank holds the shards that the plan gives it (all of them for a replicated table), looks rows up at their
//! owners, and gives row gradients back to them. Gradients of a row are summed in the order of micro-batches and
//! of occurrence inside a micro-batch, so the result does not depend on who owns what.

mod dirty;
mod exchange;
mod init;
mod lookup;
mod push;
mod shard;
mod table;
mod update;

pub use dirty::{Dirty, Mark};
pub use exchange::Error;
pub use lookup::{LookupRequest, Rows, look_up};
pub(crate) use lookup::{RowSource, distinct, look_up_from};
pub(crate) use push::{Arrived, exchange_gradients};
pub use push::{RowGradient, push_gradients};
pub(crate) use shard::kernel_kind;
pub use shard::{OptimizerState, Shard, ShardGradient};
pub use table::{Init, Table, TableSet};
pub(crate) use update::is_sparse;
pub use update::{update_dense, update_shard};
