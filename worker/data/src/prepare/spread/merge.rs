//! Puts together what workers found in their shares of the input, as if one process had read them in the order of the log.

use std::ops::Range;
use std::path::{Path, PathBuf};

use muster_proto::dataset::{CleaningReport, DatasetSpec, FileEntry, LeftOut};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::crew::Outcome;
use super::files;
use crate::prepare::error::{Error, Told};
use crate::prepare::ingest::{self, Ingested, Records};
use crate::prepare::intern::Interner;
use crate::prepare::merged::{Merged, Origin, Part, renumber};
use crate::prepare::quarantine::{Quarantine, Rejected};
use crate::prepare::read::Ending;
use crate::prepare::spill::Layout;
use crate::prepare::window::Window;

/// What a worker found in a share, in a file of the share's folder.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct ShareFile {
    pub(super) report: CleaningReport,
    /// Rejected rows that its quarantine had no room for.
    pub(super) omitted: u64,
    /// Why the first file that was left out was.
    pub(super) first_error: Option<Told>,
    /// Of a piece of a file, what it tells of the columns.
    pub(super) ending: Ending,
    pub(super) layout: Layout,
    pub(super) numeric: Vec<String>,
    /// Records by log partition; those without any have no file.
    pub(super) records: Vec<Option<FileEntry>>,
    pub(super) items: FileEntry,
    pub(super) categories: Vec<FileEntry>,
}

impl ShareFile {
    /// Its name in the share's folder.
    pub(super) const NAME: &'static str = "share";
}

/// The log so far.
pub(super) struct Merging<'m> {
    spec: &'m DatasetSpec,
    /// The input files as they are named here, as workers name them, and as reports do.
    given: &'m [PathBuf],
    absolute: &'m [PathBuf],
    names: &'m [String],
    folder: &'m Path,
    items: Interner,
    categories: Vec<Interner>,
    parts: Vec<Part>,
    quarantine: Quarantine,
    report: CleaningReport,
    /// What records hold, and the names of the numeric columns; the same in all shares.
    columns: Option<(Layout, Vec<String>)>,
    first_error: Option<Error>,
}

impl<'m> Merging<'m> {
    pub(super) fn new(
        spec: &'m DatasetSpec,
        (given, absolute, names): (&'m [PathBuf], &'m [PathBuf], &'m [String]),
        folder: &'m Path,
        dataset: &Path,
    ) -> Self {
        Self {
            spec,
            given,
            absolute,
            names,
            folder,
            items: Interner::of_items(spec).0,
            categories: vec![],
            parts: vec![],
            quarantine: Quarantine::new(dataset, spec.cleaning.max_quarantine.bytes()),
            report: CleaningReport::default(),
            columns: None,
            first_error: None,
        }
    }

    /// Takes a share of whole files.
    pub(super) fn take_files(&mut self, files: Range<usize>, outcome: Outcome) -> Result<(), Error> {
        let outcome = outcome.map_err(|told| self.named_here(files.clone(), told))?;
        let (dir, mut share) = self.open(&outcome)?;
        if let Some(told) = share.first_error.take() {
            let error = self.named_here(files, told);
            self.first_error.get_or_insert(error);
        }
        self.take(dir, share)
    }

    /// Takes a file that was read in pieces: it counts whole, or leaves no trace but its name.
    pub(super) fn take_pieces(&mut self, file: usize, pieces: Vec<Outcome>) -> Result<(), Error> {
        let whole = self.whole(file, pieces);
        let name = &self.names[file];
        let shares = match whole {
            Ok(shares) => shares,
            Err(error) if error.is_of_a_file() && !self.spec.cleaning.strict => {
                let why = error.to_string().replace(&self.given[file].display().to_string(), name);
                tracing::warn!(file = name, %error, "a file is left out");
                self.list_file(name, &why)?;
                self.report.left_out.push(LeftOut { file: name.clone(), why });
                self.first_error.get_or_insert(error);
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        let before = self.report.rows_in;
        shares.into_iter().try_for_each(|(dir, share)| self.take(dir, share))?;
        if self.report.rows_in == before {
            tracing::warn!(file = name, "a file holds no rows");
            self.list_file(name, "holds no rows")?;
        }
        Ok(())
    }

    /// All pieces of a file, or the first error in it.
    fn whole(&self, file: usize, pieces: Vec<Outcome>) -> Result<Vec<(PathBuf, ShareFile)>, Error> {
        let (mut shares, mut ending) = (Vec::new(), Ending::default());
        for outcome in pieces {
            let outcome = outcome.map_err(|told| self.named_here(file..file + 1, told))?;
            let (dir, mut share) = self.open(&outcome)?;
            ending.add(std::mem::take(&mut share.ending));
            shares.push((dir, share));
        }
        let wanted = ingest::wanted_names(self.spec, self.given)?;
        ending.check(&self.given[file], &wanted)?;
        Ok(shares)
    }

    fn open(&self, result: &Value) -> Result<(PathBuf, ShareFile), Error> {
        let nameless =
            || Error::Dealing { what: format!("a worker answered {result}, which names no folder") };
        let dir = self.folder.join(result.as_str().ok_or_else(nameless)?);
        let share = files::load(&dir.join(ShareFile::NAME))?;
        Ok((dir, share))
    }

    fn take(&mut self, dir: PathBuf, share: ShareFile) -> Result<(), Error> {
        let (layout, numeric) = self.columns.get_or_insert((share.layout, share.numeric.clone()));
        if (*layout, &*numeric) != (share.layout, &share.numeric) {
            let what = "it has other columns than those before it: did an input file change?".to_owned();
            return Err(Error::Shared { path: dir, what });
        }
        let item = self.spec.columns.item.as_deref().unwrap_or("item");
        let unknown = u32::from(self.spec.vocabulary.min_train_events > 0);
        let limit = self.spec.cleaning.max_items;
        let origin = Origin::Shares;
        let path = |file: &FileEntry| dir.join(&file.file);
        let mut ids =
            vec![renumber(&path(&share.items), &share.items, origin, &self.items, (item, limit, unknown))?];
        self.categories.resize_with(share.categories.len(), Interner::with_unknown);
        for (file, interner) in share.categories.iter().zip(&self.categories) {
            ids.push(renumber(&path(file), file, origin, interner, ("category", u32::MAX, 0))?);
        }
        let has_times = self.spec.columns.time.is_some();
        let by = if has_times { 0 } else { self.report.rows_in.cast_signed() };
        self.quarantine.add_part(&dir, share.omitted)?;
        self.report.add(&share.report);
        self.parts.push(Part { dir, records: share.records, ids, by });
        Ok(())
    }

    fn list_file(&mut self, file: &str, reason: &str) -> Result<(), Error> {
        self.quarantine.add(&Rejected { file, line: None, rule: "file", field: None, value: None, reason })
    }

    /// What a worker said of some files, with their names as they are given here.
    fn named_here(&self, files: Range<usize>, told: Told) -> Error {
        // Those of the log are looked at for their columns by every worker.
        let named =
            files.chain(0..1).fold(told, |told, file| told.renamed(&self.absolute[file], &self.given[file]));
        named.into()
    }

    /// What one process would have found.
    pub(super) fn finish(self) -> Result<Ingested, Error> {
        let Some((layout, numeric)) = self.columns.filter(|_| self.report.rows_in > 0) else {
            return Err(self.first_error.unwrap_or_else(|| ingest::empty(self.given)));
        };
        self.quarantine.finish()?;
        let key_bytes = self.items.bytes() + self.categories.iter().map(Interner::bytes).sum::<u64>();
        Ok(Ingested {
            spills: Records::Merged(Merged::new(self.parts, layout, Origin::Shares, Window::default())),
            layout,
            items: self.items.into_keys(),
            categories: self.categories.into_iter().map(Interner::into_keys).collect(),
            report: self.report,
            numeric,
            key_bytes,
            // Whoever read a share knows its own, and nobody asks for them all.
            times: None,
        })
    }
}
