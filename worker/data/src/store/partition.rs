//! One log partition in memory: the sequences of its users, and what of them is held out.

use std::ops::Range;

use muster_proto::dataset::{SplitKind, SplitSpec, holdout_position};

use super::keys::Keys;

/// The sequences of the users of one log partition. Users are sorted by key, a user's events by time.
#[derive(Debug, Clone, PartialEq)]
pub struct Partition {
    /// Index of the partition.
    pub id: u32,
    /// Global index of its first user.
    pub first_user: u32,
    /// Where each user's events start, `[users + 1]`.
    pub offsets: Vec<u32>,
    /// Item ids, `[events]`; empty for a series.
    pub items: Vec<u32>,
    /// Milliseconds since 1970, `[events]`; positions in the log where it has no times; empty for a series.
    pub times: Vec<i64>,
    /// Ids of each categorical column, `[columns][events]`, 0 for unknown.
    pub categorical: Vec<Vec<u32>>,
    /// Values of each numeric column, `[columns][events]`; empty for a series.
    pub numeric: Vec<Vec<f32>>,
    /// The numbers of a series.
    pub series: Option<Series>,
    pub(crate) keys: Keys,
    pub(crate) split: SplitSpec,
}

/// The numbers of the series of a partition.
#[derive(Debug, Clone, PartialEq)]
pub struct Series {
    /// Numbers in a row.
    pub width: u32,
    /// Inputs, `[rows, width]`, row after row.
    pub features: Vec<f32>,
    /// Targets, `[rows]`; a sequence is for its last one.
    pub targets: Vec<f32>,
}

/// A part of the split.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Split {
    /// What training sees.
    Train,
    /// What settings are chosen on.
    Valid,
    /// What results are reported on.
    Test,
}

/// An event to predict and the events before it, as positions in the partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeldOut {
    /// The events before.
    pub history: Range<usize>,
    /// The event to predict.
    pub target: usize,
}

/// Sequences shorter than this have nothing held out: something must be left to train on.
pub(crate) const MIN_EVENTS_TO_HOLD_OUT: usize = 3;

impl Partition {
    /// A partition with these users and nothing else yet.
    pub(crate) fn with_keys(keys: Keys) -> Self {
        Self {
            id: 0,
            first_user: 0,
            offsets: vec![],
            items: vec![],
            times: vec![],
            categorical: vec![],
            numeric: vec![],
            series: None,
            keys,
            split: SplitSpec::default(),
        }
    }

    /// Number of users.
    #[must_use]
    pub fn users(&self) -> u32 {
        self.keys.len() as u32
    }

    /// Bytes of memory that its contents take.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let columns = self.categorical.len() + self.numeric.len();
        let series =
            self.series.as_ref().map_or(0, |series| 4 * (series.features.len() + series.targets.len()));
        let keys: usize = (0..self.keys.len()).map(|idx| self.keys.get(idx).len() + size_of::<usize>()).sum();
        4 * self.offsets.len() + (4 + 8 + 4 * columns) * self.items.len() + series + keys
    }

    /// The key of a user, by position in the partition.
    ///
    /// # Panics
    /// There is no such user.
    #[must_use]
    pub fn user_key(&self, local: u32) -> &str {
        self.keys.get(local as usize)
    }

    /// The position of the user with `key`.
    #[must_use]
    pub fn find_user(&self, key: &str) -> Option<u32> {
        self.keys.find_sorted(key)
    }

    /// All events of a user (of a series: its rows).
    ///
    /// # Panics
    /// There is no such user.
    #[must_use]
    pub fn range(&self, local: u32) -> Range<usize> {
        let local = local as usize;
        self.offsets[local] as usize..self.offsets[local + 1] as usize
    }

    /// The events of a user that training sees: all but the last two, or all where they are fewer than 3.
    ///
    /// Of a series: all rows of a training sequence, none of the others.
    ///
    /// # Panics
    /// There is no such user.
    #[must_use]
    pub fn train(&self, local: u32) -> Range<usize> {
        let range = self.range(local);
        if self.series.is_some() {
            return if self.role(local) == Split::Train { range } else { range.start..range.start };
        }
        if range.len() < MIN_EVENTS_TO_HOLD_OUT { range } else { range.start..range.end - 2 }
    }

    /// The held-out event of a user with 3 or more events: the last but one for validation, the last for test.
    ///
    /// # Panics
    /// There is no such user.
    #[must_use]
    pub fn held_out(&self, local: u32, split: Split) -> Option<HeldOut> {
        let range = self.range(local);
        let target = match split {
            Split::Train => return None,
            Split::Valid => range.end.checked_sub(2)?,
            Split::Test => range.end.checked_sub(1)?,
        };
        (self.series.is_none() && range.len() >= MIN_EVENTS_TO_HOLD_OUT)
            .then_some(HeldOut { history: range.start..target, target })
    }

    /// Which part of the split a whole sequence belongs to; for events, where single events are held out,
    /// always training.
    ///
    /// # Panics
    /// There is no such user.
    #[must_use]
    pub fn role(&self, local: u32) -> Split {
        if self.split.kind == SplitKind::LeaveOneOut {
            return Split::Train;
        }
        let position = holdout_position(self.user_key(local));
        if position < self.split.test {
            Split::Test
        } else if position < self.split.test + self.split.valid {
            Split::Valid
        } else {
            Split::Train
        }
    }
}
