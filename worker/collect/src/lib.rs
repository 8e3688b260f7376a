//! The collecting room: events in over gRPC and HTTP, files that `muster prepare` reads out.
//!
//! Invariants: an event that was answered as accepted or as a duplicate is on disk (`fdatasync`), in a line of its own, once; what
//! was not taken is refused with its index, field and reason, or its whole request is told to come again. Memory is bounded:
//! by `limits.queue` for what waits, by `limits.ids` for what is remembered, by [`MAX_REQUESTS`] requests of
//! `limits.max_body` under way. Files are finished by renaming, so that whoever reads finished files sees whole ones.
//!
//! A duplicate is an event whose id is among the latest `limits.ids` that were taken, counted over restarts as far as their files
//! are still in the folder. An older one is taken again; `columns.event_id` of a dataset drops it when it is prepared.
//!
//! # Layout
//! * `schema`: which events are taken, and the line that one becomes; their form on either wire in `event`
//! * `files`: names and states of files; what a process that was killed left behind in `recover`
//! * `ids`: the ids that were taken lately
//! * `queue`: what waits, with its bound, and `writer`, the one thread that writes; `finish` gives files to readers
//! * `server`, with `http` and `grpc`: the two ways in, on one port; what they share in `intake`

mod access;
mod event;
mod files;
mod finish;
mod grpc;
mod http;
mod ids;
mod intake;
mod metrics;
mod queue;
mod recover;
mod schema;
mod server;
mod writer;

pub use metrics::Totals;
pub use recover::Error as FolderError;
pub use server::{Collector, Config, Error, MAX_REQUESTS, serve};
