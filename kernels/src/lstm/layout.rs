//! Where the tokens of a packed micro-batch lie.

use std::ops::Range;

use crate::error::Error;

/// Time-major order of the tokens of sequences sorted by length, longest first.
///
/// Step t holds the first `batch_size(t)` sequences; token t of sequence i lies at `offset(t) + i`, its
/// predecessor at `offset(t - 1) + i`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    batch_sizes: Vec<u32>,
    offsets: Vec<usize>,
}

impl Layout {
    /// Returns the layout of sequences with these lengths, which must not increase; zeros may stand last.
    ///
    /// # Errors
    /// [`Error::Value`] where a length is greater than the one before.
    pub fn from_lengths(lengths: &[u32]) -> Result<Self, Error> {
        check_order("lengths", lengths)?;
        let steps = lengths.first().copied().unwrap_or(0);
        let mut alive = lengths.len();
        let batch_sizes = (0..steps)
            .map(|t| {
                while lengths[alive - 1] <= t {
                    alive -= 1;
                }
                alive as u32
            })
            .collect();
        Self::from_batch_sizes(batch_sizes)
    }

    /// Returns the layout with that many sequences at each time step; they must not increase.
    ///
    /// # Errors
    /// [`Error::Value`] where a batch size is greater than the one before.
    pub fn from_batch_sizes(batch_sizes: Vec<u32>) -> Result<Self, Error> {
        check_order("batch sizes", &batch_sizes)?;
        let mut offsets = Vec::with_capacity(batch_sizes.len() + 1);
        let mut tokens = 0;
        offsets.push(tokens);
        for &size in &batch_sizes {
            tokens += size as usize;
            offsets.push(tokens);
        }
        Ok(Self { batch_sizes, offsets })
    }

    /// Returns the number of time steps: the longest sequence's length.
    pub fn steps(&self) -> usize {
        self.batch_sizes.len()
    }

    /// Returns the number of tokens of all sequences.
    pub fn tokens(&self) -> usize {
        self.offsets[self.steps()]
    }

    /// Returns the number of sequences that have a token.
    pub fn sequences(&self) -> usize {
        self.batch_sizes.first().map_or(0, |&size| size as usize)
    }

    /// Returns the number of sequences alive at step `t`; 0 past the last step.
    pub fn batch_size(&self, t: usize) -> usize {
        self.batch_sizes.get(t).map_or(0, |&size| size as usize)
    }

    /// Returns the number of sequences alive at each step.
    pub fn batch_sizes(&self) -> &[u32] {
        &self.batch_sizes
    }

    /// Returns where the tokens of step `t` start.
    pub fn offset(&self, t: usize) -> usize {
        self.offsets[t]
    }

    /// Returns the elements of step `t` in an array of `width` elements per token.
    pub fn span(&self, t: usize, width: usize) -> Range<usize> {
        self.offsets[t] * width..self.offsets[t + 1] * width
    }
}

/// Tokens that a product over several steps covers at least: enough rows for its speed, few enough that its result
/// is still in the L2 cache when the steps read it.
const GROUP: usize = 96;

impl Layout {
    /// Returns where a group of whole steps from `start` on ends, which a product treats as one.
    pub(super) fn group_end(&self, start: usize) -> usize {
        let enough = self.offsets[start] + GROUP;
        (start + 1..self.steps()).find(|&end| self.offsets[end] >= enough).unwrap_or(self.steps())
    }

    /// Whether steps `start..end`, seen from their end, are such a group.
    pub(super) fn is_group(&self, steps: Range<usize>) -> bool {
        steps.start == 0 || self.offsets[steps.end] - self.offsets[steps.start] >= GROUP
    }
}

fn check_order(what: &'static str, values: &[u32]) -> Result<(), Error> {
    match values.windows(2).find(|pair| pair[0] < pair[1]) {
        None => Ok(()),
        Some(pair) => Err(Error::Value {
            op: "lstm layout",
            what,
            expected: "sorted, greatest first",
            got: format!("{} before {}", pair[0], pair[1]),
        }),
    }
}
