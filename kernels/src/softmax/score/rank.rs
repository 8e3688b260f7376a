//! How many rows of a shard beat a given row, without a list of them.

use super::tile::for_each_tile;
use super::{Queries, ScoreBuffers, Scored};
use crate::error::{Error, check_shape};
use crate::scratch::Scratch;
use crate::softmax::TableShard;

/// What was counted for one query; counts of shards add up.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RankCount {
    /// Rows that come before the target: its rank, counted from 0.
    pub above: u32,
    /// Other rows with exactly the target's score, before or after it.
    pub ties: u32,
}

/// The row whose rank is asked, and where the counts go.
#[derive(Debug)]
pub struct RankTargets<'a> {
    /// Each query's row `[n]`, by global id, with its score from [`score_targets`](super::score_targets).
    pub targets: &'a [Scored],
    /// What this shard counts is added here `[n]`.
    pub counts: &'a mut [RankCount],
}

/// Counts the rows of one shard that beat each query's target. The target itself never counts, excluded or not.
///
/// # Errors
/// [`Error::Shape`] where lengths do not fit, [`Error::Value`] where global ids do not fit u32.
pub fn rank_above(
    table: TableShard<'_>,
    queries: Queries<'_>,
    ranks: RankTargets<'_>,
    buffers: &mut ScoreBuffers,
    scratch: &mut Scratch,
) -> Result<(), Error> {
    let RankTargets { targets, counts } = ranks;
    let n = targets.len();
    check_shape("rank_above", "length of the counts", n, counts.len())?;
    queries.check("rank_above", table, n)?;
    for_each_tile(table, queries, n, buffers, scratch, |i, rows, scores| {
        let target = targets[i];
        if let Some(own) = queries.ids.local(target.id).filter(|row| rows.contains(row)) {
            scores[own - rows.start] = f32::NAN;
        }
        let (higher, ties) = scores.iter().fold((0, 0), |(higher, ties), &score| {
            (higher + u32::from(score > target.score), ties + u32::from(score == target.score))
        });
        counts[i].above += higher;
        counts[i].ties += ties;
        if ties > 0 {
            let before = |&(j, &score): &(usize, &f32)| {
                score == target.score && queries.ids.global(rows.start + j) < target.id
            };
            counts[i].above += scores.iter().enumerate().filter(before).count() as u32;
        }
    })
}
