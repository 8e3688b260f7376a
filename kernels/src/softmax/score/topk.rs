//! The k best rows of each query.

use super::tile::for_each_tile;
use super::{Queries, ScoreBuffers, Scored};
use crate::error::{Error, check_shape};
use crate::scratch::Scratch;
use crate::softmax::TableShard;

/// Scores that are compared with the worst kept one at a time.
const GROUP: usize = 16;

/// The best rows of each query so far, over any number of shards.
#[derive(Debug, Default)]
pub struct TopK {
    k: usize,
    entries: Vec<Scored>,
    lens: Vec<usize>,
}

impl TopK {
    /// Returns empty lists that keep `k` rows per query.
    pub fn new(k: usize) -> Self {
        Self { k, ..Self::default() }
    }

    /// Empties the lists and makes room for `n` queries.
    pub fn reset(&mut self, n: usize) {
        self.lens.clear();
        self.lens.resize(n, 0);
        self.entries.resize(n * self.k, Scored { score: f32::NAN, id: 0 });
    }

    /// Returns the number of queries.
    pub fn len(&self) -> usize {
        self.lens.len()
    }

    /// Returns whether there is no query.
    pub fn is_empty(&self) -> bool {
        self.lens.is_empty()
    }

    /// Returns the rows of query `i`, best first; fewer than k where fewer count.
    pub fn query(&self, i: usize) -> &[Scored] {
        &self.entries[i * self.k..][..self.lens[i]]
    }

    /// Adds the rows of another shard's lists; the order of merges does not matter.
    ///
    /// # Errors
    /// [`Error::Shape`] where the numbers of queries differ.
    pub fn merge(&mut self, other: &Self) -> Result<(), Error> {
        check_shape("topk", "number of queries", self.len(), other.len())?;
        for i in 0..self.len() {
            other.query(i).iter().for_each(|&entry| self.offer(i, entry));
        }
        Ok(())
    }

    /// Takes in one row if it is among the k best of query `i`.
    fn offer(&mut self, i: usize, entry: Scored) {
        let (list, len) = (&mut self.entries[i * self.k..(i + 1) * self.k], &mut self.lens[i]);
        if *len == self.k {
            match list.last() {
                Some(worst) if entry.beats(worst) => *len -= 1,
                _ => return,
            }
        }
        let at = list[..*len].partition_point(|kept| kept.beats(&entry));
        list.copy_within(at..*len, at + 1);
        list[at] = entry;
        *len += 1;
    }

    /// Returns the score that a row must reach to be taken in.
    fn threshold(&self, i: usize) -> f32 {
        if self.lens[i] < self.k {
            return f32::NEG_INFINITY;
        }
        self.query(i).last().map_or(f32::INFINITY, |worst| worst.score)
    }
}

/// Adds the rows of one shard to the lists of the queries `[topk.len(), dim]`.
///
/// # Errors
/// [`Error::Shape`] where lengths do not fit, [`Error::Value`] where global ids do not fit u32.
pub fn score_topk(
    table: TableShard<'_>,
    queries: Queries<'_>,
    topk: &mut TopK,
    buffers: &mut ScoreBuffers,
    scratch: &mut Scratch,
) -> Result<(), Error> {
    queries.check("score_topk", table, topk.len())?;
    if topk.k == 0 {
        return Ok(());
    }
    let n = topk.len();
    for_each_tile(table, queries, n, buffers, scratch, |i, rows, scores| {
        let mut threshold = topk.threshold(i);
        for (group, scores) in scores.chunks(GROUP).enumerate() {
            if !scores.iter().fold(false, |any, &score| any | (score >= threshold)) {
                continue;
            }
            for (j, &score) in scores.iter().enumerate() {
                if score >= threshold {
                    let id = queries.ids.global(rows.start + group * GROUP + j);
                    topk.offer(i, Scored { score, id });
                    threshold = topk.threshold(i);
                }
            }
        }
    })
}
