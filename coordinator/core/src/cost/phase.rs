//! The phases of a step, and a number of seconds for each.

use std::ops::{Add, AddAssign};

pub use muster_proto::capacity::Phase;

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
