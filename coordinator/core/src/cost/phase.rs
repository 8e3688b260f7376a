//! The phases of a step, and a number of seconds for each.

use std::ops::{Add, AddAssign};

use serde::Serialize;

/// A phase of a step; ranks meet between two of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
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

/// Seconds of each phase.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Phases([f64; 8]);

impl Phases {
    /// Seconds of one phase.
    #[must_use]
    pub fn get(&self, phase: Phase) -> f64 {
        self.0[phase as usize]
    }

    /// Sets the seconds of one phase.
    pub fn set(&mut self, phase: Phase, seconds: f64) {
        self.0[phase as usize] = seconds;
    }

    /// The same with `seconds` for `phase`.
    #[must_use]
    pub fn with(mut self, phase: Phase, seconds: f64) -> Self {
        self.set(phase, seconds);
        self
    }

    /// Seconds of all phases.
    #[must_use]
    pub fn sum(&self) -> f64 {
        self.0.iter().sum()
    }

    /// The larger of both, phase by phase.
    #[must_use]
    pub fn max(&self, other: &Self) -> Self {
        Self(std::array::from_fn(|idx| self.0[idx].max(other.0[idx])))
    }
}

impl Add for Phases {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self(std::array::from_fn(|idx| self.0[idx] + other.0[idx]))
    }
}

impl AddAssign for Phases {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}
