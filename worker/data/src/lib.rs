//! The data room: logs in, clean and provable datasets out.
//!
//! Invariants: the same input and spec give the same bytes, whatever the number of threads; a dataset
//! without its manifest is none, and the manifest is written last; a reader hands out no partition whose
//! digest does not fit; memory is bounded by one log partition a thread plus the vocabularies.
//!
//! # Layout
//! * [`mod@generate`]: a deterministic shopping log, with the best score that any model could reach on it
//! * [`mod@prepare`]: reads, cleans, sorts, splits and partitions logs
//! * [`store`]: the columnar files of a prepared dataset, written by `prepare` and read by the trainer
//! * [`mod@stats`]: what a dataset looks like, in numbers

pub mod generate;
pub mod prepare;
pub mod stats;
pub mod store;

pub use generate::{
    DriftingArgs, DriftingShop, Fault, GenerateArgs, SeriesArgs, ShopArgs, generate, generate_series,
    generate_shop, oracle,
};
pub use prepare::{PrepareArgs, prepare};
pub use stats::{Drift, Stats, drift, stats};
pub use store::{Attributes, Dataset, Error, HeldOut, Items, Partition, Series, Split, Vocabulary};
