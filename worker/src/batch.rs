//! Batches: which samples a step has, and how a micro-batch is laid out.
//!
//! Which samples make the global batch of step t is a pure function of (dataset, seed, t); nothing here knows the
//! number of workers. A micro-batch is packed, so that work is proportional to real events.

mod corpus;
mod pack;
mod sampler;

pub use corpus::{Corpus, Error, FeatureColumns, Group, Sample};
pub use pack::{MicroBatch, pack_histories, pack_samples};
pub use sampler::{EpochPlan, Sampler};
