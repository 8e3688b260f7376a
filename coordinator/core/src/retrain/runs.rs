//! What is known of a schedule's runs.

use std::collections::VecDeque;
use std::fmt;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// The longest that a failed run waits to be tried again.
const LONGEST_BACKOFF: Duration = Duration::from_secs(24 * 3600);

/// The id of a run: the same for the same schedule, logical time and attempt.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RunId(String);

impl RunId {
    /// From what makes it.
    #[must_use]
    pub fn new(schedule: &str, logical: Timestamp, attempt: u32) -> Self {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&(schedule.len() as u64).to_le_bytes()).update(schedule.as_bytes());
        hasher.update(&logical.as_second().to_le_bytes()).update(&attempt.to_le_bytes());
        Self(hasher.finalize().to_hex()[..16].to_owned())
    }
}

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A run that was started, or waits to be tried again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    /// Its id.
    pub run: RunId,
    /// What it is for.
    pub logical: Timestamp,
    /// The first is 1.
    pub attempt: u32,
    /// When it starts, or started.
    pub at: Timestamp,
    /// Whether its model is being put into service, which no limit of time cuts short.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_promoting: bool,
}

impl Attempt {
    pub(super) fn new(schedule: &str, (logical, attempt): (Timestamp, u32), at: Timestamp) -> Self {
        Self { run: RunId::new(schedule, logical, attempt), logical, attempt, at, is_promoting: false }
    }

    /// When a limit of time is over for it; never, where none holds or it ends beyond the end of time.
    pub(super) fn overdue_at(&self, limit: Option<Duration>) -> Option<Timestamp> {
        self.at.checked_add(limit?).ok().filter(|_| !self.is_promoting)
    }
}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Well.
    Succeeded,
    /// Not well; it may be tried again.
    Failed,
    /// It was told to: nothing is tried again.
    Cancelled,
}

/// A schedule's runs, and how far its fires were seen to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Runs {
    /// Fires until then were seen to.
    pub considered: Timestamp,
    /// Whether nothing fires.
    pub paused: bool,
    /// Runs at work.
    pub active: Vec<Attempt>,
    /// Runs that failed and are tried again.
    pub retrying: Vec<Attempt>,
    /// Logical times that wait for a run to end, in order.
    pub queued: VecDeque<Timestamp>,
    /// Runs in a row that failed in the end.
    pub failures: u32,
}

impl Runs {
    /// Of a schedule that is made at `now`.
    #[must_use]
    pub fn new(now: Timestamp) -> Self {
        let (active, retrying, queued) = Default::default();
        Self { considered: now, paused: false, active, retrying, queued, failures: 0 }
    }

    /// Whether a run is at work or will be again.
    #[must_use]
    pub fn is_busy(&self) -> bool {
        !self.active.is_empty() || !self.retrying.is_empty()
    }
}

/// How long after its failure an attempt is followed by the next.
pub(super) fn backoff(first: Duration, attempt: u32) -> Duration {
    let factor = 1_u32.checked_shl(attempt.saturating_sub(1)).unwrap_or(u32::MAX);
    first.checked_mul(factor).unwrap_or(LONGEST_BACKOFF).min(LONGEST_BACKOFF)
}
