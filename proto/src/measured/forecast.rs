//! What the steps of a job are forecast to take.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::capacity::Phase;

/// What a step is forecast to take, and what each rank is forecast to hold.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Forecast {
    /// What it was made from, for people: the calibration of which machine, or the catalogue.
    pub source: String,
    /// Ranks.
    pub workers: u32,
    /// Threads of each rank.
    pub threads: u32,
    /// The layout of each table that it is made for.
    pub layouts: BTreeMap<String, String>,
    /// Seconds of each phase.
    pub phases: BTreeMap<Phase, f64>,
    /// Seconds of what is of no phase.
    pub rest: f64,
    /// The most bytes that are resident in each rank's process; empty where the source does not say.
    pub peak_bytes: Vec<u64>,
    /// The terms that lie outside of what was measured, by name.
    pub extrapolated: Vec<String>,
}

impl Forecast {
    /// Seconds of a step.
    #[must_use]
    pub fn step(&self) -> f64 {
        self.phases.values().sum::<f64>() + self.rest
    }

    /// Seconds of a phase.
    #[must_use]
    pub fn phase(&self, phase: Phase) -> f64 {
        self.phases.get(&phase).copied().unwrap_or(0.0)
    }
}
