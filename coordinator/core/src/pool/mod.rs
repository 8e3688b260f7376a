//! The queue of the pool: many jobs share the workers of a kind. The README beside this file says what is promised.

mod free_up;
mod growth;
mod kept;
mod order;
mod pass;
mod problem;
mod solution;
mod verify;

pub use self::pass::solve;
pub use self::problem::{Class, Policy, Problem, Running, Waiting};
pub use self::solution::{Blocked, Solution, Start, Stop, Wait};
pub use self::verify::{Fault, verify};
