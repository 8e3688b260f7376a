//! A schedule as the machine keeps it.

use std::collections::{BTreeMap, VecDeque};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::super::command::Applied;
use super::super::decide::Schedule;
use super::super::run::Outcome;
use super::super::runs::Runs;
use super::super::view::Missed;

/// The latest fires that did not run, as many as are kept.
const KEPT_MISSED: usize = 50;

/// A schedule and what became of its fires.
#[derive(Debug)]
pub(super) struct Scheduled {
    pub(super) applied: Applied,
    pub(super) schedule: Schedule,
    pub(super) state: State,
}

/// What changes of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct State {
    pub(super) runs: Runs,
    /// Times of a backfill that are still to be run.
    pub(super) backfill: VecDeque<Timestamp>,
    /// Runs of it at a time.
    pub(super) max_active: u32,
    /// The latest fires that did not run, newest first.
    pub(super) missed: VecDeque<Missed>,
    /// How many there were.
    pub(super) n_missed: u64,
    /// Runs by how they ended.
    pub(super) outcomes: BTreeMap<Outcome, u64>,
    /// Candidates that were judged, and those that passed.
    pub(super) judged: (u64, u64),
    /// Seconds from begin to promotion of all promoted runs.
    pub(super) to_promotion: f64,
    /// Processor and worker seconds of all ended runs.
    pub(super) cost: (f64, f64),
}

impl State {
    pub(super) fn new(now: Timestamp) -> Self {
        let (backfill, missed, outcomes) = Default::default();
        Self {
            runs: Runs::new(now),
            backfill,
            max_active: 1,
            missed,
            n_missed: 0,
            outcomes,
            judged: (0, 0),
            to_promotion: 0.0,
            cost: (0.0, 0.0),
        }
    }

    pub(super) fn miss(&mut self, logical: Timestamp, at: Timestamp, why: String) {
        self.n_missed += 1;
        self.missed.push_front(Missed { logical, at, why });
        self.missed.truncate(KEPT_MISSED);
    }
}

impl Scheduled {
    /// When it fires or tries a run again, if it is not paused.
    pub(super) fn next_due(&self) -> Option<Timestamp> {
        let retry = self.state.runs.retrying.iter().map(|attempt| attempt.at).min();
        let fire = if self.state.runs.paused { None } else { self.next_fire() };
        let limit = self.applied.spec.max_run_time.map(|limit| limit.0);
        let overlong = self.state.runs.active.iter().filter_map(|attempt| attempt.overdue_at(limit));
        let runs = &self.state.runs;
        let is_free = !runs.paused && !runs.is_busy();
        let queued = runs.queued.front().copied().filter(|_| is_free);
        retry.into_iter().chain(fire).chain(overlong).chain(queued).min()
    }

    /// When it fires next, jitter included.
    pub(super) fn next_fire(&self) -> Option<Timestamp> {
        self.schedule.next_at(&self.state.runs)
    }
}
