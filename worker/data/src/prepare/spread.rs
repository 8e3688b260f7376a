//! Preparation that is spread over workers, with the bytes that one process would write.
//!
//! Whoever asks holds what is known of the whole log (keys, counts, the report) and decides what is done next; workers read shares
//! of the input and make passes over log partitions, in units that do not know of each other. Both meet in the folder in which
//! the dataset is made: what a unit has to know lies there before it is dealt out, what it found when it is done.
//!
//! ```text
//!  shares of the input ──> records, keys, counts of each      merged here: ids, report, quarantine
//!  parts of a pass     ──> sum of each, sequences on disk     summed here, before the next pass
//! ```
//!
//! Invariants: nothing follows from who did which unit; a unit writes under a mark (attempt and incarnation) that nobody else has,
//! and only what its accepted result names is read, so that a worker that was thought lost harms nothing; the dataset
//! appears whole or not at all. Memory: the bound of the dataset file, for whoever asks and for each worker.

mod crew;
pub(super) mod files;
mod merge;
mod share;
mod unit;

use std::path::{Path, PathBuf};

use muster_proto::control::Unit;
use muster_proto::dataset::{DatasetManifest, DatasetSpec};
use serde_json::Value;

pub use unit::{UnitArgs, run_unit};

use super::error::Error;
use super::inputs::Variables;
use super::publish::Output;
use super::{attributes, derive, ingest, inputs, lay_out, worker_bytes, workers};
use crew::Workers;
use merge::Merging;
use share::Shares;

/// Workers to which units are dealt.
pub trait Dealer {
    /// How many there are about, at least 1.
    fn workers(&self) -> usize;

    /// Has units done that are described in a folder; what each came to, in their order. `stage` names what they are of.
    ///
    /// # Errors
    /// Why not all of them came to an end.
    fn deal(&self, stage: &str, folder: &Path, units: Vec<Unit>) -> Result<Vec<Value>, String>;

    /// Whether the preparation is to be given up.
    fn is_stopped(&self) -> bool;
}

/// What to prepare, where to, and by whom.
#[derive(Clone, Copy)]
pub struct SpreadArgs<'a> {
    /// How.
    pub spec: &'a DatasetSpec,
    /// The folder that relative paths of the spec start from.
    pub base: &'a Path,
    /// The dataset's folder: absent, empty, or a dataset that is replaced. Workers see the folder that it lies in under the same
    /// name.
    pub out: &'a Path,
    /// Looks up environment variables of paths.
    pub variables: Variables<'a>,
    /// Who does the work.
    pub dealer: &'a dyn Dealer,
}

/// Prepares a dataset with workers and gives its manifest.
///
/// # Errors
/// As of [`super::prepare`], and if the workers cannot be had. The target is then as it was.
pub fn prepare_spread(args: &SpreadArgs<'_>) -> Result<DatasetManifest, Error> {
    let SpreadArgs { spec, dealer, .. } = *args;
    let given = inputs::resolve(&spec.input, args.base, &spec.source, args.variables)?;
    let item_files = attributes::resolve_tables(spec, args.base, args.variables)?;
    let output = Output::start(args.out)?;
    // Workers have another working directory.
    let folder = absolute(&output.work_dir())?;
    let names = ingest::names(&given, args.base);
    let files = given.iter().map(|file| absolute(file)).collect::<Result<Vec<_>, _>>()?;
    let shares = Shares::plan(spec, &files, dealer.workers());
    shares.save(&folder, spec, &files, &names)?;
    let units = (0..shares.len() as u32).map(Unit::Share).collect();
    let results = crew::deal(dealer, "read", &folder, units)?;
    let mut merging = Merging::new(spec, (&given, &files, &names), &folder, &output.files_dir());
    shares.take(results, &mut merging)?;
    let ingested = merging.finish()?;
    workers(spec, &ingested, 1)?;
    let each = worker_bytes(spec, &ingested);
    let key_bytes = ingested.key_bytes;
    let (mut bench, log) = lay_out(spec, &output, ingested, None);
    // What workers write may be there twice, so that it comes into the dataset by name.
    (bench.stage.dir, bench.dataset) = (folder.clone(), folder);
    let crew = Workers::begin(dealer, &bench, (each, key_bytes))?;
    derive(&crew, bench, log, &item_files, output)
}

fn absolute(path: &Path) -> Result<PathBuf, Error> {
    if path.to_str().is_some_and(muster_objects::is_url) {
        return Ok(path.to_owned());
    }
    std::path::absolute(path).map_err(|source| Error::Read { path: path.to_owned(), source })
}
