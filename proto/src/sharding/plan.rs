//! A plan: which rank holds which piece.

use std::collections::BTreeMap;
use std::ops::Range;

use serde::{Deserialize, Serialize};

use super::nodes::Nodes;
use super::places::Places;
use super::{Error, Placement, TableDecl};

/// Where the shards of one declared table are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TablePlan {
    /// The layout this assignment realizes; of a column block, how the block lies ([`Placement::of_block`]).
    pub placement: Placement,
    /// Owner of each row block. For a replicated table this is the rank that computes the block's scores.
    pub owners: Vec<u32>,
}

impl TablePlan {
    /// A table of `row_blocks` row blocks, as even over `ranks` as can be.
    #[must_use]
    pub fn even(placement: Placement, row_blocks: u32, ranks: &[u32]) -> Self {
        let owner = |block| ranks[even_owner(block, row_blocks, ranks.len() as u32) as usize];
        Self { placement, owners: (0..row_blocks).map(owner).collect() }
    }
}

/// Which rank holds which piece, for one generation of one job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ShardingPlan {
    /// Number of ranks.
    pub world_size: u32,
    /// Number of micro-batches of a step, M; fixed in the job.
    pub micro_batches: u32,
    /// Per declared table, in name order.
    pub tables: BTreeMap<String, TablePlan>,
}

/// Tables of at most this many bytes are replicated when the job does not say otherwise: gathering their
/// gradients costs less than two exchanges of rows.
pub const REPLICATE_AT_MOST_BYTES: u64 = 64 * 1024;

impl ShardingPlan {
    /// Assigns the pieces of a job to `world_size` ranks on as many nodes, as [`ShardingPlan::simple_on`] does.
    ///
    /// # Errors
    /// `NoRanks` if `world_size` is zero.
    pub fn simple(tables: &[TableDecl], micro_batches: u32, world_size: u32) -> Result<Self, Error> {
        Self::simple_on(tables, micro_batches, &Nodes::alone(world_size))
    }

    /// Assigns the pieces of a job to ranks by a simple rule: small tables are replicated, others row-wise; what the job
    /// forces is kept, on the ranks or nodes with the least.
    ///
    /// # Errors
    /// `NoRanks` if there is none.
    pub fn simple_on(tables: &[TableDecl], micro_batches: u32, nodes: &Nodes) -> Result<Self, Error> {
        if nodes.is_empty() {
            return Err(Error::NoRanks);
        }
        let mut places = Places::new(nodes);
        let mut plans = BTreeMap::new();
        for table in tables {
            let small = table.bytes() <= REPLICATE_AT_MOST_BYTES;
            let default = if small { Placement::DataParallel } else { Placement::RowWise };
            plans.insert(table.name.clone(), places.place(table, table.placement.unwrap_or(default)));
        }
        Ok(Self { world_size: nodes.world_size(), micro_batches, tables: plans })
    }

    /// Gives the pieces of this plan to another set of ranks, and moves as few as it can: a piece stays with its owner if
    /// that is among `kept` (old rank to new rank), orphans go to those with the least, and row-wise tables stay as even
    /// as [`ShardingPlan::simple_on`] makes them. A table-row-wise table stays on the node that has the most of it.
    ///
    /// # Errors
    /// `NoRanks` if there is none, `Unplaced` where a table has no place in this plan.
    pub fn repaired(
        &self,
        tables: &[TableDecl],
        kept: &BTreeMap<u32, u32>,
        nodes: &Nodes,
    ) -> Result<Self, Error> {
        if nodes.is_empty() {
            return Err(Error::NoRanks);
        }
        let old = |table: &TableDecl| {
            self.tables.get(&table.name).ok_or_else(|| Error::Unplaced { table: table.name.clone() })
        };
        let olds: Vec<&TablePlan> = tables.iter().map(old).collect::<Result<_, _>>()?;
        let mut places = Places::new(nodes);
        let mut plans = BTreeMap::new();
        // Those that are lost whole find their places beside those that stay.
        for stays in [true, false] {
            for (table, old) in tables.iter().zip(&olds).filter(|(_, old)| Places::stays(old, kept) == stays)
            {
                plans.insert(table.name.clone(), places.repair(table, old, kept));
            }
        }
        let (world_size, micro_batches) = (nodes.world_size(), self.micro_batches);
        Ok(Self { world_size, micro_batches, tables: plans })
    }

    /// Checks that each declared shard has exactly one owner among the ranks, and that a table-wise table has one owner.
    ///
    /// # Errors
    /// The first piece that is not placed as the declarations ask.
    pub fn check(&self, tables: &[TableDecl]) -> Result<(), Error> {
        for table in tables {
            let name = || table.name.clone();
            let plan = self.tables.get(&table.name).ok_or_else(|| Error::Unplaced { table: name() })?;
            if plan.owners.len() != table.row_blocks as usize {
                let (planned, declared) = (plan.owners.len(), table.row_blocks as usize);
                return Err(Error::ShardCount { table: name(), planned, declared });
            }
            if let Some(shard) = plan.owners.iter().position(|&rank| rank >= self.world_size) {
                let (rank, world_size) = (plan.owners[shard], self.world_size);
                return Err(Error::UnknownRank { table: name(), shard: shard as u32, rank, world_size });
            }
            if plan.placement != plan.placement.of_block() {
                return Err(Error::NotOfOne { table: name(), placement: plan.placement });
            }
            if plan.placement == Placement::TableWise {
                together(table, plan, "rank", |rank| rank as usize)?;
            }
        }
        Ok(())
    }

    /// Checks that each table-row-wise table is on one node.
    ///
    /// # Errors
    /// The first shard that is elsewhere.
    pub fn check_nodes(&self, tables: &[TableDecl], nodes: &Nodes) -> Result<(), Error> {
        for table in tables {
            match self.tables.get(&table.name) {
                Some(plan) if plan.placement == Placement::TableRowWise => {
                    together(table, plan, "node", |rank| nodes.of(rank))?;
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// The micro-batches that `rank` computes: a contiguous, possibly empty range.
    #[must_use]
    pub fn micro_batches_of(&self, rank: u32) -> Range<u32> {
        let (m, w) = (u64::from(self.micro_batches), u64::from(self.world_size));
        let bound = |r: u32| (u64::from(r) * m / w) as u32;
        bound(rank)..bound(rank + 1)
    }

    /// The rank that computes micro-batch `micro_batch`.
    #[must_use]
    pub fn rank_of_micro_batch(&self, micro_batch: u32) -> u32 {
        (0..self.world_size)
            .find(|&rank| self.micro_batches_of(rank).contains(&micro_batch))
            .unwrap_or(self.world_size - 1)
    }

    /// The log partitions of `rank`: those whose micro-batch it computes.
    #[must_use]
    pub fn partitions_of(&self, rank: u32, partitions: u32) -> Vec<u32> {
        let mine = self.micro_batches_of(rank);
        (0..partitions).filter(|p| mine.contains(&micro_batch_of_partition(*p, self.micro_batches))).collect()
    }
}

/// The micro-batch that log partition `partition` feeds: `partition mod M`.
#[must_use]
pub fn micro_batch_of_partition(partition: u32, micro_batches: u32) -> u32 {
    partition % micro_batches
}

/// The owner of a row block when blocks lie as evenly as they can: contiguous ones on each rank, so that it holds whole
/// subtrees of the canonical tree.
#[must_use]
pub fn even_owner(block: u32, row_blocks: u32, world_size: u32) -> u32 {
    let (block, blocks, world) = (u64::from(block), u64::from(row_blocks), u64::from(world_size));
    (((block + 1) * world - 1) / blocks) as u32
}

/// Checks that all shards of a table are on one place.
fn together(
    table: &TableDecl,
    plan: &TablePlan,
    place: &'static str,
    of: impl Fn(u32) -> usize,
) -> Result<(), Error> {
    let mut owners = plan.owners.iter().map(|rank| of(*rank));
    let Some(first) = owners.next() else { return Ok(()) };
    match owners.position(|other| other != first) {
        None => Ok(()),
        Some(other) => {
            Err(Error::Apart { table: table.name.clone(), first: 0, other: other as u32 + 1, place })
        }
    }
}
