//! The one knob and the bounds, and all that derives from them.

use std::time::Duration;

use crate::pool::Policy;

/// What the core is told before it starts.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// How long a worker may be silent before it counts as lost. All other times derive from it.
    pub failure_detection: Duration,
    /// Workers that may be known at a time.
    pub max_workers: usize,
    /// Jobs that may wait or run at a time.
    pub max_jobs: usize,
    /// Ended jobs that are remembered.
    pub max_ended_jobs: usize,
    /// By which jobs share the workers.
    pub pool: Policy,
    /// Tasks that may be known at a time, of all owners together.
    pub max_tasks: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            failure_detection: Duration::from_secs(5),
            max_workers: 4096,
            max_jobs: 256,
            max_ended_jobs: 256,
            pool: Policy::default(),
            max_tasks: 4096,
        }
    }
}

impl Config {
    /// How long workers get, once the coordinator itself was asleep, to be heard again.
    #[must_use]
    pub fn reconnect_grace(&self) -> Duration {
        self.failure_detection / 2
    }

    /// How often the core wants to look at the clock while there is somebody to watch.
    #[must_use]
    pub fn tick_interval(&self) -> Duration {
        self.failure_detection / 10
    }

    /// A coordinator that did not look at the clock for this long was itself asleep, and its workers' silence says
    /// nothing about them.
    #[must_use]
    pub fn own_absence(&self) -> Duration {
        self.failure_detection / 2
    }

    /// How long an owner's tasks are kept after it has shown itself: long enough to find a coordinator that took over.
    #[must_use]
    pub fn task_owner_deadline(&self) -> Duration {
        self.failure_detection * 12
    }

    /// How long ranks may take to connect and load.
    #[must_use]
    pub fn loading_deadline(&self) -> Duration {
        self.failure_detection * 360
    }

    /// How long ranks may take to stop after an abort. Longer than failure detection: the rank to blame for a
    /// failure of its peers may be a lost one, and that shows only then.
    #[must_use]
    pub fn draining_deadline(&self) -> Duration {
        self.failure_detection * 2
    }
}
