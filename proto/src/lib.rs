//! The contract between the processes of a cluster: messages, typed ids, typed specs.

pub mod auth;
pub mod capacity;
mod chain;
pub mod checkpoint;
pub mod collect;
pub mod config;
pub mod control;
pub mod convert;
pub mod dataset;
pub mod fence;
pub mod hooks;
pub mod ids;
pub mod job;
pub mod measured;
pub mod pool;
#[cfg(feature = "rpc")]
pub mod rpc;
pub mod schedule;
pub mod sharding;
pub mod units;
pub mod wire;

pub use self::chain::{chain, panic_text};
