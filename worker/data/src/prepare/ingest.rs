//! First pass: rows in, events out, each to the spill file of its log partition.
//!
//! Files are cut into pieces, which threads read while the pieces before are put in order and the next ones are cut. What
//! counts is the order of the log: of two bad rows the first is the error, and a file that cannot be read as a whole leaves no
//! trace but its name: what its first rows gave is taken back. Memory: the distinct keys of items and categories (of files that were
//! left out, too), two waves of pieces, and the buffers of spills.

mod columns;
mod commit;
mod feed;
mod rows;

use std::ops::Range;
use std::path::{Path, PathBuf};

use muster_proto::dataset::{CleaningReport, DatasetSpec};
use rayon::ThreadPool;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::buckets::Buckets;
use super::error::Error;
use super::intern::Interner;
use super::merged::{Merged, MergedFile};
use super::pass::Pulse;
use super::quarantine::Quarantine;
use super::read::{Ending, GROUP_ROWS, Span, Table};
use super::spill::Layout;
use super::window::Window;
use crate::store::Keys;
use columns::{Role, wanted_columns};
use commit::{Committed, Done, Ended};
use feed::Feed;
use rows::Shared;

/// Bytes of text that a thread has at hand in a wave.
const WAVE_BYTES: u64 = 4 << 20;
/// A row of Parquet on its way takes about so many bytes, decoded and as a record.
const GROUP_ROW_BYTES: u64 = 256;

/// What the first pass found.
#[derive(Debug)]
pub(super) struct Ingested {
    pub(super) spills: Records,
    pub(super) layout: Layout,
    /// Items by provisional id; 0 is the unknown one where the spec asks for it.
    pub(super) items: Keys,
    /// Keys of each categorical column by provisional id; 0 is the unknown one.
    pub(super) categories: Vec<Keys>,
    pub(super) report: CleaningReport,
    /// Names of the numeric columns, patterns expanded; a series' target is not among them.
    pub(super) numeric: Vec<String>,
    /// About the bytes of memory that the keys take.
    pub(super) key_bytes: u64,
    /// The first time of an event, and the last; none without times.
    pub(super) times: Option<(i64, i64)>,
}

/// Where the records of events are.
#[derive(Debug)]
pub(super) enum Records {
    /// In the files of this preparation.
    Spilled(Buckets),
    /// In parts that were read by themselves: the increments of a base, the shares of workers.
    Merged(Merged),
    /// The same, described by a file that is read when it is asked for.
    Filed(MergedFile),
}

impl Records {
    /// Bytes of the records of a log partition.
    pub(super) fn bytes(&self, partition: usize) -> u64 {
        match self {
            Self::Spilled(spills) => spills.bytes(partition),
            Self::Merged(merged) => merged.bytes(partition),
            Self::Filed(file) => file.get().map_or(0, |merged| merged.bytes(partition)),
        }
    }

    /// The window that they are of, and how many were passed over so far since they are not in it; none where all count.
    pub(super) fn window(&self) -> Option<(Window, u64)> {
        match self {
            Self::Merged(merged) if merged.window != Window::default() => {
                Some((merged.window, merged.outside()))
            }
            _ => None,
        }
    }

    /// The records of a log partition; once only.
    pub(super) fn take(&self, partition: usize) -> Result<Vec<u8>, Error> {
        match self {
            Self::Spilled(spills) => spills.take(partition),
            Self::Merged(merged) => merged.read(partition),
            Self::Filed(file) => file.get()?.read(partition),
        }
    }
}

/// What of the log is read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Part {
    /// Whole files, one after the other.
    Files(Range<usize>),
    /// A piece of a file. An error of the file is that of the piece, since whoever has the other pieces leaves it out.
    Span { file: usize, span: Span },
}

/// What is read, from where, and where to.
#[derive(Clone)]
pub(super) struct Sources<'s> {
    pub(super) spec: &'s DatasetSpec,
    /// All files of the log.
    pub(super) files: &'s [PathBuf],
    /// What reports call them.
    pub(super) names: &'s [String],
    pub(super) part: Part,
    /// Where spills go.
    pub(super) work: &'s Path,
    /// Where the quarantine goes.
    pub(super) dataset: &'s Path,
    pub(super) pulse: Pulse<'s>,
}

/// Names of files in reports: the relative path of those below a folder.
pub(super) fn names(files: &[PathBuf], base: &Path) -> Vec<String> {
    files.iter().map(|path| name_of(path, base)).collect()
}

/// What reports and bases call a file: its path below the folder that relative ones start from, or else all of it.
pub(super) fn name_of(path: &Path, base: &Path) -> String {
    path.strip_prefix(base).unwrap_or(path).display().to_string()
}

/// What was read of a part of the log.
pub(super) struct Found {
    pub(super) ingested: Ingested,
    /// Not yet finished: a part's is to be put together with those of others.
    pub(super) quarantine: Quarantine,
    /// Why the first file that was left out was.
    pub(super) first_error: Option<Error>,
    /// Of a piece of a file, what it tells of the columns.
    pub(super) ending: Ending,
}

/// Reads a log and spills its events, with the threads of a pool.
pub(super) fn ingest(sources: &Sources<'_>, pool: &ThreadPool) -> Result<Ingested, Error> {
    let Found { ingested, quarantine, first_error, .. } = read(sources, pool)?;
    if ingested.report.rows_in == 0 {
        return Err(first_error.unwrap_or_else(|| empty(sources.files)));
    }
    quarantine.finish()?;
    Ok(ingested)
}

/// There is nothing in any file.
pub(super) fn empty(files: &[PathBuf]) -> Error {
    let files: Vec<String> = files.iter().map(|path| path.display().to_string()).collect();
    Error::Empty { files: files.join(", ") }
}

/// Reads a part of a log and spills its events, with the threads of a pool.
pub(super) fn read(sources: &Sources<'_>, pool: &ThreadPool) -> Result<Found, Error> {
    let spec = sources.spec;
    let columns = wanted_columns(spec, sources.files)?;
    let is_number = |role| matches!(role, Role::Number { .. });
    let numeric: Vec<String> = columns
        .iter()
        .filter(|column| is_number(column.role) && spec.columns.target.as_ref() != Some(&column.name))
        .map(|column| column.name.clone())
        .collect();
    let layout = Layout {
        categorical: columns.iter().filter(|column| column.role == Role::Categorical).count(),
        numeric: columns.iter().filter(|column| is_number(column.role)).count(),
        has_ids: spec.columns.event_id.is_some(),
    };
    let wanted: Vec<String> = columns.iter().map(|column| column.input.clone()).collect();
    let (shared, names) = (Shared::new(spec, &columns), sources.names);
    let threads = pool.current_num_threads() as u64;
    let max_group = (spec.memory.bytes() / 8 / GROUP_ROW_BYTES / threads).min(GROUP_ROWS as u64) as usize;
    let table = |file: usize| table(sources, file, &wanted, max_group);
    let spills = Buckets::new(sources.work, "spill", spec.partitions as usize, spec.memory);
    let quarantine = Quarantine::new(sources.dataset, spec.cleaning.max_quarantine.bytes());
    let is_piece = matches!(sources.part, Part::Span { .. });
    let mut committed = Committed::new(&shared, (&table, names, is_piece), layout, spills, quarantine);
    let mut feed = Feed::new(&table, &sources.part);
    let wave_bytes = WAVE_BYTES.min(spec.memory.bytes() / 32 / threads) * threads;
    pool.install(|| -> Result<(), Error> {
        let (mut units, mut ready) = (feed.wave(wave_bytes), Vec::new());
        while !units.is_empty() || !ready.is_empty() {
            let (next, done) = rayon::join(
                || {
                    std::mem::take(&mut ready).into_iter().try_for_each(|done| committed.take(done))?;
                    if let Some(file) = committed.failed_file() {
                        feed.skip(file);
                    }
                    Ok::<_, Error>(feed.wave(wave_bytes))
                },
                || {
                    let read = |unit| commit::read(&shared, (&table, names), unit);
                    units.into_par_iter().map(read).collect::<Vec<Done<'_>>>()
                },
            );
            (units, ready) = (next?, done);
            if !(sources.pulse)() {
                return Err(Error::Stopped);
            }
        }
        Ok(())
    })?;
    let Ended { spills, quarantine, report, times, first_error, ending } = committed.finish()?;
    let key_bytes = shared.bytes();
    let ingested = Ingested {
        spills: Records::Spilled(spills),
        layout,
        items: shared.items.into_keys(),
        categories: shared.categories.into_iter().map(Interner::into_keys).collect(),
        report,
        numeric,
        key_bytes,
        times,
    };
    Ok(Found { ingested, quarantine, first_error, ending })
}

/// A file and what of it is wanted.
fn table<'t>(sources: &'t Sources<'_>, file: usize, wanted: &'t [String], max_group: usize) -> Table<'t> {
    let spec = sources.spec;
    Table {
        path: &sources.files[file],
        format: spec.format,
        header: spec.header,
        wanted,
        max_row: spec.cleaning.max_row.bytes() as usize,
        max_group,
    }
}

/// The columns that are read of each file, by name; `files` are those of the whole log.
pub(super) fn wanted_names(spec: &DatasetSpec, files: &[PathBuf]) -> Result<Vec<String>, Error> {
    Ok(wanted_columns(spec, files)?.into_iter().map(|column| column.input).collect())
}
