//! A pass over log partitions, whoever makes it: the threads of one process, or workers of a cluster that deal the partitions
//! out among themselves.
//!
//! A pass is what it has to know and a sum over partitions that does not depend on their order, so that who worked on which
//! partition leaves no trace. Both can be written down and read by another process.

use std::ops::Range;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};

use muster_proto::dataset::DatasetSpec;
use rayon::ThreadPool;
use rayon::prelude::*;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::error::Error;
use super::ingest::Records;
use super::spill::Layout;
use super::stage::Stage;

/// What all passes work with.
#[derive(Debug)]
pub(super) struct Bench {
    pub(super) spec: DatasetSpec,
    pub(super) stage: Stage,
    pub(super) records: Records,
    pub(super) layout: Layout,
    /// Number of provisional ids of items.
    pub(super) items: usize,
    /// Numbers of provisional ids of the categorical columns.
    pub(super) categories: Vec<usize>,
    /// Where files of the dataset are written.
    pub(super) dataset: PathBuf,
    /// Where the dataset will be.
    pub(super) target: PathBuf,
}

/// A pass over log partitions.
pub(super) trait Pass: Serialize + DeserializeOwned + Send + Sync {
    /// Names it in files and messages.
    const NAME: &'static str;
    /// What it adds up.
    type Sum: Serialize + DeserializeOwned + Send;

    fn zero(&self, bench: &Bench) -> Self::Sum;

    /// Works on a partition and adds to the sum what it found.
    fn add(&self, bench: &Bench, sum: &mut Self::Sum, index: usize) -> Result<(), Error>;

    /// Adds another sum; in any order.
    fn merge(total: &mut Self::Sum, part: Self::Sum);
}

/// Who makes passes.
pub(super) trait Crew {
    /// Makes a pass over all partitions.
    fn run<P: Pass>(&self, bench: &Bench, pass: &P) -> Result<P::Sum, Error>;
}

/// Is told of each piece of work that was done; false where the work is to stop.
pub type Pulse<'p> = &'p (dyn Fn() -> bool + Sync);

/// Threads of this process.
pub(super) struct Threads<'p> {
    pub(super) pool: ThreadPool,
    /// How many partitions are in memory at a time.
    pub(super) workers: usize,
    pub(super) pulse: Pulse<'p>,
}

impl Threads<'_> {
    /// Makes a pass over some partitions.
    pub(super) fn run_on<P: Pass>(
        &self,
        bench: &Bench,
        pass: &P,
        partitions: Range<usize>,
    ) -> Result<P::Sum, Error> {
        let next = AtomicUsize::new(partitions.start);
        let work = |_| {
            let mut part = pass.zero(bench);
            loop {
                let index = next.fetch_add(1, Ordering::Relaxed);
                if index >= partitions.end {
                    return Ok(part);
                }
                pass.add(bench, &mut part, index)?;
                if !(self.pulse)() {
                    return Err(Error::Stopped);
                }
            }
        };
        let parts: Vec<P::Sum> = self
            .pool
            .install(|| (0..self.workers).into_par_iter().map(work).collect::<Result<_, Error>>())?;
        let mut total = pass.zero(bench);
        parts.into_iter().for_each(|part| P::merge(&mut total, part));
        Ok(total)
    }
}

impl Crew for Threads<'_> {
    fn run<P: Pass>(&self, bench: &Bench, pass: &P) -> Result<P::Sum, Error> {
        self.run_on(bench, pass, 0..bench.stage.partitions)
    }
}
