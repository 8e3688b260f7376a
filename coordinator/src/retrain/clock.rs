//! The time that schedules go by.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use jiff::Timestamp;

/// Tells the time: the system's, or one that somebody sets.
#[derive(Clone, Default)]
pub struct Clock(Option<Arc<AtomicI64>>);

impl Clock {
    /// A clock that stands still until it is set.
    #[must_use]
    pub fn set_by_hand(at: Timestamp) -> Self {
        Self(Some(Arc::new(AtomicI64::new(at.as_millisecond()))))
    }

    /// Sets the time, to the millisecond; the system's cannot be set.
    pub fn set(&self, at: Timestamp) {
        if let Some(time) = &self.0 {
            time.store(at.as_millisecond(), Ordering::Release);
        }
    }

    /// The time.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        match &self.0 {
            None => Timestamp::now(),
            // It was a time when it was set.
            Some(time) => Timestamp::from_millisecond(time.load(Ordering::Acquire)).unwrap_or_default(),
        }
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            None => f.write_str("Clock(system)"),
            Some(_) => write!(f, "Clock({})", self.now()),
        }
    }
}
