//! Scoring for evaluation and recommendation: the best rows of a shard, and how many beat a given one.
//!
//! Scores are those of the full softmax's logits, bit for bit, and exist for one tile of rows at a time. The order
//! of rows is total: score descending, then global id ascending, so shards may be merged in any order. A score
//! that is NaN never ranks and never beats.

mod rank;
mod tile;
mod topk;

pub use rank::{RankCount, RankTargets, rank_above};
pub use tile::{ScoreBuffers, score_targets};
pub use topk::{TopK, score_topk};

use super::TableShard;
use crate::error::{Error, check_shape};

/// Query vectors and the rows that do not count for each.
#[derive(Debug, Clone, Copy)]
pub struct Queries<'a> {
    /// Hidden states `[n, dim]`.
    pub hidden: &'a [f32],
    /// Rows that do not count.
    pub exclude: Exclude<'a>,
    /// How local rows map to global ids.
    pub ids: GlobalIds,
}

/// Local rows of the shard that do not count, per query.
#[derive(Debug, Clone, Copy, Default)]
pub struct Exclude<'a> {
    /// Query `i` excludes `rows[offsets[i]..offsets[i + 1]]`; `n + 1` offsets, or none where nothing is excluded.
    pub offsets: &'a [usize],
    /// Local rows, ascending per query.
    pub rows: &'a [u32],
}

/// The map from a shard's local rows to global ids: `local * stride + base`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GlobalIds {
    /// The id of local row 0.
    pub base: u32,
    /// The distance between two rows; at least 1.
    pub stride: u32,
}

/// A row's global id with its score.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Scored {
    /// The logit.
    pub score: f32,
    /// The global row id.
    pub id: u32,
}

impl Scored {
    /// Returns whether this row comes before `other`: by a higher score, or the same and a lower id.
    #[inline(always)]
    pub fn beats(&self, other: &Self) -> bool {
        self.score > other.score || (self.score == other.score && self.id < other.id)
    }
}

impl GlobalIds {
    /// Returns the global id of a local row.
    #[inline(always)]
    pub fn global(&self, local: usize) -> u32 {
        local as u32 * self.stride + self.base
    }

    /// Returns the local row of a global id, where this shard has it.
    pub fn local(&self, global: u32) -> Option<usize> {
        let distance = global.checked_sub(self.base)?;
        distance.is_multiple_of(self.stride).then_some((distance / self.stride) as usize)
    }
}

impl<'a> Exclude<'a> {
    /// Returns the excluded rows of query `i` that lie in `start..end`.
    fn within(&self, i: usize, start: usize, end: usize) -> &'a [u32] {
        let Some(&[from, to]) = self.offsets.get(i..i + 2) else { return &[] };
        let rows = &self.rows[from..to];
        let first = rows.partition_point(|&row| (row as usize) < start);
        let past = first + rows[first..].partition_point(|&row| (row as usize) < end);
        &rows[first..past]
    }
}

impl Queries<'_> {
    fn check(&self, op: &'static str, table: TableShard<'_>, n: usize) -> Result<(), Error> {
        table.check(op)?;
        check_shape(op, "length of the queries", n * table.dim, self.hidden.len())?;
        if !self.exclude.offsets.is_empty() {
            check_shape(op, "number of exclude offsets", n + 1, self.exclude.offsets.len())?;
            let last = self.exclude.offsets[n];
            check_shape(op, "last exclude offset", self.exclude.rows.len(), last)?;
        }
        let last_id =
            (table.n_rows() as u64).saturating_sub(1) * u64::from(self.ids.stride) + u64::from(self.ids.base);
        let refuse = |what, expected, got: u64| Error::Value { op, what, expected, got: got.to_string() };
        if self.ids.stride == 0 {
            return Err(refuse("stride of the global ids", "1 or more", 0));
        }
        if last_id > u64::from(u32::MAX) {
            return Err(refuse("largest global id", "at most 4294967295", last_id));
        }
        if !self.exclude.offsets.is_sorted() {
            return Err(refuse("exclude offsets", "ascending", 0));
        }
        Ok(())
    }
}
