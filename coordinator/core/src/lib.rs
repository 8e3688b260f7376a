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
//! A worker that is lost, or a change of size, leads from loading or training to recovering, and from there to loading in
//! a new generation (or back to gathering, where too few workers are left):
//!
//! ```text
//!                 a rank is lost              all others stopped: regroup
//!  training ─────────────────────> recovering ───────────────────────────> loading ──> training
//!             the size changes (ranks stop after one and the same step)
//! ```
//!
//! Absent on purpose: threads, sockets, files, `Instant::now`.

mod action;
mod assignment;
pub mod capacity;
mod config;
mod core;
pub mod cost;
mod event;
mod explain;
pub mod fence;
mod incident;
mod invariants;
mod job;
mod membership;
mod phase;
pub mod planner;
pub mod pool;
mod record;
mod refusal;
pub mod retrain;
mod stored;
mod submission;
mod suspicion;
mod task;
mod time;

pub use self::action::{Action, Answer, SessionEnd, Write};
pub use self::config::Config;
pub use self::core::Core;
pub use self::event::{Event, RequestId, SessionId};
pub use self::explain::{Group, NotReady};
pub use self::invariants::Violation;
pub use self::job::MAX_EVENTS;
pub use self::phase::{PlanError, plan_of};
pub use self::record::PREFIX;
pub use self::refusal::Refusal;
pub use self::stored::RestoreError;
pub use self::time::Time;
