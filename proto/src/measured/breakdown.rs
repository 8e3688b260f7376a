//! Where the time of a rank's steps went.

use std::collections::BTreeMap;
use std::ops::AddAssign;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::capacity::Phase;
use crate::control::seconds;

/// A part of a step.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Share {
    /// Wall time.
    #[serde(with = "seconds")]
    pub wall: Duration,
    /// The time of it inside of collectives: what the rank sent and received, and waited for others.
    #[serde(with = "seconds")]
    pub inside: Duration,
}

impl AddAssign for Share {
    fn add_assign(&mut self, other: Self) {
        self.wall += other.wall;
        self.inside += other.inside;
    }
}

/// What one rank's steps took, on average, and the most memory that its process had.
///
/// The shares add up to the step: what is of no phase (choosing and packing the batch, packing weights, counting) is the rest.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Breakdown {
    /// Steps that it is the mean of; the first ones, which warm memory up, are left out where there are others.
    pub steps: u64,
    /// Time of each phase that was measured.
    pub phases: BTreeMap<Phase, Share>,
    /// Time of what is of no phase.
    pub rest: Share,
    /// The part of a step in which the machine's host had given its processors to others (steal time); 0 where the system does
    /// not say.
    #[serde(with = "seconds", default)]
    pub steal: Duration,
    /// The most bytes that were resident in the rank's process so far; 0 where the system does not say.
    pub peak_bytes: u64,
}

impl Breakdown {
    /// Time of a step.
    #[must_use]
    pub fn step(&self) -> Duration {
        self.phases.values().map(|share| share.wall).sum::<Duration>() + self.rest.wall
    }

    /// Time of a step on a machine whose processors were its own.
    #[must_use]
    pub fn without_steal(&self) -> Duration {
        self.step().saturating_sub(self.steal)
    }

    /// Wall time of a phase.
    #[must_use]
    pub fn wall(&self, phase: Phase) -> Duration {
        self.phases.get(&phase).map_or(Duration::ZERO, |share| share.wall)
    }
}
