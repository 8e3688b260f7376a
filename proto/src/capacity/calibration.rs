//! Phases of a step, and measured points that correct their forecast.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::workload::DurationText;
use crate::config::Problems;

/// A phase of a step; ranks meet between two of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Ids go to the owners of their rows.
    InputExchange,
    /// Rows are read and pooled.
    Lookup,
    /// Rows go to the samples.
    ForwardExchange,
    /// Layers, forward and backward.
    Dense,
    /// Scores and their gradient.
    Loss,
    /// Rows' gradients go to the owners.
    BackwardExchange,
    /// Gradients are sorted, summed and applied to the tables.
    TableUpdate,
    /// Dense gradients, and those of replicated tables, are summed.
    AllReduce,
}

impl Phase {
    /// All phases, in the order of a step.
    pub const ALL: [Self; 8] = [
        Self::InputExchange,
        Self::Lookup,
        Self::ForwardExchange,
        Self::Dense,
        Self::Loss,
        Self::BackwardExchange,
        Self::TableUpdate,
        Self::AllReduce,
    ];

    /// Its name for people.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::InputExchange => "input exchange",
            Self::Lookup => "lookup",
            Self::ForwardExchange => "forward exchange",
            Self::Dense => "dense",
            Self::Loss => "loss",
            Self::BackwardExchange => "backward exchange",
            Self::TableUpdate => "table update",
            Self::AllReduce => "all-reduce",
        }
    }
}

crate::documented! {
    /// Measured times of a phase, beside what was forecast for the same work: later forecasts go through these points.
    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    #[serde(deny_unknown_fields)]
    pub struct CalibrationSpec {
        /// The phase.
        pub phase: Phase,
        /// Pairs of forecast and measured time, such as `["1.2ms", "1.5ms"]`; at least two.
        pub points: Vec<(DurationText, DurationText)>,
    }
}

impl CalibrationSpec {
    /// The pairs in seconds.
    #[must_use]
    pub fn seconds(&self) -> Vec<(f64, f64)> {
        self.points.iter().map(|(from, to)| (from.0.as_secs_f64(), to.0.as_secs_f64())).collect()
    }

    pub(super) fn validate(&self, p: &mut Problems) {
        let mut forecasts: Vec<Duration> = self.points.iter().map(|(forecast, _)| forecast.0).collect();
        forecasts.sort_unstable();
        forecasts.dedup();
        let positive = self.points.iter().all(|(from, to)| !from.0.is_zero() && !to.0.is_zero());
        p.check(
            positive && forecasts.len() >= 2,
            "points",
            || "needs at least two pairs of different forecasts, none of them 0",
        );
    }
}
