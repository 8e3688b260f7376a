//! Coordinators that die, hang, and stand in for each other while a job trains: real processes, a real etcd.

#![allow(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

mod cluster;
mod etcd;
mod in_place;
mod migrate;
