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

use std::path::{Path, PathBuf};

use muster_proto::dataset::{CleaningReport, DatasetSpec};
use rayon::ThreadPool;
use rayon::prelude::*;

use super::buckets::Buckets;
use super::error::Error;
use super::growing::Merged;
use super::intern::Interner;
use super::quarantine::Quarantine;
use super::read::{GROUP_ROWS, Table};
use super::spill::Layout;
use crate::store::Keys;
use columns::{Role, wanted_columns};
use commit::{Committed, Done};
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
}

/// Where the records of events are.
#[derive(Debug)]
pub(super) enum Records {
    /// In the files of this preparation.
    Spilled(Buckets),
    /// In the increments of a base.
    Merged(Merged),
}

impl Records {
    /// Bytes of the records of a log partition.
    pub(super) fn bytes(&self, partition: usize) -> u64 {
        match self {
            Self::Spilled(spills) => spills.bytes(partition),
            Self::Merged(merged) => merged.bytes(partition),
        }
    }

    /// The records of a log partition; once only.
    pub(super) fn take(&self, partition: usize) -> Result<Vec<u8>, Error> {
        match self {
            Self::Spilled(spills) => spills.take(partition),
            Self::Merged(merged) => merged.read(partition),
        }
    }
}

/// What is read, from where, and where to.
#[derive(Clone, Copy)]
pub(super) struct Sources<'s> {
    pub(super) spec: &'s DatasetSpec,
    pub(super) files: &'s [PathBuf],
    /// The folder below which files are named by their relative path.
    pub(super) base: &'s Path,
    /// Where spills go.
    pub(super) work: &'s Path,
    /// Where the quarantine goes.
    pub(super) dataset: &'s Path,
}

impl Sources<'_> {
    fn names(&self) -> Vec<String> {
        self.files.iter().map(|path| name_of(path, self.base)).collect()
    }
}

/// What reports and bases call a file: its path below the folder that relative ones start from, or else all of it.
pub(super) fn name_of(path: &Path, base: &Path) -> String {
    path.strip_prefix(base).unwrap_or(path).display().to_string()
}

/// Reads all files and spills their events, with the threads of a pool.
pub(super) fn ingest(sources: &Sources<'_>, pool: &ThreadPool) -> Result<Ingested, Error> {
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
    let (shared, names) = (Shared::new(spec, &columns), sources.names());
    let threads = pool.current_num_threads() as u64;
    let max_group = (spec.memory.bytes() / 8 / GROUP_ROW_BYTES / threads).min(GROUP_ROWS as u64) as usize;
    let table = |file: usize| Table {
        path: &sources.files[file],
        format: spec.format,
        header: spec.header,
        wanted: &wanted,
        max_row: spec.cleaning.max_row.bytes() as usize,
        max_group,
    };
    let spills = Buckets::new(sources.work, "spill", spec.partitions as usize, spec.memory);
    let quarantine = Quarantine::new(sources.dataset, spec.cleaning.max_quarantine.bytes());
    let mut committed = Committed::new(&shared, (&table, &names), layout, spills, quarantine);
    let mut feed = Feed::new(&table, sources.files.len());
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
                    let read = |unit| commit::read(&shared, (&table, &names), unit);
                    units.into_par_iter().map(read).collect::<Vec<Done<'_>>>()
                },
            );
            (units, ready) = (next?, done);
        }
        Ok(())
    })?;
    let (spills, report) = committed.finish(sources.files)?;
    let key_bytes = shared.bytes();
    Ok(Ingested {
        spills: Records::Spilled(spills),
        layout,
        items: shared.items.into_keys(),
        categories: shared.categories.into_iter().map(Interner::into_keys).collect(),
        report,
        numeric,
        key_bytes,
    })
}
