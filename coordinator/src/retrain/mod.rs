//! Models that are trained again by themselves: what the decisions of `muster_core::retrain` do in the world.
//!
//! One task owns the machine while this coordinator leads, beside the one that owns the core (`driver`): it makes durable what the
//! machine decides, and then sees to what is wanted (`carry`): tasks and jobs of the core, calls of hooks, folders that go. The
//! time is the one of a `clock`, since schedules are about the calendar and not about how long a process has run.

mod carry;
mod clock;
mod driver;
mod handle;
mod hooks;

pub use self::clock::Clock;
pub(crate) use self::driver::{Driver, Parts};
pub(crate) use self::handle::{Inbox, Message};
pub use self::hooks::Hooks;
