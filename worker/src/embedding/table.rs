//! A declared table (a whole one, or a column block) as one rank sees it: who owns which shard, and the shards that are here.

use std::collections::BTreeMap;

use muster_proto::job::OptimizerKind;
use muster_proto::sharding::{Placement, TableDecl, TablePlan};

use super::shard::Shard;

/// A table as one rank sees it.
#[derive(Debug, Clone)]
pub struct Table {
    /// The declared shape.
    pub decl: TableDecl,
    /// Who owns which shard.
    pub plan: TablePlan,
    /// The shards on this rank, by row block.
    pub shards: BTreeMap<u32, Shard>,
}

impl Table {
    /// Makes the shards of `rank` with their initial values.
    #[must_use]
    pub fn initial(decl: TableDecl, plan: TablePlan, rank: u32, kind: OptimizerKind, init: Init) -> Self {
        let here =
            |block: &u32| plan.placement == Placement::DataParallel || plan.owners[*block as usize] == rank;
        let shards = (0..decl.row_blocks)
            .filter(here)
            .map(|block| (block, Shard::initial(&decl, block, kind, init)))
            .collect();
        Self { decl, plan, shards }
    }

    /// Columns of a row.
    #[must_use]
    pub fn dim(&self) -> usize {
        self.decl.dim as usize
    }

    /// Whether every rank has every row.
    #[must_use]
    pub fn replicated(&self) -> bool {
        self.plan.placement == Placement::DataParallel
    }

    /// Whether `rank` has the row block.
    #[must_use]
    pub fn is_on(&self, rank: u32, block: u32) -> bool {
        self.replicated() || self.plan.owners[block as usize] == rank
    }

    /// The rank that answers for the row.
    #[must_use]
    pub fn owner(&self, row: u32) -> u32 {
        self.plan.owners[self.decl.block_of(u64::from(row)) as usize]
    }

    /// The row blocks that `rank` scores (its own; its share of a replicated table), in order.
    #[must_use]
    pub fn scored_by(&self, rank: u32) -> Vec<u32> {
        (0..self.decl.row_blocks).filter(|b| self.plan.owners[*b as usize] == rank).collect()
    }

    /// Copies the row, which must be on this rank, into `out` and returns its bias (0 without one).
    pub fn read_row(&self, row: u32, out: &mut [f32]) -> f32 {
        let row = u64::from(row);
        let (block, local) = (self.decl.block_of(row), self.decl.local_row(row) as usize);
        let shard = &self.shards[&block];
        let dim = self.dim();
        out.copy_from_slice(&shard.weight[local * dim..(local + 1) * dim]);
        shard.bias.get(local).copied().unwrap_or(0.0)
    }
}

/// How initial values are drawn.
#[derive(Debug, Clone, Copy)]
pub struct Init {
    /// The job's seed.
    pub seed: u64,
    /// Standard deviation.
    pub std: f32,
}
