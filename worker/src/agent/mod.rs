//! Registers with the coordinator, keeps a session with it, and runs what it assigns.
//!
//! The job runs on a thread of its own and does not notice when the coordinator goes away: steps go on, and what
//! happened is told when a session is open again.

mod control;
mod runner;

pub use self::control::{Aborted, Control};
pub use self::runner::{Assignment, JobRunner, Outcome, RunError};
