//! Answers before one buys: how long, how much, does it fit, how many devices.
//!
//! Pure: a spec in, an answer out, the same on every machine. Simulations take their seed from the spec.

pub mod answer;
mod bound;
mod dealt;
pub mod fleet;
pub mod goodput;
pub mod import;
pub mod inverse;
pub mod measured;
pub mod place;
pub mod purchase;
pub mod random;
mod replan;
pub mod scores;
mod solve;

pub use answer::{Answer, Unanswered, answer};
pub use place::{Placement, Unplaced, Wish, place, place_as};
