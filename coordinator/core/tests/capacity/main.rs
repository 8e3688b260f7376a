//! The laws of the cost model and of capacity answers, and what they say of others' measurements.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
#![allow(clippy::print_stdout, reason = "a skipped test says so")]

mod bounds;
mod goodput;
mod laws;
mod measured;
mod questions;
mod replan;
