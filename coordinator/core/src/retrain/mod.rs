//! Models that are trained again by themselves. The README beside this file says what is promised.

mod backfill;
pub mod command;
mod cron;
mod decide;
mod due;
pub mod gates;
pub mod machine;
pub mod registry;
mod run;
mod runs;
pub mod view;

pub use self::backfill::{Backfill, Known, Reprocess};
pub use self::cron::{Cron, Error};
pub use self::decide::{Decision, Reason, Schedule};
pub use self::run::{Call, Kind, Outcome as RunOutcome, Stage, Transition};
pub use self::runs::{Attempt, Outcome, RunId, Runs};
