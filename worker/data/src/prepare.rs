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
mod publish;
mod quantile;
mod quarantine;
mod read;
mod rules;
mod seen;
mod sequences;
mod spill;
mod stage;
mod vocabulary;
mod write;

use std::path::{Path, PathBuf};

use muster_proto::dataset::{CleaningReport, DatasetKind, DatasetManifest, DatasetSpec};
use muster_proto::units::ByteSize;
use rayon::{ThreadPool, ThreadPoolBuilder};

pub use error::Error;
pub use growing::{AddArgs, Added, CutArgs, add, cut};
pub use inputs::Variables;
pub use quarantine::FILE as QUARANTINE_FILE;

use filter::Counts;
use ingest::Ingested;
use kcore::Minimum;
use publish::Output;
use stage::Stage;
use vocabulary::Parent;

use crate::store::Shape;

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
        base: args.base,
        work: &output.work_dir(),
        dataset: &output.files_dir(),
    };
    let ingested = ingest::ingest(&sources, &pool)?;
    derive(spec, &item_files, pool, output, ingested, None)
}

/// All passes after the first.
fn derive(
    spec: &DatasetSpec,
    item_files: &[Vec<PathBuf>],
    pool: ThreadPool,
    output: Output,
    ingested: Ingested,
    parent: Option<Parent>,
) -> Result<DatasetManifest, Error> {
    let stage = make_stage(spec, pool, &output, &ingested)?;
    let mut report = ingested.report.clone();
    report.add(&sort_partitions(spec, &stage, &ingested)?);
    let (counts, users) = filter_partitions(spec, &stage, &ingested)?;
    report.add(&counts.report);
    if report.rows_out == 0 {
        return Err(Error::NothingLeft { report });
    }
    let (split, counts) = boundaries::apply(spec, &stage, &ingested.categories, counts)?;
    write::write(
        &write::Prepared { spec, item_files, ingested, stage, counts, split, users, report, parent },
        output,
    )
}

fn make_pool(threads: usize) -> Result<ThreadPool, Error> {
    let threads = threads.max(1);
    let pool = ThreadPoolBuilder::new().num_threads(threads).build();
    pool.map_err(|error| Error::Threads { threads, what: error.to_string() })
}

fn make_stage(
    spec: &DatasetSpec,
    pool: ThreadPool,
    output: &Output,
    ingested: &Ingested,
) -> Result<Stage, Error> {
    Ok(Stage {
        dir: output.work_dir(),
        // A series is staged as plain columns, its target the last.
        shape: Shape {
            categorical: ingested.layout.categorical,
            numeric: ingested.layout.numeric,
            is_series: false,
        },
        partitions: spec.partitions as usize,
        workers: workers(spec, ingested, pool.current_num_threads())?,
        pool,
        memory: spec.memory,
    })
}

/// How many partitions the memory holds at a time, besides the keys.
fn workers(spec: &DatasetSpec, ingested: &Ingested, threads: usize) -> Result<usize, Error> {
    let partitions = 0..spec.partitions as usize;
    let largest = partitions.map(|partition| ingested.spills.bytes(partition)).max().unwrap_or(0).max(1);
    // Keys are held twice while they are put in order, and each worker counts each item.
    let counters = 16 * ingested.items.len() as u64;
    let free = spec.memory.bytes().saturating_sub(BASE_BYTES + 2 * ingested.key_bytes);
    match free / (largest * PARTITION_FACTOR + counters) {
        0 => Err(Error::Memory {
            memory: spec.memory,
            needed: ByteSize::from_bytes(
                BASE_BYTES + 2 * ingested.key_bytes + largest * PARTITION_FACTOR + counters,
            ),
            partitions: spec.partitions,
        }),
        fit => Ok((fit as usize).min(threads)),
    }
}

/// Stages all partitions as sequences; gives what was dropped on the way.
fn sort_partitions(spec: &DatasetSpec, stage: &Stage, ingested: &Ingested) -> Result<CleaningReport, Error> {
    let reports = stage.map(|index| {
        let bytes = ingested.spills.take(index)?;
        let (partition, report) = sequences::build(spec, index, &bytes, ingested.layout)?;
        drop(bytes);
        if minimum(spec).is_of_items() {
            stage.save_items(index, &partition)?;
        }
        stage.save(index, partition)?;
        Ok(report)
    })?;
    let mut total = CleaningReport::default();
    reports.iter().for_each(|report| total.add(report));
    Ok(total)
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

/// Stages what the rules on sequences leave; gives counts of it, and the users of each partition.
fn filter_partitions(
    spec: &DatasetSpec,
    stage: &Stage,
    ingested: &Ingested,
) -> Result<(Counts, Vec<u32>), Error> {
    let is_series = spec.kind == DatasetKind::Series;
    // All rows of a series carry the same provisional item, which no rule is about.
    let items = if is_series { 1 } else { ingested.items.len() };
    let alive = if is_series { vec![true] } else { kcore::alive_items(stage, items, minimum(spec))? };
    let mut users = vec![0; stage.partitions];
    let (counts, found) = stage.sum(
        || (Counts::zero(items, &ingested.categories), Vec::new()),
        |(counts, users), index| {
            let mut report = CleaningReport::default();
            let partition = filter::filter(spec, &stage.load(index)?, &alive, &mut report);
            counts.add(&partition);
            counts.merge(&Counts { report, ..Counts::default() });
            users.push((index, partition.users()));
            stage.save(index, partition)
        },
        |(total, all), (part, users)| {
            total.merge(&part);
            all.extend(users);
        },
    )?;
    found.into_iter().for_each(|(index, n_users)| users[index] = n_users);
    Ok((counts, users))
}
