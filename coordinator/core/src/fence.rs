//! The one function that refuses what is out of date; workers use the same one.

pub use muster_proto::fence::{Fence, Stale, admit, admit_held, admit_incarnation};
