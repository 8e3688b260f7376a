//! One row at a time: what its values are, which rule rejects it, and which event it is.

use std::borrow::Cow;
use std::path::Path;

use muster_proto::dataset::time::format_iso8601;
use muster_proto::dataset::{CleaningReport, DatasetSpec, OnInvalid, TimeFormat, partition_of};

use super::columns::{Role, Wanted};
use crate::prepare::cell::{Cell, Missing};
use crate::prepare::error::Error;
use crate::prepare::intern::{Interner, Known};
use crate::prepare::quarantine::{self, Rejected};
use crate::prepare::read::Row;
use crate::prepare::rules;
use crate::prepare::spill::{self, Event};

/// What all threads know.
pub(super) struct Shared<'s> {
    pub(super) spec: &'s DatasetSpec,
    pub(super) columns: &'s [Wanted<'s>],
    missing: Missing,
    time_bounds: (i64, i64),
    max_field: usize,
    pub(super) items: Interner,
    /// The bound of their ids.
    max_items: u32,
    pub(super) categories: Vec<Interner>,
}

impl<'s> Shared<'s> {
    pub(super) fn new(spec: &'s DatasetSpec, columns: &'s [Wanted<'s>]) -> Self {
        let n_categorical = columns.iter().filter(|column| column.role == Role::Categorical).count();
        let (items, max_items) = Interner::of_items(spec);
        Self {
            spec,
            columns,
            missing: Missing::new(&spec.cleaning.missing),
            time_bounds: spec.cleaning.time_bounds(),
            max_field: spec.cleaning.max_field.bytes() as usize,
            items,
            max_items,
            categories: (0..n_categorical).map(|_| Interner::with_unknown()).collect(),
        }
    }

    /// About the bytes of memory that keys take.
    pub(super) fn bytes(&self) -> u64 {
        self.items.bytes() + self.categories.iter().map(Interner::bytes).sum::<u64>()
    }
}

/// What rows became.
#[derive(Debug)]
pub(super) struct Found {
    /// Records of events, by log partition. Without times, theirs are the positions among these rows, from 1.
    pub(super) spills: Vec<Vec<u8>>,
    /// Lines for the quarantine.
    pub(super) rejected: Vec<Vec<u8>>,
    pub(super) report: CleaningReport,
    /// The first time of an event, and the last; none without times.
    pub(super) times: Option<(i64, i64)>,
    bytes: usize,
}

impl Found {
    fn new(partitions: u32) -> Self {
        let spills = vec![Vec::new(); partitions as usize];
        Self { spills, rejected: vec![], report: CleaningReport::default(), times: None, bytes: 0 }
    }
}

/// What is known of the row at hand.
#[derive(Debug, Default)]
struct Scratch {
    user: String,
    key: String,
    item: u32,
    time: Option<i64>,
    id: u128,
    categorical: Vec<u32>,
    numeric: Vec<f32>,
}

/// Why a row is no event.
enum Unusable {
    /// A rule drops it for the value of a column.
    Dropped { rule: Cow<'static, str>, column: usize, what: String },
    /// It, or its value of a column, cannot be used.
    Invalid { column: Option<usize>, what: String },
    /// Nothing can go on.
    Fatal(Error),
}

/// Rows of a file, as one thread reads them.
pub(super) struct Rows<'s> {
    shared: &'s Shared<'s>,
    path: &'s Path,
    /// What reports call the file.
    name: &'s str,
    categories: Vec<Known<'s>>,
    event: Scratch,
    found: Found,
}

impl<'s> Rows<'s> {
    /// Bytes of records and rejected rows after which they should be taken.
    const FULL: usize = 4 << 20;

    pub(super) fn new(shared: &'s Shared<'s>, path: &'s Path, name: &'s str) -> Self {
        Self {
            shared,
            path,
            name,
            categories: shared.categories.iter().map(Known::new).collect(),
            event: Scratch::default(),
            found: Found::new(shared.spec.partitions),
        }
    }

    /// What the rows so far became.
    pub(super) fn take_found(&mut self) -> Found {
        std::mem::replace(&mut self.found, Found::new(self.shared.spec.partitions))
    }

    pub(super) fn is_full(&self) -> bool {
        self.found.bytes >= Self::FULL
    }

    /// Takes the next row.
    pub(super) fn take(&mut self, row: Row<'_>) -> Result<(), Error> {
        self.found.report.rows_in += 1;
        let line = row.line;
        let (cells, unusable) = match row.cells {
            Err(what) => (None, Unusable::Invalid { column: None, what }),
            Ok(cells) => match self.read_event(cells) {
                Ok(()) => {
                    self.spill();
                    return Ok(());
                }
                Err(unusable) => (Some(cells), unusable),
            },
        };
        let columns = self.shared.columns;
        let (rule, column, what) = match unusable {
            Unusable::Fatal(error) => return Err(error),
            Unusable::Dropped { rule, column, what } => (rule, Some(column), what),
            Unusable::Invalid { column, what } if self.shared.spec.cleaning.on_invalid == OnInvalid::Drop => {
                (rules::INVALID.into(), column, what)
            }
            Unusable::Invalid { column: None, what } => {
                return Err(Error::Row { path: self.path.to_owned(), line, what });
            }
            Unusable::Invalid { column: Some(column), what } => {
                let column = columns[column].input.clone();
                return Err(Error::Value { path: self.path.to_owned(), line, column, what });
            }
        };
        self.found.report.drop_rows(&rule, 1);
        let line = quarantine::line(&Rejected {
            file: self.name,
            line: Some(line),
            rule: &rule,
            field: column.map(|column| columns[column].input.as_str()),
            value: column.zip(cells).and_then(|(column, cells)| cells[column].shown()),
            reason: &what,
        })?;
        self.found.bytes += line.len();
        self.found.rejected.push(line);
        Ok(())
    }

    fn read_event(&mut self, cells: &[Cell<'_>]) -> Result<(), Unusable> {
        let event = &mut self.event;
        event.categorical.clear();
        event.numeric.clear();
        (event.item, event.time, event.id) = (0, None, 0);
        for (column, cell) in cells.iter().enumerate() {
            if let Cell::Text(text) = cell
                && text.len() > self.shared.max_field
            {
                let (len, most) = (text.len(), self.shared.max_field);
                let what = format!("is {len} bytes long, over {most} (`cleaning.max_field`)");
                return Err(Unusable::Invalid { column: Some(column), what });
            }
            if cell.is_missing(&self.shared.missing) {
                self.take_missing(column)?;
            } else {
                self.take_value(column, cell)?;
            }
        }
        Ok(())
    }

    fn take_missing(&mut self, column: usize) -> Result<(), Unusable> {
        let wanted = &self.shared.columns[column];
        let drop = |rule| Err(Unusable::Dropped { rule, column, what: "the value is missing".to_owned() });
        match wanted.role {
            Role::User => drop(rules::MISSING_USER.into()),
            Role::Item => drop(rules::MISSING_ITEM.into()),
            Role::Time => drop(rules::MISSING_TIME.into()),
            _ if wanted.is_required => drop(format!("{}{}", rules::MISSING, wanted.name).into()),
            // Without an id of its own an event repeats none.
            Role::EventId => Ok(()),
            Role::Categorical => {
                self.event.categorical.push(0);
                Ok(())
            }
            Role::Number { .. } => {
                self.event.numeric.push(0.0);
                Ok(())
            }
        }
    }

    fn take_value(&mut self, column: usize, cell: &Cell<'_>) -> Result<(), Unusable> {
        let event = &mut self.event;
        let invalid = |what| Unusable::Invalid { column: Some(column), what };
        let wanted = &self.shared.columns[column];
        match wanted.role {
            Role::User => cell.write_key(&mut event.user).map_err(invalid)?,
            Role::Item => {
                cell.write_key(&mut event.key).map_err(invalid)?;
                let limit = self.shared.spec.cleaning.max_items;
                let id = self.shared.items.intern(&event.key, self.shared.max_items);
                let hint = "raise `cleaning.max_items`, or name another column";
                event.item = id.ok_or_else(|| too_many(&wanted.input, limit, hint))?;
            }
            Role::Time => {
                let time = self.time(column, cell)?;
                self.event.time = Some(time);
            }
            Role::EventId => {
                cell.write_key(&mut event.key).map_err(invalid)?;
                event.id = id_of(&event.key);
            }
            Role::Categorical => {
                cell.write_key(&mut event.key).map_err(invalid)?;
                let categories = &mut self.categories[event.categorical.len()];
                let id = categories.intern(&event.key);
                let hint = "is it a category at all?";
                event.categorical.push(id.ok_or_else(|| too_many(&wanted.input, u32::MAX, hint))?);
            }
            Role::Number { non_negative, is_label, log1p } => {
                let value = number(cell, non_negative, is_label).map_err(invalid)?;
                if let Some(range) = wanted.range.filter(|range| !range.holds(value)) {
                    let bound = |bound: Option<f64>| bound.map_or_else(String::new, |b| b.to_string());
                    let what = format!("{value} is not in {}..={}", bound(range.min), bound(range.max));
                    let rule = format!("{}{}", rules::OUT_OF_RANGE, wanted.name).into();
                    return Err(Unusable::Dropped { rule, column, what });
                }
                event.numeric.push(stored(value, log1p).map_err(invalid)?);
            }
        }
        Ok(())
    }

    fn time(&self, column: usize, cell: &Cell<'_>) -> Result<i64, Unusable> {
        let format = self.shared.spec.columns.time_format;
        let time = cell.time(format).map_err(|what| Unusable::Invalid { column: Some(column), what })?;
        let (min, max) = self.shared.time_bounds;
        if (min..=max).contains(&time) {
            return Ok(time);
        }
        let mut what = format!("is not in {} to {}", format_iso8601(min), format_iso8601(max));
        // A number of seconds that is three or six digits too long is in another unit.
        if format == TimeFormat::Seconds
            && let Ok(auto) = cell.time(TimeFormat::UnixAuto)
            && (min..=max).contains(&auto)
        {
            what.push_str(", another unit? `columns.time_format = \"unix_auto\"` tells units apart");
        }
        let rule = rules::IMPOSSIBLE_TIME.into();
        Err(Unusable::Dropped { rule, column, what })
    }

    fn spill(&mut self) {
        let (event, spec) = (&self.event, self.shared.spec);
        let partition = partition_of(&event.user, spec.partitions) as usize;
        let record = Event {
            user: &event.user,
            item: event.item,
            time: event.time.unwrap_or_else(|| self.found.report.rows_in.cast_signed()),
            categorical: &event.categorical,
            numeric: &event.numeric,
            id: event.id,
        };
        if let Some(time) = event.time {
            let (first, last) = self.found.times.unwrap_or((time, time));
            self.found.times = Some((first.min(time), last.max(time)));
        }
        let buffer = &mut self.found.spills[partition];
        let before = buffer.len();
        spill::write(buffer, &record, spec.columns.event_id.is_some());
        self.found.bytes += buffer.len() - before;
    }
}

fn too_many(column: &str, limit: u32, hint: &'static str) -> Unusable {
    Unusable::Fatal(Error::TooManyValues { column: column.to_owned(), limit, hint })
}

/// The first 16 bytes of BLAKE3 of an event's id; never 0, which stands for none.
fn id_of(key: &str) -> u128 {
    let mut part = [0; 16];
    part.copy_from_slice(&blake3::hash(key.as_bytes()).as_bytes()[..16]);
    u128::from_le_bytes(part).max(1)
}

fn number(cell: &Cell<'_>, non_negative: bool, is_label: bool) -> Result<f64, String> {
    let value = cell.number()?;
    if value.is_nan() {
        return Err("is NaN".to_owned());
    }
    if non_negative && value < 0.0 {
        return Err(format!("{value} is negative"));
    }
    if is_label && value != 0.0 && value != 1.0 {
        return Err(format!("{value} is neither 0 nor 1"));
    }
    Ok(value)
}

fn stored(value: f64, log1p: bool) -> Result<f32, String> {
    if log1p && value <= -1.0 {
        return Err(format!("{value} has no ln(1 + value)"));
    }
    let number = if log1p { value.ln_1p() } else { value } as f32;
    if number.is_finite() { Ok(number) } else { Err(format!("{value} is over the range of 32-bit numbers")) }
}
