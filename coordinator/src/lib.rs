//! The shell around the core: gRPC, store, metrics.
//!
//! One task owns the core (`runtime`) while this coordinator leads (`replica`, `lead`); handlers talk to it through a
//! bounded inbox and hold no state of the cluster. [`serve`] is the whole coordinator, in the process of `muster coordinator` and inside `muster train`.

mod access;
mod config;
mod grpc;
mod handle;
mod http;
mod lead;
mod metrics;
mod replica;
mod retrain;
mod runtime;
mod server;
mod sessions;
pub mod store;
mod watchers;

pub use self::config::{Config, Problem, Problems, Settings};
pub use self::retrain::{Clock, Hooks};
pub use self::server::{Error, serve, serve_on};
