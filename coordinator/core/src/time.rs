//! Time as the core sees it: what has passed since the coordinator started.

use std::ops::Add;
use std::time::Duration;

/// A moment, by a clock that never goes back. Moments of different coordinators cannot be compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Time(pub Duration);

impl Add<Duration> for Time {
    type Output = Self;

    fn add(self, duration: Duration) -> Self {
        Self(self.0 + duration)
    }
}
