//! Conversions of where the time of a rank's steps went.

use super::{Error, duration, duration_from};
use crate::capacity::Phase;
use crate::measured::{Breakdown, Share};
use crate::wire;

fn time(phase: usize, share: Share) -> wire::PhaseTime {
    let (wall, inside) = (Some(duration(share.wall)), Some(duration(share.inside)));
    wire::PhaseTime { phase: phase as u32, wall, inside }
}

fn share(time: wire::PhaseTime) -> Result<Share, Error> {
    const MESSAGE: &str = "PhaseTime";
    let wall = duration_from(time.wall, MESSAGE, "wall")?;
    Ok(Share { wall, inside: duration_from(time.inside, MESSAGE, "inside")? })
}

fn steal(time: prost_types::Duration) -> Result<std::time::Duration, Error> {
    duration_from(Some(time), "StepBreakdown", "steal")
}

impl From<&Breakdown> for wire::StepBreakdown {
    fn from(breakdown: &Breakdown) -> Self {
        let phases = breakdown.phases.iter().map(|(phase, share)| time(*phase as usize, *share));
        Self {
            steps: breakdown.steps,
            phases: phases.collect(),
            rest: Some(time(0, breakdown.rest)),
            steal: Some(duration(breakdown.steal)),
            peak_bytes: breakdown.peak_bytes,
        }
    }
}

impl TryFrom<wire::StepBreakdown> for Breakdown {
    type Error = Error;

    fn try_from(breakdown: wire::StepBreakdown) -> Result<Self, Error> {
        let mut phases = std::collections::BTreeMap::new();
        for time in breakdown.phases {
            let phase = Phase::ALL.get(time.phase as usize).ok_or(Error::OutOfRange {
                message: "PhaseTime",
                field: "phase",
                expected: "the place of a phase of a step",
            })?;
            phases.insert(*phase, share(time)?);
        }
        Ok(Self {
            steps: breakdown.steps,
            phases,
            rest: breakdown.rest.map(share).transpose()?.unwrap_or_default(),
            // A worker of an older release tells none.
            steal: breakdown.steal.map(steal).transpose()?.unwrap_or_default(),
            peak_bytes: breakdown.peak_bytes,
        })
    }
}
