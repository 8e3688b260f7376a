//! What a change of a job's workers costs, stage by stage, while it is under way.

use std::time::Duration;

use muster_proto::control::{Incident, RestoredFrom};
use muster_proto::ids::Generation;

use crate::time::Time;

/// Incidents of a job that are kept; the oldest go.
pub(crate) const MAX_INCIDENTS: usize = 64;

/// A change of workers that is not over. Losses that follow on each other before a new step is made are one.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct OpenIncident {
    generation: Generation,
    reason: String,
    planned: bool,
    before: u32,
    after: u32,
    detect: Duration,
    abort: Duration,
    decide: Duration,
    rendezvous: Duration,
    reload: Duration,
    restored_from: Option<RestoredFrom>,
    /// When the stage at hand began.
    since: Time,
}

impl OpenIncident {
    /// Notices a change at `now`; `detect` is how long it took to be noticed.
    pub(crate) fn new(
        generation: Generation,
        reason: &str,
        planned: bool,
        before: u32,
        detect: Duration,
        now: Time,
    ) -> Self {
        let [abort, decide, rendezvous, reload] = [Duration::ZERO; 4];
        let (reason, after, restored_from) = (reason.to_owned(), 0, None);
        let since = now;
        Self {
            generation,
            reason,
            planned,
            before,
            after,
            detect,
            abort,
            decide,
            rendezvous,
            reload,
            restored_from,
            since,
        }
    }

    /// The ranks have stopped.
    pub(crate) fn stopped(&mut self, now: Time) {
        let stage = self.stage(now);
        self.abort += stage;
    }

    /// A new generation was opened.
    pub(crate) fn begun(&mut self, now: Time, after: u32) {
        let stage = self.stage(now);
        self.decide += stage;
        self.after = after;
    }

    /// All ranks of it are ready; the slowest took `connect` to reach the others.
    pub(crate) fn ready(&mut self, now: Time, connect: Duration, from: Option<RestoredFrom>) {
        let all = self.stage(now);
        self.rendezvous += connect.min(all);
        self.reload += all.saturating_sub(connect);
        self.restored_from = from;
    }

    /// It is over.
    pub(crate) fn close(self, steps_redone: u64, recompute: Duration) -> Incident {
        let Self { generation, reason, planned, before, after, detect, abort, decide, .. } = self;
        Incident {
            generation,
            reason,
            planned,
            before,
            after,
            detect,
            abort,
            decide,
            rendezvous: self.rendezvous,
            reload: self.reload,
            recompute,
            steps_redone,
            restored_from: self.restored_from.unwrap_or(RestoredFrom::Start),
        }
    }

    fn stage(&mut self, now: Time) -> Duration {
        let stage = now.0.saturating_sub(self.since.0);
        self.since = now;
        stage
    }
}
