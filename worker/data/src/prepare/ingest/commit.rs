//! Puts what was read into the order of the log: counts, spills, rejected rows, and which files are left out.

use std::sync::Arc;

use muster_proto::dataset::{CleaningReport, LeftOut};

use super::feed::Unit;
use super::rows::{Found, Rows, Shared};
use crate::prepare::buckets::{self, Buckets};
use crate::prepare::error::Error;
use crate::prepare::quarantine::{self, Quarantine, Rejected};
use crate::prepare::read::{Ending, Layout, Piece, Table, read_piece};
use crate::prepare::spill;
use crate::prepare::window::Window;

/// What became of a unit of the log.
pub(super) enum Done<'s> {
    Begin(usize),
    Found(Result<(Found, Ending), Error>),
    /// A piece without bounds, to be read in its turn.
    Stream {
        layout: Arc<Layout>,
        piece: Piece,
        rows: Box<Rows<'s>>,
    },
    End,
    Failed(Error),
}

/// Reads a unit; any thread may.
pub(super) fn read<'s, F: Fn(usize) -> Table<'s>>(
    shared: &'s Shared<'s>,
    (table, names): (&F, &'s [String]),
    unit: Unit,
) -> Done<'s> {
    let (file, layout, piece) = match unit {
        Unit::Begin(file) => return Done::Begin(file),
        Unit::End => return Done::End,
        Unit::Failed(error) => return Done::Failed(error),
        Unit::Piece { file, layout, piece } => (file, layout, piece),
    };
    let table = table(file);
    let mut rows = Rows::new(shared, table.path, &names[file]);
    if piece.weight() == u64::MAX {
        return Done::Stream { layout, piece, rows: Box::new(rows) };
    }
    let read = read_piece(&table, &layout, piece, &mut |row| rows.take(row));
    Done::Found(read.map(|ending| (rows.take_found(), ending)))
}

/// Where everything stood before a file.
struct Mark {
    spills: buckets::Mark,
    quarantine: quarantine::Mark,
    report: CleaningReport,
    times: Option<(i64, i64)>,
}

/// The file at hand.
struct Current {
    file: usize,
    mark: Mark,
    ending: Ending,
    /// Why it is left out; what of it is still to come is passed over.
    error: Option<Error>,
}

/// The log so far.
pub(super) struct Committed<'s, F> {
    shared: &'s Shared<'s>,
    table: &'s F,
    names: &'s [String],
    /// Whether a piece of a file is read, and not whole files.
    is_piece: bool,
    layout: spill::Layout,
    spills: Buckets,
    quarantine: Quarantine,
    report: CleaningReport,
    /// The first time of an event, and the last.
    times: Option<(i64, i64)>,
    current: Option<Current>,
    first_error: Option<Error>,
    ending: Ending,
}

/// What there is when all was taken.
pub(super) struct Ended {
    pub(super) spills: Buckets,
    pub(super) quarantine: Quarantine,
    pub(super) report: CleaningReport,
    pub(super) times: Option<(i64, i64)>,
    pub(super) first_error: Option<Error>,
    pub(super) ending: Ending,
}

impl<'s, F: Fn(usize) -> Table<'s>> Committed<'s, F> {
    pub(super) fn new(
        shared: &'s Shared<'s>,
        (table, names, is_piece): (&'s F, &'s [String], bool),
        layout: spill::Layout,
        spills: Buckets,
        quarantine: Quarantine,
    ) -> Self {
        Self {
            shared,
            table,
            names,
            is_piece,
            layout,
            spills,
            quarantine,
            report: CleaningReport::default(),
            times: None,
            current: None,
            first_error: None,
            ending: Ending::default(),
        }
    }

    /// The file of which the rest need not be read.
    pub(super) fn failed_file(&self) -> Option<usize> {
        self.current.as_ref().filter(|current| current.error.is_some()).map(|current| current.file)
    }

    /// Takes what comes next in the log.
    ///
    /// # Errors
    /// Why the preparation ends here.
    pub(super) fn take(&mut self, done: Done<'_>) -> Result<(), Error> {
        if let Done::Begin(file) = done {
            self.end()?;
            let mark = Mark {
                spills: self.spills.mark(),
                quarantine: self.quarantine.mark(),
                report: self.report.clone(),
                times: self.times,
            };
            self.current = Some(Current { file, mark, ending: Ending::default(), error: None });
            return Ok(());
        }
        if self.failed_file().is_some() {
            return Ok(());
        }
        let result = match done {
            Done::Begin(_) | Done::End => Ok(()),
            Done::Failed(error) => Err(error),
            Done::Found(Err(error)) => Err(error),
            Done::Found(Ok((found, ending))) => {
                self.add_ending(ending);
                self.add(&found)
            }
            Done::Stream { layout, piece, rows } => self.stream(&layout, piece, *rows),
        };
        result.or_else(|error| self.fail(error))
    }

    /// An error of the file at hand as a whole leaves it out; any other ends the preparation.
    fn fail(&mut self, error: Error) -> Result<(), Error> {
        match &mut self.current {
            Some(current) if error.is_of_a_file() && !self.shared.spec.cleaning.strict && !self.is_piece => {
                current.error = Some(error);
                Ok(())
            }
            _ => Err(error),
        }
    }

    fn add_ending(&mut self, ending: Ending) {
        if let Some(current) = &mut self.current {
            current.ending.add(ending);
        }
    }

    fn add(&mut self, found: &Found) -> Result<(), Error> {
        let has_times = self.shared.spec.columns.time.is_some();
        let before = self.report.rows_in.cast_signed();
        for (partition, bytes) in found.spills.iter().enumerate().filter(|(_, bytes)| !bytes.is_empty()) {
            self.spills.push(partition, |buffer| {
                if has_times {
                    buffer.extend_from_slice(bytes);
                } else {
                    spill::rewrite(bytes, self.layout, (before, Window::default()), &|_, id| id, buffer);
                }
            })?;
        }
        found.rejected.iter().try_for_each(|line| self.quarantine.add_line(line))?;
        self.report.add(&found.report);
        self.times = both(self.times, found.times);
        Ok(())
    }

    fn stream(&mut self, layout: &Layout, piece: Piece, mut rows: Rows<'_>) -> Result<(), Error> {
        let Some(file) = self.current.as_ref().map(|current| current.file) else { return Ok(()) };
        let table = (self.table)(file);
        let ending = read_piece(&table, layout, piece, &mut |row| {
            rows.take(row)?;
            if rows.is_full() { self.add(&rows.take_found()) } else { Ok(()) }
        })?;
        self.add_ending(ending);
        self.add(&rows.take_found())
    }

    /// Ends the file at hand: it counts, or leaves no trace but its name.
    fn end(&mut self) -> Result<(), Error> {
        let Some(Current { file, mark, ending, error }) = self.current.take() else { return Ok(()) };
        if self.is_piece {
            self.ending = ending;
            return Ok(());
        }
        let (path, name) = ((self.table)(file).path, &self.names[file]);
        let whole = error.map_or_else(|| ending.check(path, (self.table)(file).wanted), Err);
        let Err(error) = whole else { return self.note_if_empty(&mark, name) };
        if !error.is_of_a_file() || self.shared.spec.cleaning.strict {
            return Err(error);
        }
        let why = error.to_string().replace(&path.display().to_string(), name);
        tracing::warn!(file = name, %error, "a file is left out");
        self.spills.rewind(&mark.spills)?;
        self.quarantine.rewind(mark.quarantine)?;
        (self.report, self.times) = (mark.report, mark.times);
        self.list_file(name, &why)?;
        self.report.left_out.push(LeftOut { file: name.clone(), why });
        self.first_error.get_or_insert(error);
        Ok(())
    }

    /// A file without rows is no fault that anything could be taken back for, but it should not go unseen.
    fn note_if_empty(&mut self, mark: &Mark, file: &str) -> Result<(), Error> {
        if self.report.rows_in > mark.report.rows_in {
            return Ok(());
        }
        tracing::warn!(file, "a file holds no rows");
        self.list_file(file, "holds no rows")
    }

    fn list_file(&mut self, file: &str, reason: &str) -> Result<(), Error> {
        self.quarantine.add(&Rejected { file, line: None, rule: "file", field: None, value: None, reason })
    }

    /// What there is, once all was taken.
    pub(super) fn finish(mut self) -> Result<Ended, Error> {
        self.end()?;
        self.spills.finish()?;
        let Self { spills, quarantine, report, times, first_error, ending, .. } = self;
        Ok(Ended { spills, quarantine, report, times, first_error, ending })
    }
}

/// The span of two spans.
fn both(one: Option<(i64, i64)>, other: Option<(i64, i64)>) -> Option<(i64, i64)> {
    match (one, other) {
        (Some((first, last)), Some((begin, end))) => Some((first.min(begin), last.max(end))),
        (one, other) => one.or(other),
    }
}
