//! Logical pieces and who owns them.
//!
//! An embedding table is cut when the job is made: its columns into column blocks, each of which is declared as a table of
//! its own, and the rows of each into row blocks, row `r` in block `r mod S`. A plan only assigns pieces (table shards, and
//! micro-batches with their log partitions) to ranks. Everything here is pure arithmetic; nothing depends on the world
//! size but the assignment itself.

mod nodes;
mod places;
mod plan;

use serde::{Deserialize, Serialize};

pub use self::nodes::Nodes;
pub use self::plan::{
    REPLICATE_AT_MOST_BYTES, ShardingPlan, TablePlan, even_owner, micro_batch_of_partition,
};

/// Why a table declaration or a plan cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A plan needs at least one rank.
    #[error("a plan needs at least one worker, got world_size 0")]
    NoRanks,
    /// The plan does not cover each shard of a table exactly once with a legal rank.
    #[error("table {table}: shard {shard} is owned by rank {rank}, but the job has {world_size} workers")]
    UnknownRank {
        /// The table.
        table: String,
        /// The table shard.
        shard: u32,
        /// The rank the plan names.
        rank: u32,
        /// The number of ranks there are.
        world_size: u32,
    },
    /// The plan has another number of shards than the declaration.
    #[error("table {table}: the plan places {planned} shards, the job declares {declared}")]
    ShardCount {
        /// The table.
        table: String,
        /// Shards in the plan.
        planned: usize,
        /// Shards in the declaration.
        declared: usize,
    },
    /// A declared table is not in the plan.
    #[error("table {table} is declared by the job but not placed by the plan")]
    Unplaced {
        /// The table.
        table: String,
    },
    /// The plan calls a table what only the blocks of a cut table together can be.
    #[error("table {table}: a plan places each column block by itself, so none can be {placement:?}")]
    NotOfOne {
        /// The table.
        table: String,
        /// What the plan calls it.
        placement: Placement,
    },
    /// Shards that should be together are not.
    #[error("table {table}: shards {first} and {other} are to be on one {place}, but are not")]
    Apart {
        /// The table.
        table: String,
        /// One shard.
        first: u32,
        /// Another shard.
        other: u32,
        /// `rank` or `node`.
        place: &'static str,
    },
}

/// How the shards of a table are spread.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Placement {
    /// Row blocks spread over all ranks.
    RowWise,
    /// All row blocks, of all column blocks, on one rank.
    TableWise,
    /// Each rank keeps a replica of every row block; gradients are gathered everywhere.
    DataParallel,
    /// Each column block on one rank, the blocks of a table spread over ranks.
    ColumnWise,
    /// Row blocks, of all column blocks, spread over the ranks of one node.
    TableRowWise,
    /// The row blocks of each column block spread over the ranks of one node, the blocks of a table spread over nodes.
    Grid,
}

impl Placement {
    /// How a single column block lies when the job asks this of its table: what a plan says of it.
    #[must_use]
    pub fn of_block(self) -> Self {
        match self {
            Self::ColumnWise => Self::TableWise,
            Self::Grid => Self::TableRowWise,
            other => other,
        }
    }
}

/// Which columns of a table a column block has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ColumnBlock {
    /// Name of the table that is cut.
    pub table: String,
    /// Columns of a whole row.
    pub dim: u32,
    /// The first of the block's columns.
    pub first: u32,
}

/// The declared shape of an embedding table or of a column block of one, fixed for the life of a job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TableDecl {
    /// Name, unique in the job.
    pub name: String,
    /// Number of rows.
    pub rows: u64,
    /// Columns of a row (f32 each).
    pub dim: u32,
    /// Number of row blocks, S.
    pub row_blocks: u32,
    /// Whether each row also has a bias (an output table).
    pub bias: bool,
    /// A placement that the job forces on the whole table; otherwise the planner chooses.
    pub placement: Option<Placement>,
    /// Where it is one of several column blocks: which. Blocks of one table are declared one after the other, in order.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub columns: Option<ColumnBlock>,
}

impl TableDecl {
    /// The table of the model that this is, or is a column block of.
    #[must_use]
    pub fn table(&self) -> &str {
        self.columns.as_ref().map_or(&self.name, |columns| &columns.table)
    }

    /// The first column of the model's table that this has.
    #[must_use]
    pub fn first_column(&self) -> u32 {
        self.columns.as_ref().map_or(0, |columns| columns.first)
    }

    /// Columns of the model's table.
    #[must_use]
    pub fn whole_dim(&self) -> u32 {
        self.columns.as_ref().map_or(self.dim, |columns| columns.dim)
    }

    /// The block that row `row` lies in.
    #[must_use]
    pub fn block_of(&self, row: u64) -> u32 {
        (row % u64::from(self.row_blocks)) as u32
    }

    /// The index of row `row` inside its block.
    #[must_use]
    pub fn local_row(&self, row: u64) -> u64 {
        row / u64::from(self.row_blocks)
    }

    /// The row of the table that local row `local` of block `block` is.
    #[must_use]
    pub fn global_row(&self, block: u32, local: u64) -> u64 {
        local * u64::from(self.row_blocks) + u64::from(block)
    }

    /// How many rows block `block` has; zero is legal.
    #[must_use]
    pub fn rows_in_block(&self, block: u32) -> u64 {
        let (rows, blocks, block) = (self.rows, u64::from(self.row_blocks), u64::from(block));
        if block >= rows { 0 } else { (rows - block).div_ceil(blocks) }
    }

    /// Bytes of the weights (without optimizer state), all blocks together.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.rows * (u64::from(self.dim) + u64::from(self.bias)) * 4
    }
}

#[cfg(test)]
mod tests;
