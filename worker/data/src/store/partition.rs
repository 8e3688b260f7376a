//! One log partition in memory: the sequences of its users, and what of them is held out.

use std::ops::Range;

use muster_proto::dataset::{DatasetManifest, SplitKind, SplitSpec, holdout_position};

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
    pub(crate) cut: Cut,
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

/// What of a dataset is held out, ready to be looked up.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Cut {
    pub(crate) kind: SplitKind,
    valid: f64,
    test: f64,
    /// Where validation and test begin, in milliseconds since 1970, of a split by time.
    from: (i64, i64),
    /// Whether item 0 is the unknown one, which is nothing to predict.
    unknown_item: bool,
}

impl Cut {
    pub(crate) fn new(split: &SplitSpec, unknown_item: bool) -> Self {
        let from = split.boundaries().unwrap_or((i64::MAX, i64::MAX));
        Self { kind: split.kind, valid: split.valid, test: split.test, from, unknown_item }
    }

    pub(crate) fn of(manifest: &DatasetManifest) -> Self {
        Self::new(&manifest.split, manifest.unknown_item)
    }
}

impl Default for Cut {
    fn default() -> Self {
        Self::new(&SplitSpec::default(), false)
    }
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
            cut: Cut::default(),
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

    /// The events of a user that training sees: all but the last two, or all where they are fewer than 3; of a split by
    /// time, those before validation begins.
    ///
    /// Of a series: all rows of a training sequence, none of the others.
    ///
    /// # Panics
    /// There is no such user.
    #[must_use]
    pub fn train(&self, local: u32) -> Range<usize> {
        let range = self.range(local);
        match self.cut.kind {
            SplitKind::Holdout if self.role(local) == Split::Train => range,
            SplitKind::Holdout => range.start..range.start,
            SplitKind::Time => range.start..self.first_from(local, self.cut.from.0),
            SplitKind::LeaveOneOut if range.len() < MIN_EVENTS_TO_HOLD_OUT => range,
            SplitKind::LeaveOneOut => range.start..range.end - 2,
        }
    }

    /// The first event of a user at `time` or later, or the end of the user's events.
    fn first_from(&self, local: u32, time: i64) -> usize {
        let range = self.range(local);
        range.start + self.times[range].partition_point(|at| *at < time)
    }

    /// The held-out event of a user with 3 or more events: the last but one for validation, the last for test. Of a
    /// split by time: the first event of that part, where any event is before it. The unknown item is never held out.
    ///
    /// # Panics
    /// There is no such user.
    #[must_use]
    pub fn held_out(&self, local: u32, split: Split) -> Option<HeldOut> {
        let range = self.range(local);
        let target = match (self.cut.kind, split) {
            (_, Split::Train) | (SplitKind::Holdout, _) => return None,
            (SplitKind::LeaveOneOut, _) if range.len() < MIN_EVENTS_TO_HOLD_OUT => return None,
            (SplitKind::LeaveOneOut, Split::Valid) => range.end - 2,
            (SplitKind::LeaveOneOut, Split::Test) => range.end - 1,
            (SplitKind::Time, Split::Valid) => {
                let (valid, test) = self.cut.from;
                let first = self.first_from(local, valid);
                (first < self.first_from(local, test)).then_some(first)?
            }
            (SplitKind::Time, Split::Test) => self.first_from(local, self.cut.from.1),
        };
        let is_there = (range.start + 1..range.end).contains(&target);
        let is_unknown = is_there && self.cut.unknown_item && self.items[target] == 0;
        (is_there && !is_unknown).then_some(HeldOut { history: range.start..target, target })
    }

    /// Which part of the split a whole sequence belongs to; for events, where single events are held out,
    /// always training.
    ///
    /// # Panics
    /// There is no such user.
    #[must_use]
    pub fn role(&self, local: u32) -> Split {
        if self.cut.kind != SplitKind::Holdout {
            return Split::Train;
        }
        let position = holdout_position(self.user_key(local));
        if position < self.cut.test {
            Split::Test
        } else if position < self.cut.test + self.cut.valid {
            Split::Valid
        } else {
            Split::Train
        }
    }
}
