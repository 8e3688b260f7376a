//! First pass: rows in, events out, each to the spill file of its log partition.
//!
//! Rows come one by one in the order of the files, so that provisional ids and positions do not depend on
//! threads. A file that cannot be read as a whole leaves no trace but its name: what its first rows gave is taken back.
//! Memory: the distinct keys of items and categories (of files that were left out, too), and the buffers of spills.

mod columns;
mod rows;

use std::path::{Path, PathBuf};

use muster_proto::dataset::{CleaningReport, DatasetSpec};

use super::error::Error;
use super::quarantine::Quarantine;
use super::read::{Table, read_rows};
use super::spill::Spills;
use crate::store::Keys;
use columns::{Role, wanted_columns};
use rows::Rows;

/// What the first pass found.
#[derive(Debug)]
pub(super) struct Ingested {
    pub(super) spills: Spills,
    /// Items by provisional id; 0 is the unknown one where the spec asks for it.
    pub(super) items: Keys,
    /// Keys of each categorical column by provisional id; 0 is the unknown one.
    pub(super) categories: Vec<Keys>,
    pub(super) report: CleaningReport,
    /// Names of the numeric columns, patterns expanded; a series' target is not among them.
    pub(super) numeric: Vec<String>,
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
    fn name_of(&self, path: &Path) -> String {
        path.strip_prefix(self.base).unwrap_or(path).display().to_string()
    }
}

/// Reads all files and spills their events.
pub(super) fn ingest(sources: &Sources<'_>) -> Result<Ingested, Error> {
    let spec = sources.spec;
    let columns = wanted_columns(spec, sources.files)?;
    let numeric = columns
        .iter()
        .filter(|column| {
            matches!(column.role, Role::Number { .. }) && spec.columns.target.as_ref() != Some(&column.name)
        })
        .map(|column| column.name.clone())
        .collect();
    let wanted: Vec<String> = columns.iter().map(|column| column.input.clone()).collect();
    let limit = spec.cleaning.max_quarantine.bytes();
    let quarantine = Quarantine::new(sources.dataset, limit);
    let has_ids = spec.columns.event_id.is_some();
    let spills = Spills::new(sources.work, spec.partitions, has_ids);
    let mut rows = Rows::new(spec, &columns, spills, quarantine);
    let mut first_error = None;
    for path in sources.files {
        let max_row = spec.cleaning.max_row.bytes() as usize;
        let table = Table { path, format: spec.format, header: spec.header, wanted: &wanted, max_row };
        let (name, mark) = (sources.name_of(path), rows.mark());
        match read_rows(&table, &mut |row| rows.take(path, &name, row)) {
            Err(error) if error.is_of_a_file() && !spec.cleaning.strict => {
                let why = error.to_string().replace(&path.display().to_string(), &name);
                tracing::warn!(file = name, %error, "a file is left out");
                rows.leave_out(&mark, name, why)?;
                first_error.get_or_insert(error);
            }
            read => read?,
        }
    }
    if rows.report.rows_in == 0 {
        let files: Vec<String> = sources.files.iter().map(|path| path.display().to_string()).collect();
        return Err(first_error.unwrap_or_else(|| Error::Empty { files: files.join(", ") }));
    }
    rows.finish(numeric)
}
