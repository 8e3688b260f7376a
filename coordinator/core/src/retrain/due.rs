//! Which fires are due.

use std::time::Duration;

use jiff::Timestamp;
use muster_proto::checkpoint::mix;

use super::cron::{Cron, MOST};

/// A fire this late has been missed: nobody looked for so long.
pub(super) const LATE: Duration = Duration::from_secs(60);

/// A fire that is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Fire {
    /// What it is for.
    pub(super) logical: Timestamp,
    /// By how much it is overdue.
    pub(super) by: Duration,
}

/// The fires that are due, ascending, and the span before them that is too long ago to be read, as its end.
#[derive(Debug, Default)]
pub(super) struct Due {
    pub(super) fires: Vec<Fire>,
    pub(super) forgotten_until: Option<Timestamp>,
}

/// All fires after `considered` that are due at `now`, the latest some thousand of them.
pub(super) fn due(
    cron: &Cron,
    (name, jitter): (&str, Duration),
    considered: Timestamp,
    now: Timestamp,
) -> Due {
    let (logical, more) = cron.between(considered, now, MOST);
    let mut due = Due::default();
    if more {
        due.forgotten_until = logical.first().map(|first| *first - Duration::from_secs(1));
    }
    for logical in logical {
        let at = logical + put_off(name, logical, jitter);
        if at > now {
            // Those after it wait too, so that fires are seen to in order.
            break;
        }
        due.fires.push(Fire { logical, by: now.duration_since(at).unsigned_abs() });
    }
    due
}

/// By how much a fire is put off: from nothing to `jitter`, always alike.
pub(super) fn put_off(name: &str, logical: Timestamp, jitter: Duration) -> Duration {
    let seconds = jitter.as_secs();
    if seconds == 0 {
        return Duration::ZERO;
    }
    let of_name = blake3::hash(name.as_bytes());
    let mut first = [0; 8];
    first.copy_from_slice(&of_name.as_bytes()[..8]);
    let drawn = mix(u64::from_le_bytes(first) ^ mix(logical.as_second().cast_unsigned()));
    Duration::from_secs(drawn % (seconds + 1))
}
