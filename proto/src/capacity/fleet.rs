//! Retrainings that come back on a schedule and share a pool.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::config::Problems;
use crate::units;

/// The most retrainings that start within the slowest period of a fleet: a simulation has each at least once, and holds all.
pub const MOST_STARTS: f64 = 2_000_000.0;

crate::documented! {
    /// A retraining that starts again and again.
    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    #[serde(deny_unknown_fields)]
    pub struct RetrainingSpec {
        /// Its name.
        pub name: String,
        /// How many of them there are, their starts spread evenly over a period.
        #[serde(default = "one")]
        pub count: u32,
        /// Time from one start to the next.
        #[serde(with = "units::duration")]
        pub period: Duration,
        /// Samples of one retraining of the spec's model.
        pub samples: u64,
        /// Nodes that one retraining occupies.
        pub nodes: u32,
        /// When it has to be done, from its start.
        #[serde(with = "units::duration")]
        pub deadline: Duration,
        /// Coefficient of variation of its duration.
        #[serde(default = "default_spread")]
        pub spread: f64,
    }
}

fn one() -> u32 {
    1
}

fn default_spread() -> f64 {
    0.1
}

impl RetrainingSpec {
    pub(super) fn validate(&self, p: &mut Problems) {
        p.check(self.count > 0 && self.count <= 10_000, "count", || "must be between 1 and 10000");
        p.check(!self.period.is_zero(), "period", || "is 0, give for instance \"24h\"");
        p.check(self.samples > 0, "samples", || "is 0, a retraining needs at least 1 sample");
        p.check((1..=1024).contains(&self.nodes), "nodes", || {
            format!("{} nodes, give between 1 and 1024", self.nodes)
        });
        p.check(!self.deadline.is_zero(), "deadline", || "is 0, give for instance \"6h\"");
        p.check((0.0..=2.0).contains(&self.spread), "spread", || "must be between 0 and 2");
    }
}

/// Schedules whose starts are too many to simulate one period of the slowest.
pub(super) fn validate_together(fleet: &[RetrainingSpec], p: &mut Problems) {
    let slowest = fleet.iter().map(|r| r.period.as_secs_f64()).fold(0.0, f64::max);
    let starts = |r: &RetrainingSpec| f64::from(r.count) * slowest / r.period.as_secs_f64();
    let all: f64 = fleet.iter().filter(|r| !r.period.is_zero()).map(starts).sum();
    p.check(all <= MOST_STARTS, "fleet", || {
        format!(
            "starts {all:.0} retrainings within its slowest period, more than the {MOST_STARTS:.0} that can be simulated; ask about \
             the slow ones and the quick ones apart"
        )
    });
}
