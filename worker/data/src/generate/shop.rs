//! A shop of any size, simulated: a log in the order of time, with dirt beside it and the truth about that.
//!
//! The log is a sequence of chunks, each a stretch of time with a fixed number of clean events and random numbers of its own.
//! A user shops in every other chunk at most, and once in it, so that no two sessions of a user overlap and no clean event
//! repeats another by accident: what cleaning drops is what was planted.
//!
//! Invariants: the same spec gives the same bytes on every machine and any number of threads; memory is the shop's items
//! and, per thread, a few chunks (of 65,536 events at most), whatever the number of users and events.

mod catalog;
mod dataset_file;
mod dirt;
mod files;
mod plan;
mod rows;
mod session;
mod table;
mod truth;

use std::path::Path;

use muster_proto::dataset::{LogFormat, ShopSpec};
use rayon::prelude::*;

pub use truth::Truth;

use super::error::Error;
use catalog::Catalog;
use dirt::Planter;
use files::{Files, Output};
use plan::Plan;
use rows::Text;
use session::Chunk;
use table::Table;

/// The dataset file beside a log, ready for `muster prepare`.
pub const DATASET_FILE: &str = "dataset.toml";
/// The truth beside a log.
pub const TRUTH_FILE: &str = "truth.json";

/// Chunks that a thread has at hand in a wave.
const CHUNKS_EACH: usize = 2;

/// What to simulate, and where to.
#[derive(Debug, Clone, Copy)]
pub struct ShopArgs<'a> {
    /// The shop.
    pub spec: &'a ShopSpec,
    /// The folder for the log, the dataset file and the truth; absent or empty.
    pub out: &'a Path,
    /// Number of chunks that are simulated at a time.
    pub threads: usize,
}

/// A chunk as it goes to its file, and what was planted in it.
struct Made {
    output: Output,
    truth: Truth,
}

/// Simulates a shop: files `events-00000.csv` and so on, [`DATASET_FILE`] and [`TRUTH_FILE`] appear in the folder together.
///
/// # Errors
/// The folder is in use, or something cannot be written; then nothing is left behind.
pub fn generate_shop(args: &ShopArgs<'_>) -> Result<Truth, Error> {
    let spec = args.spec;
    let threads = args.threads.max(1);
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(threads)
        .build()
        .map_err(|error| Error::Threads { threads, what: error.to_string() })?;
    let mut files = Files::start(spec, args.out)?;
    let (catalog, plan) = (Catalog::new(spec), Plan::new(spec));
    let make = |chunk: u64| make_chunk(spec, &catalog, &plan, chunk);
    let wave = |from: u64| -> Result<Vec<Made>, Error> {
        let until = (from + (threads * CHUNKS_EACH) as u64).min(plan.chunks);
        (from..until).into_par_iter().map(make).collect()
    };
    let mut truth = Truth::default();
    pool.install(|| -> Result<(), Error> {
        let (mut chunk, mut ready) = (0, wave(0)?);
        while !ready.is_empty() {
            let next = chunk + ready.len() as u64;
            // Chunks are written in order while the next ones are made.
            let (written, made) = rayon::join(
                || {
                    ready.into_iter().enumerate().try_for_each(|(idx, made)| {
                        truth.add(&made.truth);
                        files.write(plan.file_of(chunk + idx as u64), made.output)
                    })
                },
                || wave(next),
            );
            written?;
            (chunk, ready) = (next, made?);
        }
        Ok(())
    })?;
    files.finish(&mut truth)?;
    Ok(truth)
}

fn make_chunk(spec: &ShopSpec, catalog: &Catalog, plan: &Plan, index: u64) -> Result<Made, Error> {
    let chunk = Chunk::simulate(spec, catalog, plan, index);
    let mut planter = Planter::new(spec, catalog, index);
    let output = if spec.format == LogFormat::Parquet {
        let mut table = Table::new(chunk.events.len());
        planter.write(&chunk, &mut table);
        Output::Table(table.finish().map_err(|error| Error::Encode { what: error.to_string() })?)
    } else {
        let mut text = Text::new(spec, plan.is_first_of_file(index), chunk.events.len());
        planter.write(&chunk, &mut text);
        Output::Text(
            text.finish(spec.compression).map_err(|error| Error::Encode { what: error.to_string() })?,
        )
    };
    Ok(Made { output, truth: planter.truth })
}
