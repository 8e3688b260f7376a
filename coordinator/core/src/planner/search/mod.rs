//! How plans are found: a greedy start, a dive into the pattern bound's prices, local search, and exhaustion of small problems.

pub(super) mod dive;
pub(super) mod exact;
pub(super) mod local;
pub(super) mod spots;
pub(super) mod start;
