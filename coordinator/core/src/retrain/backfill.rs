//! Windows of the past, trained on purpose.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::cron::{Cron, MOST};
use super::runs::Outcome;

/// Which logical times that have been run are run again.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reprocess {
    /// None.
    #[default]
    None,
    /// Those whose run failed or was cancelled.
    Failed,
    /// All.
    All,
}

/// What is known of a logical time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Known {
    /// Its run is at work.
    Active,
    /// It has ended.
    Ended(Outcome),
}

/// A range of the past.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backfill {
    /// Not before this.
    pub from: Timestamp,
    /// Before this.
    pub to: Timestamp,
    /// What is done again.
    pub reprocess: Reprocess,
    /// Whether the latest come first.
    pub reverse: bool,
}

impl Backfill {
    /// The logical times to run, in order; what a dry run shows. `MOST` of them at most, the latest, and whether there are more.
    #[must_use]
    pub fn plan(&self, cron: &Cron, known: &BTreeMap<Timestamp, Known>) -> (Vec<Timestamp>, bool) {
        let second = std::time::Duration::from_secs(1);
        let (times, more) = cron.between(self.from - second, self.to - second, MOST);
        let is_wanted = |time: &Timestamp| match (known.get(time), self.reprocess) {
            (None, _) => true,
            (Some(Known::Active), _) | (Some(_), Reprocess::None) => false,
            (Some(Known::Ended(outcome)), Reprocess::Failed) => *outcome != Outcome::Succeeded,
            (Some(Known::Ended(_)), Reprocess::All) => true,
        };
        let mut times: Vec<Timestamp> = times.into_iter().filter(is_wanted).collect();
        if self.reverse {
            times.reverse();
        }
        (times, more)
    }
}
