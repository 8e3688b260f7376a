//! Which data a run is about: a span before the time that it is for.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::capacity::DurationText;
use crate::config::Problems;
use crate::units;

const DAY: Duration = Duration::from_secs(86_400);

crate::documented! {
    /// Which data a run is about. It follows from the time that the run is for, not from when it runs, and its end is not
    /// included. A column that is gone fails the run, a value that cannot be read counts as rejected; a type of event, a category
    /// or an item that no file had before is a value like any other.
    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    #[serde(deny_unknown_fields, default)]
    pub struct DataWindowSpec {
        /// `"rolling"`: the last `length`. `"expanding"`: all there is. `"since_promotion"`: from where the champion's
        /// window ends, and no more than `length`; `length` where there is no champion.
        pub kind: WindowKind,
        /// How long it is; not for `"expanding"`.
        #[serde(with = "units::duration")]
        pub length: Duration,
        /// It ends so long before the time that the run is for.
        #[serde(with = "units::duration")]
        pub offset: Duration,
        /// A run begins so long after the time that it is for, so that late files are in it.
        #[serde(with = "units::duration")]
        pub wait: Duration,
        /// The span before `test` that validates the model while it trains, and says which checkpoint is the best.
        #[serde(with = "units::duration")]
        pub valid: Duration,
        /// The span at its end that is held out, on which candidates are judged; without an event in it a run fails before it
        /// trains.
        #[serde(with = "units::duration")]
        pub test: Duration,
        /// With fewer rows a run fails.
        pub min_rows: u64,
        /// With a larger share of rejected rows in the new files a run fails: their form may have changed. They count as new
        /// until a run has taken them, be it with a larger limit.
        pub max_rejected: f64,
        /// A run fails whose latest event is so long before the end of its window: files are missing. Absent: no limit.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub max_staleness: Option<DurationText>,
    }
}

impl Default for DataWindowSpec {
    fn default() -> Self {
        let (offset, wait, max_staleness) = Default::default();
        Self {
            kind: WindowKind::Rolling,
            length: 30 * DAY,
            offset,
            wait,
            valid: DAY,
            test: DAY,
            min_rows: 1,
            max_rejected: 0.1,
            max_staleness,
        }
    }
}

/// Where a window begins.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WindowKind {
    /// At a fixed time before its end.
    #[default]
    Rolling,
    /// At the first event.
    Expanding,
    /// Where the champion's window ends.
    SincePromotion,
}

impl DataWindowSpec {
    pub(super) fn validate(&self, p: &mut Problems) {
        p.check(!self.test.is_zero(), "test", || "is 0, candidates could not be judged");
        let held_out = self.valid.saturating_add(self.test);
        let is_long = self.kind == WindowKind::Expanding || held_out < self.length;
        p.check(
            is_long,
            "length",
            || "is not longer than `valid` and `test` together, nothing is left to train on",
        );
        p.check(self.min_rows > 0, "min_rows", || "is 0, a run takes at least 1 row");
        p.check((0.0..=1.0).contains(&self.max_rejected), "max_rejected", || "is a share, 0 to 1");
        p.check(
            self.max_staleness.is_none_or(|limit| !limit.0.is_zero()),
            "max_staleness",
            || "is 0, leave it out for no limit",
        );
    }
}
