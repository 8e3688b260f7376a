//! Networks that are cut under a job that trains: real processes, each with a network of its own, on one bridge.

#![allow(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]
#![allow(clippy::print_stdout, reason = "a test says what it measured, and that it is skipped")]

mod cluster;
mod cuts;
mod network;
