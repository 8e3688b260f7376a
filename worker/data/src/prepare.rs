//! Logs in, dataset out: read, clean, sort, split, partition.
//!
//! The passes:
//! 1. rows, one by one, are checked and spilled to the file of their log partition, or listed as rejected (`ingest`,
//!    `quarantine`),
//! 2. each partition is sorted into sequences, duplicates and bots go (`sequences`, `seen`, `bots`),
//! 3. the k-core is found, reading the partitions until nothing changes (`kcore`),
//! 4. the rules on whole sequences apply, and what is left is counted (`filter`),
//! 5. a split by time finds where its parts begin (`boundaries`, `quantile`), and derived columns what they need (`features`),
//! 6. final ids are given and the partitions written (`write`), the manifest last (`publish`).
//!
//! Passes over partitions are made by the threads of this process (`pass`), or dealt out to workers of a cluster together with the
//! reading of the input (`spread`).
//!
//! Invariants: the same input and spec give the same bytes, whatever the number of threads and the bound of memory; nothing is
//! visible at the target until all of it is on disk. Memory: the distinct keys of items and categories, and per thread some
//! pieces of the input, then one log partition (its records, its columns and its encoding) and one counter an item; as many partitions
//! are at hand as `memory` holds. A log that grows is kept in a base (`growing`), which goes through the passes from the second on.

mod attributes;
mod bots;
mod boundaries;
mod buckets;
mod cell;
mod error;
mod features;
mod filter;
mod growing;
mod ingest;
mod inputs;
mod intern;
mod kcore;
mod merged;
mod pass;
mod publish;
mod quantile;
mod quarantine;
mod read;
mod rules;
mod seen;
mod sequences;
mod spill;
mod spread;
mod stage;
mod vocabulary;
mod window;
mod write;

use std::path::{Path, PathBuf};

use muster_proto::dataset::{CleaningReport, DatasetKind, DatasetManifest, DatasetSpec};
use muster_proto::units::ByteSize;
use rayon::{ThreadPool, ThreadPoolBuilder};

pub use error::{Error, Place, Told};
pub use growing::{AddArgs, Added, Contents, Cut, CutArgs, Increment, InputFile, add, contents, cut};
pub use inputs::Variables;
pub use pass::Pulse;
pub use quarantine::FILE as QUARANTINE_FILE;
pub use spread::{Dealer, SpreadArgs, UnitArgs, prepare_spread, run_unit};
pub use window::Window;

use filter::{Filter, Filtered};
use ingest::{Ingested, Records};
use kcore::Minimum;
use pass::{Bench, Crew, Threads};
use publish::Output;
use sequences::Sort;
use stage::{Stage, by_partition};
use vocabulary::Parent;

use crate::store::{Keys, Shape};

/// What is held besides keys and partitions: buffers, waves of pieces, the program.
const BASE_BYTES: u64 = 64 << 20;
/// A partition takes so many times the bytes of its records while it is worked on.
const PARTITION_FACTOR: u64 = 5;

/// What to prepare, and where to.
#[derive(Clone, Copy)]
pub struct PrepareArgs<'a> {
    /// How.
    pub spec: &'a DatasetSpec,
    /// The folder that relative paths of the spec start from: the one of its file.
    pub base: &'a Path,
    /// The dataset's folder: absent, empty, or a dataset that is replaced.
    pub out: &'a Path,
    /// Number of partitions that are worked on at a time.
    pub threads: usize,
    /// Looks up environment variables of paths.
    pub variables: Variables<'a>,
}

/// Prepares a dataset and gives its manifest, with the cleaning report in it.
///
/// # Errors
/// An input is missing or broken, a value cannot be used, nothing is left, the target is in use, or something
/// cannot be written. The target is then as it was.
pub fn prepare(args: &PrepareArgs<'_>) -> Result<DatasetManifest, Error> {
    let spec = args.spec;
    let files = inputs::resolve(&spec.input, args.base, &spec.source, args.variables)?;
    let item_files = attributes::resolve_tables(spec, args.base, args.variables)?;
    let output = Output::start(args.out)?;
    let pool = make_pool(args.threads)?;
    let sources = ingest::Sources {
        spec,
        files: &files,
        names: &ingest::names(&files, args.base),
        part: ingest::Part::Files(0..files.len()),
        work: &output.work_dir(),
        dataset: &output.files_dir(),
        pulse: &|| true,
    };
    let ingested = ingest::ingest(&sources, &pool)?;
    derive_here(spec, &item_files, (pool, &|| true), output, ingested, None)
}

/// All passes after the first.
fn derive<C: Crew>(
    crew: &C,
    mut bench: Bench,
    log: Log,
    item_files: &[Vec<PathBuf>],
    output: Output,
) -> Result<DatasetManifest, Error> {
    let minimum = minimum(&bench.spec);
    let sorted = crew.run(&bench, &Sort { keeps_items: minimum.is_of_items() })?;
    let mut report = within_window(log.report, &bench.records)?;
    bench.stage.items = by_partition(sorted.marks.clone());
    bench.stage.adopt(sorted.marks);
    let alive = match bench.spec.kind {
        // All rows of a series carry the same provisional item, which no rule is about.
        DatasetKind::Series => vec![true],
        DatasetKind::Events => kcore::alive_items(crew, &bench, minimum)?,
    };
    let Filtered { counts, users: found, marks } = crew.run(&bench, &Filter { alive })?;
    bench.stage.adopt(marks);
    let mut users = vec![0; bench.stage.partitions];
    found.into_iter().for_each(|(index, n_users)| users[index] = n_users);
    report.add(&sorted.report);
    report.add(&counts.report);
    if report.rows_out == 0 {
        return Err(Error::NothingLeft { report });
    }
    let (split, counts) = boundaries::apply(crew, &bench, counts)?;
    let Log { items, categories, numeric, parent, .. } = log;
    let bench = &bench;
    write::write(
        &write::Prepared {
            crew,
            bench,
            item_files,
            items,
            categories,
            numeric,
            counts,
            split,
            users,
            report,
            parent,
        },
        output,
    )
}

/// Takes the rows out of what was counted that are not in the window: the log that the dataset is of does not have them.
///
/// # Errors
/// There are no others.
fn within_window(mut report: CleaningReport, records: &Records) -> Result<CleaningReport, Error> {
    let Some((window, outside)) = records.window() else { return Ok(report) };
    let rejected: u64 = report.dropped.values().sum();
    report.rows_in -= outside;
    if report.rows_in == rejected {
        return Err(Error::NothingInWindow { window, outside });
    }
    Ok(report)
}

/// What is known of the whole log after the first pass, besides the records.
struct Log {
    /// Items by provisional id, and the keys of each categorical column.
    items: Keys,
    categories: Vec<Keys>,
    /// Names of the numeric columns.
    numeric: Vec<String>,
    report: CleaningReport,
    /// The dataset whose ids are kept.
    parent: Option<Parent>,
}

/// Parts what the first pass found into what passes work with and what is known of the whole log.
fn lay_out(spec: &DatasetSpec, output: &Output, ingested: Ingested, parent: Option<Parent>) -> (Bench, Log) {
    let Ingested { spills, layout, items, categories, report, numeric, .. } = ingested;
    let partitions = spec.partitions as usize;
    let unmarked = vec![String::new(); partitions];
    let stage = Stage {
        dir: output.work_dir(),
        // A series is staged as plain columns, its target the last.
        shape: Shape { categorical: layout.categorical, numeric: layout.numeric, is_series: false },
        partitions,
        staged: unmarked.clone(),
        items: unmarked,
        mark: String::new(),
    };
    let bench = Bench {
        spec: spec.clone(),
        stage,
        records: spills,
        layout,
        items: if spec.kind == DatasetKind::Series { 1 } else { items.len() },
        categories: categories.iter().map(Keys::len).collect(),
        dataset: output.files_dir(),
        target: output.target().to_owned(),
    };
    (bench, Log { items, categories, numeric, report, parent })
}

/// Makes all passes after the first with the threads of this process.
fn derive_here(
    spec: &DatasetSpec,
    item_files: &[Vec<PathBuf>],
    (pool, pulse): (ThreadPool, Pulse<'_>),
    output: Output,
    ingested: Ingested,
    parent: Option<Parent>,
) -> Result<DatasetManifest, Error> {
    let workers = workers(spec, &ingested, pool.current_num_threads())?;
    let crew = Threads { pool, workers, pulse };
    let (bench, log) = lay_out(spec, &output, ingested, parent);
    derive(&crew, bench, log, item_files, output)
}

fn make_pool(threads: usize) -> Result<ThreadPool, Error> {
    let threads = threads.max(1);
    let pool = ThreadPoolBuilder::new().num_threads(threads).build();
    pool.map_err(|error| Error::Threads { threads, what: error.to_string() })
}

/// How many partitions the memory holds at a time, besides the keys.
fn workers(spec: &DatasetSpec, ingested: &Ingested, threads: usize) -> Result<usize, Error> {
    let each = worker_bytes(spec, ingested);
    match fit(spec.memory, ingested.key_bytes, each) {
        0 => Err(Error::Memory {
            memory: spec.memory,
            needed: ByteSize::from_bytes(BASE_BYTES + 2 * ingested.key_bytes + each),
            partitions: spec.partitions,
        }),
        fit => Ok((fit as usize).min(threads)),
    }
}

/// Bytes that a partition takes while it is worked on.
fn worker_bytes(spec: &DatasetSpec, ingested: &Ingested) -> u64 {
    let partitions = 0..spec.partitions as usize;
    let largest = partitions.map(|partition| ingested.spills.bytes(partition)).max().unwrap_or(0).max(1);
    // Each worker counts each item.
    largest * PARTITION_FACTOR + 16 * ingested.items.len() as u64
}

/// How many partitions of `each` bytes fit beside the keys, which are held twice while they are put in order.
fn fit(memory: ByteSize, key_bytes: u64, each: u64) -> u64 {
    memory.bytes().saturating_sub(BASE_BYTES + 2 * key_bytes) / each.max(1)
}

/// Rows of a series carry no items to count.
fn minimum(spec: &DatasetSpec) -> Minimum {
    let cleaning = &spec.cleaning;
    let of_events = |least: u32| if spec.kind == DatasetKind::Series { 1 } else { least };
    Minimum {
        user_events: of_events(cleaning.min_user_events),
        item_events: of_events(cleaning.min_item_events),
    }
}
