//! The sharding planner from outside: laws on random problems, refusals, files of options, re-planning.

mod brute;
mod files;
mod laws;
mod random;
mod refusals;
mod replan;
