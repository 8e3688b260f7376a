//! What a job's time was spent on.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::ids::{Rank, WorkerId};

/// What some of a job's time was spent on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// It waited for its first workers.
    Queue,
    /// Its first ranks connected and loaded.
    Start,
    /// Steps that count, and what belongs to them: validation, checkpoints, copies.
    Training,
    /// A worker was lost and nobody had noticed.
    Detect,
    /// Ranks stopped for another generation.
    Abort,
    /// It waited for workers to go on with.
    Decide,
    /// Ranks of a later generation connected.
    Rendezvous,
    /// They loaded.
    Reload,
    /// They made steps that had been made before.
    Recompute,
    /// Ranks stopped for good.
    Drain,
}

impl Cause {
    /// All, in the order in which a job meets them.
    pub const ALL: [Self; 10] = [
        Self::Queue,
        Self::Start,
        Self::Training,
        Self::Detect,
        Self::Abort,
        Self::Decide,
        Self::Rendezvous,
        Self::Reload,
        Self::Recompute,
        Self::Drain,
    ];

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Queue => "queue",
            Self::Start => "start",
            Self::Training => "training",
            Self::Detect => "detect",
            Self::Abort => "abort",
            Self::Decide => "decide",
            Self::Rendezvous => "rendezvous",
            Self::Reload => "reload",
            Self::Recompute => "recompute",
            Self::Drain => "drain",
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A job's time since it was submitted, by what it was spent on.
///
/// The time in which no coordinator was there is missing from it, though ranks may have trained.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(from = "BTreeMap<Cause, f64>", into = "BTreeMap<Cause, f64>")]
pub struct Spent(BTreeMap<Cause, Duration>);

impl Spent {
    /// Adds time.
    pub fn add(&mut self, cause: Cause, time: Duration) {
        *self.0.entry(cause).or_default() += time;
    }

    /// Counts time as spent on `to` that was counted as spent on `from`, as far as there is so much.
    pub fn recount(&mut self, from: Cause, to: Cause, time: Duration) {
        let counted = self.0.entry(from).or_default();
        let time = time.min(*counted);
        *counted -= time;
        self.add(to, time);
    }

    /// Time spent on `cause`.
    #[must_use]
    pub fn on(&self, cause: Cause) -> Duration {
        self.0.get(&cause).copied().unwrap_or_default()
    }

    /// All time.
    #[must_use]
    pub fn total(&self) -> Duration {
        self.0.values().sum()
    }

    /// The part of the time with workers or in want of them again that went into steps that count: what is not queue.
    /// `None` before the first workers came.
    #[must_use]
    pub fn goodput(&self) -> Option<f64> {
        let held = self.total().saturating_sub(self.on(Cause::Queue));
        (!held.is_zero()).then(|| self.on(Cause::Training).as_secs_f64() / held.as_secs_f64())
    }
}

impl From<BTreeMap<Cause, f64>> for Spent {
    fn from(seconds: BTreeMap<Cause, f64>) -> Self {
        let time = |seconds| Duration::try_from_secs_f64(seconds).unwrap_or_default();
        Self(seconds.into_iter().map(|(cause, seconds)| (cause, time(seconds))).collect())
    }
}

impl From<Spent> for BTreeMap<Cause, f64> {
    fn from(spent: Spent) -> Self {
        spent.0.into_iter().map(|(cause, time)| (cause, time.as_secs_f64())).collect()
    }
}

/// A rank for which the others wait in each step.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Straggler {
    /// The rank.
    pub rank: Rank,
    /// The worker that holds it.
    pub worker: WorkerId,
    /// Seconds of a step that it computes, outside of collectives.
    pub own_seconds: f64,
    /// The same of the median rank.
    pub median_seconds: f64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_counted_anew_is_neither_lost_nor_made() {
        let mut spent = Spent::default();
        assert_eq!(spent.goodput(), None);
        spent.add(Cause::Queue, Duration::from_secs(5));
        spent.add(Cause::Training, Duration::from_secs(10));
        spent.recount(Cause::Training, Cause::Detect, Duration::from_secs(2));
        spent.recount(Cause::Training, Cause::Recompute, Duration::from_secs(100));
        assert_eq!(spent.total(), Duration::from_secs(15));
        assert_eq!(
            (spent.on(Cause::Training), spent.on(Cause::Recompute)),
            (Duration::ZERO, Duration::from_secs(8))
        );
        spent.add(Cause::Training, Duration::from_secs(30));
        assert_eq!(spent.goodput(), Some(0.75));
    }

    #[test]
    fn every_cause_has_the_name_that_it_is_written_by() {
        for cause in Cause::ALL {
            assert_eq!(serde_json::to_value(cause).ok(), Some(cause.name().into()));
        }
    }
}
