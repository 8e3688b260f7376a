//! The contract between the processes of a cluster: messages, typed ids, typed specs.

pub mod config;
pub mod job;
pub mod sharding;
pub mod units;
