//! What every plan costs at least, with the proof.

pub(super) mod area;
pub(super) mod item;
pub(super) mod kinds;
pub(super) mod knapsack;
pub(super) mod pattern;

/// Bounds lose this share, more than what rounding can have added to them.
pub(super) const ROUNDING: f64 = 1.0 - 1e-11;
