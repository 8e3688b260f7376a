//! Which rows of a shard were written since the last copy in memory, and since the last full checkpoint.
//!
//! A mark that was never set costs nothing: all rows count as written, and there is no set to keep.

/// What rows are counted since.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mark {
    /// The last copy in memory.
    Copy,
    /// The last full checkpoint.
    Checkpoint,
}

/// The written rows of one shard, mark by mark.
#[derive(Debug, Clone, Default)]
pub struct Dirty {
    copy: RowSet,
    checkpoint: RowSet,
}

/// A set of rows: one bit a row.
#[derive(Debug, Clone)]
struct RowSet {
    all: bool,
    words: Vec<u64>,
    len: usize,
}

impl Default for RowSet {
    fn default() -> Self {
        Self { all: true, words: Vec::new(), len: 0 }
    }
}

impl RowSet {
    fn insert(&mut self, rows: &[u32]) {
        if self.all {
            return;
        }
        for row in rows {
            let (word, bit) = (&mut self.words[*row as usize / 64], 1 << (row % 64));
            self.len += usize::from(*word & bit == 0);
            *word |= bit;
        }
    }

    fn rows(&self) -> Vec<u32> {
        let mut rows = Vec::with_capacity(self.len);
        for (place, word) in self.words.iter().enumerate() {
            let mut left = *word;
            while left != 0 {
                rows.push(place as u32 * 64 + left.trailing_zeros());
                left &= left - 1;
            }
        }
        rows
    }
}

impl Dirty {
    fn set(&self, mark: Mark) -> &RowSet {
        match mark {
            Mark::Copy => &self.copy,
            Mark::Checkpoint => &self.checkpoint,
        }
    }

    /// Begins to count anew for a shard of `rows` rows.
    pub fn mark(&mut self, mark: Mark, rows: usize) {
        let set = match mark {
            Mark::Copy => &mut self.copy,
            Mark::Checkpoint => &mut self.checkpoint,
        };
        set.words.clear();
        set.words.resize(rows.div_ceil(64), 0);
        (set.all, set.len) = (false, 0);
    }

    /// Notes that some rows, by their places in the shard, are written.
    pub fn touch(&mut self, rows: &[u32]) {
        self.copy.insert(rows);
        self.checkpoint.insert(rows);
    }

    /// Notes that every row is written, or may have been.
    pub fn touch_all(&mut self) {
        (self.copy.all, self.checkpoint.all) = (true, true);
    }

    /// How many rows of a shard of `rows` were written since the mark.
    #[must_use]
    pub fn count(&self, mark: Mark, rows: usize) -> usize {
        let set = self.set(mark);
        if set.all { rows } else { set.len }
    }

    /// The rows written since the mark, ascending, where they are fewer than half of the shard's `rows`; none where the
    /// whole shard is as cheap to take.
    #[must_use]
    pub fn few(&self, mark: Mark, rows: usize) -> Option<Vec<u32>> {
        (self.count(mark, rows) * 2 < rows).then(|| self.set(mark).rows())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_mark_counts_from_its_own_time_and_a_row_once() {
        let mut dirty = Dirty::default();
        assert_eq!((dirty.count(Mark::Copy, 200), dirty.few(Mark::Copy, 200)), (200, None));
        dirty.mark(Mark::Checkpoint, 200);
        dirty.touch(&[0, 64, 199]);
        dirty.mark(Mark::Copy, 200);
        dirty.touch(&[63, 64]);
        assert_eq!(dirty.few(Mark::Copy, 200), Some(vec![63, 64]));
        assert_eq!(dirty.few(Mark::Checkpoint, 200), Some(vec![0, 63, 64, 199]));
    }

    #[test]
    fn from_half_of_the_rows_on_there_are_too_many_to_pick_out() {
        let mut dirty = Dirty::default();
        dirty.mark(Mark::Copy, 6);
        dirty.touch(&[1, 2]);
        assert_eq!(dirty.few(Mark::Copy, 6), Some(vec![1, 2]));
        dirty.touch(&[5]);
        assert_eq!(dirty.few(Mark::Copy, 6), None);
        dirty.mark(Mark::Copy, 6);
        dirty.touch_all();
        assert_eq!((dirty.few(Mark::Copy, 6), dirty.count(Mark::Copy, 6)), (None, 6));
    }
}
