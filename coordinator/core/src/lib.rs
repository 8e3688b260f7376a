//! Decides, without I/O, clock or randomness.
//!
//! [`Core::step`] takes what happened and the time, and returns what to do; the same calls give the same answers.
//! The shell around it carries the actions out in order: what an [`Action::Persist`] writes is durable before any
//! action after it, so nobody hears of a generation that could be forgotten.
//!
//! ```text
//!             workers enough          all ranks ready          all ranks finished
//!  gathering ───────────────> loading ───────────────> training ───────────────> finished
//!      │      (planning: one     │                        │
//!      │       step, no wait)    │ a rank fails or is lost, or the job is cancelled
//!      │                         v                        v
//!      │                      draining <──────────────────┘
//!      │ cancelled               │ all ranks stopped, or took too long
//!      v                         v
//!  cancelled             failed, cancelled
//! ```
//!
//! Absent on purpose: threads, sockets, files, `Instant::now`. Recovery after a lost worker is not here yet.

mod action;
mod assignment;
mod config;
mod core;
mod event;
mod explain;
pub mod fence;
mod invariants;
mod job;
mod membership;
mod phase;
mod record;
mod refusal;
mod submission;
mod time;

pub use self::action::{Action, Answer, SessionEnd, Write};
pub use self::config::Config;
pub use self::core::Core;
pub use self::event::{Event, RequestId, SessionId};
pub use self::explain::{Group, NotReady};
pub use self::invariants::Violation;
pub use self::job::MAX_EVENTS;
pub use self::record::{PREFIX, RestoreError};
pub use self::refusal::Refusal;
pub use self::time::Time;
