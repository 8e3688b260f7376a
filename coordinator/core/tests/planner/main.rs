//! The sharding planner from outside: laws on random problems, refusals, files of options, re-planning.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test that cannot go on ends, and one that is skipped says so"
)]

mod brute;
mod files;
mod laws;
mod random;
mod refusals;
mod replan;
mod unequal;
