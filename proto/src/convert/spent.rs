//! Conversions of what a job's time was spent on.

use super::{Error, duration, duration_from, missing};
use crate::control::{Cause, Spent, Straggler};
use crate::ids::{Rank, WorkerId};
use crate::wire;

impl From<Cause> for wire::Cause {
    fn from(cause: Cause) -> Self {
        match cause {
            Cause::Queue => Self::Queue,
            Cause::Start => Self::Start,
            Cause::Training => Self::Training,
            Cause::Detect => Self::Detect,
            Cause::Abort => Self::Abort,
            Cause::Decide => Self::Decide,
            Cause::Rendezvous => Self::Rendezvous,
            Cause::Reload => Self::Reload,
            Cause::Recompute => Self::Recompute,
            Cause::Drain => Self::Drain,
        }
    }
}

/// All causes that took any time.
pub(super) fn spent(spent: &Spent) -> Vec<wire::CauseTime> {
    let timed = Cause::ALL.into_iter().filter(|cause| !spent.on(*cause).is_zero());
    let time = |cause| wire::CauseTime {
        cause: wire::Cause::from(cause).into(),
        time: Some(duration(spent.on(cause))),
    };
    timed.map(time).collect()
}

pub(super) fn spent_from(times: Vec<wire::CauseTime>) -> Result<Spent, Error> {
    const MESSAGE: &str = "CauseTime";
    let mut spent = Spent::default();
    for time in times {
        let value = time.cause;
        let known = Cause::ALL.into_iter().find(|cause| i32::from(wire::Cause::from(*cause)) == value);
        let cause = match (known, value) {
            (Some(cause), _) => cause,
            (None, 0) => return Err(missing(MESSAGE, "cause")),
            (None, value) => return Err(Error::UnknownValue { message: MESSAGE, field: "cause", value }),
        };
        spent.add(cause, duration_from(time.time, MESSAGE, "time")?);
    }
    Ok(spent)
}

impl From<Straggler> for wire::Straggler {
    fn from(straggler: Straggler) -> Self {
        let Straggler { rank, worker, own_seconds, median_seconds } = straggler;
        Self { rank: rank.0, worker: worker.0, own_seconds, median_seconds }
    }
}

impl From<wire::Straggler> for Straggler {
    fn from(straggler: wire::Straggler) -> Self {
        let wire::Straggler { rank, worker, own_seconds, median_seconds } = straggler;
        Self { rank: Rank(rank), worker: WorkerId(worker), own_seconds, median_seconds }
    }
}
