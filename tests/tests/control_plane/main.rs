//! The control plane end to end: a real coordinator, real agents and real sockets, in one process; only the jobs
//! are played by a script.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails where it stands")]

mod access;
mod accounting;
mod cluster;
mod failures;
mod training;
