//! What a change of a job's workers costs, stage by stage, while it is under way.

use std::time::Duration;

use muster_proto::control::{Incident, RestoredFrom};

use crate::time::Time;

/// Incidents of a job that are kept; the oldest go.
pub(crate) const MAX_INCIDENTS: usize = 64;

/// A change of workers that is not over. Losses that follow on each other before a new step is made are one.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct OpenIncident {
    so_far: Incident,
    /// When the stage at hand began.
    since: Time,
}

impl OpenIncident {
    /// Follows a change from `now` on; `noticed` says what it is, with no time spent but in being noticed.
    pub(crate) fn new(noticed: Incident, now: Time) -> Self {
        Self { so_far: noticed, since: now }
    }

    /// The ranks have stopped.
    pub(crate) fn stopped(&mut self, now: Time) {
        let stage = self.stage(now);
        self.so_far.abort += stage;
    }

    /// A new generation was opened.
    pub(crate) fn begun(&mut self, now: Time, after: u32) {
        let stage = self.stage(now);
        self.so_far.decide += stage;
        self.so_far.after = after;
    }

    /// All ranks of it are ready; the slowest took `connect` to reach the others.
    pub(crate) fn ready(&mut self, now: Time, connect: Duration, from: Option<RestoredFrom>) {
        let all = self.stage(now);
        self.so_far.rendezvous += connect.min(all);
        self.so_far.reload += all.saturating_sub(connect);
        self.so_far.restored_from = from.unwrap_or(RestoredFrom::Start);
    }

    /// It is over.
    pub(crate) fn close(self, steps_redone: u64, recompute: Duration) -> Incident {
        Incident { steps_redone, recompute, ..self.so_far }
    }

    fn stage(&mut self, now: Time) -> Duration {
        let stage = now.0.saturating_sub(self.since.0);
        self.since = now;
        stage
    }
}
