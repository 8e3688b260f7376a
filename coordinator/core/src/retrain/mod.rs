//! Models that are trained again by themselves. The README beside this file says what is promised.

mod backfill;
mod cron;
mod decide;
mod due;
pub mod gates;
pub mod registry;
mod runs;

pub use self::backfill::{Backfill, Known, Reprocess};
pub use self::cron::{Cron, Error};
pub use self::decide::{Decision, Reason, Schedule};
pub use self::runs::{Attempt, Outcome, RunId, Runs};
