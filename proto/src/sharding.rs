//! Logical pieces and who owns them.
//!
//! An embedding table is cut into a fixed number of row blocks when the job is made: row `r` lies in block
//! `r mod S`. A plan only assigns pieces (table shards, and micro-batches with their log partitions) to ranks.
//! Everything here is pure arithmetic; nothing depends on the world size but the assignment itself.

use std::collections::BTreeMap;
use std::ops::Range;

use serde::{Deserialize, Serialize};

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
}

/// How the shards of a table are spread.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Placement {
    /// Row blocks spread over all ranks.
    RowWise,
    /// All row blocks on one rank.
    TableWise,
    /// Each rank keeps a replica of every row block; gradients are gathered everywhere.
    DataParallel,
}

/// The declared shape of an embedding table, fixed for the life of a job.
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
    /// A placement the job forces; otherwise the planner chooses.
    pub placement: Option<Placement>,
}

impl TableDecl {
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

/// Where the shards of one table are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TablePlan {
    /// The layout this assignment realizes.
    pub placement: Placement,
    /// Owner of each row block. For a replicated table this is the rank that computes the block's scores.
    pub owners: Vec<u32>,
}

/// Which rank holds which piece, for one generation of one job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ShardingPlan {
    /// Number of ranks.
    pub world_size: u32,
    /// Number of micro-batches of a step, M; fixed in the job.
    pub micro_batches: u32,
    /// Per table, in name order.
    pub tables: BTreeMap<String, TablePlan>,
}

/// Tables of at most this many bytes are replicated when the job does not say otherwise: gathering their
/// gradients costs less than two exchanges of rows.
pub const REPLICATE_AT_MOST_BYTES: u64 = 64 * 1024;

impl ShardingPlan {
    /// Assigns the pieces of a job to `world_size` ranks by a simple rule: small tables are replicated, others
    /// row-wise; what the job forces is kept.
    ///
    /// # Errors
    /// `NoRanks` if `world_size` is zero.
    pub fn simple(tables: &[TableDecl], micro_batches: u32, world_size: u32) -> Result<Self, Error> {
        if world_size == 0 {
            return Err(Error::NoRanks);
        }
        let mut table_wise_load = vec![0_u64; world_size as usize];
        let mut plans = BTreeMap::new();
        for table in tables {
            let placement = table.placement.unwrap_or(if table.bytes() <= REPLICATE_AT_MOST_BYTES {
                Placement::DataParallel
            } else {
                Placement::RowWise
            });
            let owners = match placement {
                Placement::RowWise | Placement::DataParallel => {
                    (0..table.row_blocks).map(|block| owner_of(block, table.row_blocks, world_size)).collect()
                }
                Placement::TableWise => {
                    let rank = least_loaded(&table_wise_load);
                    table_wise_load[rank as usize] += table.bytes();
                    vec![rank; table.row_blocks as usize]
                }
            };
            plans.insert(table.name.clone(), TablePlan { placement, owners });
        }
        Ok(Self { world_size, micro_batches, tables: plans })
    }

    /// Gives the pieces of this plan to another set of ranks, and moves as few as it can: a piece stays with its owner if
    /// that is among `kept` (old rank to new rank), orphans go to those with the least, and row-wise tables stay as even
    /// as [`ShardingPlan::simple`] makes them.
    ///
    /// # Errors
    /// `NoRanks` if `world_size` is zero.
    pub fn repaired(
        &self,
        tables: &[TableDecl],
        kept: &BTreeMap<u32, u32>,
        world_size: u32,
    ) -> Result<Self, Error> {
        if world_size == 0 {
            return Err(Error::NoRanks);
        }
        let mut table_wise_load = vec![0_u64; world_size as usize];
        let mut plans = BTreeMap::new();
        for table in tables {
            let old =
                self.tables.get(&table.name).ok_or_else(|| Error::Unplaced { table: table.name.clone() })?;
            let owners = match old.placement {
                Placement::RowWise | Placement::DataParallel => rebalance(&old.owners, kept, world_size),
                Placement::TableWise => {
                    let stays = old.owners.first().and_then(|owner| kept.get(owner)).copied();
                    let rank = stays.unwrap_or_else(|| least_loaded(&table_wise_load));
                    table_wise_load[rank as usize] += table.bytes();
                    vec![rank; table.row_blocks as usize]
                }
            };
            plans.insert(table.name.clone(), TablePlan { placement: old.placement, owners });
        }
        Ok(Self { world_size, micro_batches: self.micro_batches, tables: plans })
    }

    /// Checks that each declared shard has exactly one owner among the ranks.
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

/// Contiguous blocks of row blocks over the ranks, so that a rank holds whole subtrees of the canonical tree.
fn owner_of(block: u32, row_blocks: u32, world_size: u32) -> u32 {
    let (block, blocks, world) = (u64::from(block), u64::from(row_blocks), u64::from(world_size));
    (((block + 1) * world - 1) / blocks) as u32
}

/// Owners of the blocks over other ranks: as even as can be, with the fewest blocks moved.
fn rebalance(owners: &[u32], kept: &BTreeMap<u32, u32>, world_size: u32) -> Vec<u32> {
    let (blocks, world) = (owners.len(), world_size as usize);
    let mut held = vec![Vec::new(); world];
    let mut orphans = Vec::new();
    for (block, owner) in owners.iter().enumerate() {
        match kept.get(owner) {
            Some(rank) => held[*rank as usize].push(block),
            None => orphans.push(block),
        }
    }
    // The ranks that hold the most may have one more than the others, so that the fewest blocks move.
    let mut by_load: Vec<usize> = (0..world).collect();
    by_load.sort_by_key(|&rank| (std::cmp::Reverse(held[rank].len()), rank));
    let mut share = vec![blocks / world; world];
    by_load.iter().take(blocks % world).for_each(|&rank| share[rank] += 1);
    for (rank, held) in held.iter_mut().enumerate() {
        orphans.extend(held.split_off(share[rank].min(held.len())));
    }
    orphans.sort_unstable();
    let mut orphans = orphans.into_iter();
    let mut repaired = vec![0; blocks];
    for (rank, mut held) in held.into_iter().enumerate() {
        let missing = share[rank] - held.len();
        held.extend(orphans.by_ref().take(missing));
        held.into_iter().for_each(|block| repaired[block] = rank as u32);
    }
    repaired
}

fn least_loaded(load: &[u64]) -> u32 {
    load.iter().enumerate().min_by_key(|&(rank, bytes)| (*bytes, rank)).map_or(0, |(rank, _)| rank as u32)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn table(rows: u64, row_blocks: u32, placement: Option<Placement>) -> TableDecl {
        TableDecl { name: "item".into(), rows, dim: 16, row_blocks, bias: false, placement }
    }

    proptest! {
        #[test]
        fn every_row_has_one_place_and_blocks_hold_all_rows(rows in 0_u64..500, blocks in 1_u32..17) {
            let t = table(rows, blocks, None);
            prop_assert_eq!((0..blocks).map(|b| t.rows_in_block(b)).sum::<u64>(), rows);
            for row in 0..rows {
                let (block, local) = (t.block_of(row), t.local_row(row));
                prop_assert!(local < t.rows_in_block(block));
                prop_assert_eq!(t.global_row(block, local), row);
            }
        }

        #[test]
        fn micro_batches_and_partitions_are_assigned_exactly_once(m in 1_u32..33, w in 1_u32..20, p in 1_u32..130) {
            let plan = ShardingPlan::simple(&[], m, w).unwrap();
            let all: Vec<u32> = (0..w).flat_map(|r| plan.micro_batches_of(r)).collect();
            prop_assert_eq!(all, (0..m).collect::<Vec<_>>());
            for mb in 0..m {
                prop_assert!(plan.micro_batches_of(plan.rank_of_micro_batch(mb)).contains(&mb));
            }
            let mut parts: Vec<u32> = (0..w).flat_map(|r| plan.partitions_of(r, p)).collect();
            parts.sort_unstable();
            prop_assert_eq!(parts, (0..p).collect::<Vec<_>>());
        }

        #[test]
        fn a_simple_plan_is_legal_and_row_wise_owners_differ_by_at_most_one_block(
            rows in 0_u64..10_000, blocks in 1_u32..40, w in 1_u32..20,
        ) {
            for placement in [Placement::RowWise, Placement::TableWise, Placement::DataParallel] {
                let t = table(rows, blocks, Some(placement));
                let plan = ShardingPlan::simple(std::slice::from_ref(&t), 8, w).unwrap();
                prop_assert_eq!(plan.check(&[t]), Ok(()));
                if placement == Placement::RowWise {
                    let owners = &plan.tables["item"].owners;
                    let load = |r: u32| owners.iter().filter(|o| **o == r).count();
                    let loads: Vec<usize> = (0..w).map(load).collect();
                    prop_assert!(loads.iter().max().unwrap() - loads.iter().min().unwrap() <= 1);
                    prop_assert!(owners.is_sorted());
                }
            }
        }
    }

    proptest! {
        #[test]
        fn a_repaired_plan_is_even_and_moves_no_more_than_it_must(
            blocks in 1_u32..40, before in 1_u32..9, lost in prop::collection::btree_set(0_u32..9, 0..5), more in 0_u32..4,
        ) {
            let t = table(1000, blocks, Some(Placement::RowWise));
            let plan = ShardingPlan::simple(std::slice::from_ref(&t), 8, before).unwrap();
            let kept: BTreeMap<u32, u32> = (0..before).filter(|rank| !lost.contains(rank)).zip(0..).collect();
            let world = kept.len() as u32 + more;
            prop_assume!(world > 0);
            let repaired = plan.repaired(std::slice::from_ref(&t), &kept, world).unwrap();
            prop_assert_eq!(repaired.check(&[t]), Ok(()));
            let (old, new) = (&plan.tables["item"].owners, &repaired.tables["item"].owners);
            let loads: Vec<usize> = (0..world).map(|r| new.iter().filter(|o| **o == r).count()).collect();
            let (least, most) = (loads.iter().min().unwrap(), loads.iter().max().unwrap());
            prop_assert!(most - least <= 1);
            // What a survivor gives up, it has above its share; the share is one more for as many ranks as it divides into.
            let moved = old.iter().zip(new).filter(|(old, new)| kept.get(old) != Some(new)).count();
            let held: Vec<usize> =
                kept.keys().map(|rank| old.iter().filter(|owner| *owner == rank).count()).collect();
            let orphans = blocks as usize - held.iter().sum::<usize>();
            let (share, extra) = (blocks as usize / world as usize, blocks as usize % world as usize);
            let over = held.iter().filter(|held| **held > share).count().min(extra);
            let surplus: usize = held.iter().map(|held| held.saturating_sub(share)).sum();
            prop_assert_eq!(moved, orphans + surplus - over);
        }
    }

    #[test]
    fn a_spare_that_steps_in_takes_exactly_what_was_lost() {
        let t = table(1000, 8, None);
        let plan = ShardingPlan::simple(std::slice::from_ref(&t), 8, 4).unwrap();
        let kept = BTreeMap::from([(0, 0), (2, 2), (3, 3)]);
        assert_eq!(plan.repaired(&[t], &kept, 4).unwrap(), plan);
    }

    #[test]
    fn a_plan_that_names_a_missing_rank_is_refused() {
        let t = table(10, 2, None);
        let mut plan = ShardingPlan::simple(std::slice::from_ref(&t), 8, 2).unwrap();
        plan.tables.get_mut("item").unwrap().owners[1] = 7;
        let refused = plan.check(&[t]).unwrap_err();
        assert_eq!(refused, Error::UnknownRank { table: "item".into(), shard: 1, rank: 7, world_size: 2 });
    }
}
