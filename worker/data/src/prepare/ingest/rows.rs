//! One row at a time: what its values are, which rule rejects it, and where its event goes.

use std::borrow::Cow;
use std::path::Path;

use muster_proto::dataset::time::format_iso8601;
use muster_proto::dataset::{CleaningReport, DatasetSpec, LeftOut, OnInvalid, TimeFormat, partition_of};

use super::Ingested;
use super::columns::{Role, Wanted};
use crate::prepare::buckets;
use crate::prepare::cell::Cell;
use crate::prepare::error::Error;
use crate::prepare::intern::Interner;
use crate::prepare::quarantine::{self, Quarantine, Rejected};
use crate::prepare::read::Row;
use crate::prepare::rules;
use crate::prepare::spill::{Event, Spills};

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

/// All rows of the input, as they come.
pub(super) struct Rows<'s> {
    spec: &'s DatasetSpec,
    columns: &'s [Wanted<'s>],
    time_bounds: (i64, i64),
    max_field: usize,
    items: Interner,
    categories: Vec<Interner>,
    spills: Spills,
    quarantine: Quarantine,
    pub(super) report: CleaningReport,
    event: Scratch,
}

/// Where everything stood before a file.
pub(super) struct Mark {
    spills: buckets::Mark,
    quarantine: quarantine::Mark,
    report: CleaningReport,
}

impl<'s> Rows<'s> {
    pub(super) fn new(
        spec: &'s DatasetSpec,
        columns: &'s [Wanted<'s>],
        spills: Spills,
        quarantine: Quarantine,
    ) -> Self {
        let n_categorical = columns.iter().filter(|column| column.role == Role::Categorical).count();
        let has_unknown = spec.vocabulary.min_train_events > 0;
        Self {
            spec,
            columns,
            time_bounds: spec.cleaning.time_bounds(),
            max_field: spec.cleaning.max_field.bytes() as usize,
            items: if has_unknown { unknown_only() } else { Interner::default() },
            categories: (0..n_categorical).map(|_| unknown_only()).collect(),
            spills,
            quarantine,
            report: CleaningReport::default(),
            event: Scratch::default(),
        }
    }

    /// Takes a row of the file at `path`, which reports call `name`.
    pub(super) fn take(&mut self, path: &Path, name: &str, row: Row<'_>) -> Result<(), Error> {
        self.report.rows_in += 1;
        let line = row.line;
        let (cells, unusable) = match row.cells {
            Err(what) => (None, Unusable::Invalid { column: None, what }),
            Ok(cells) => match self.read_event(cells) {
                Ok(()) => return self.spill(),
                Err(unusable) => (Some(cells), unusable),
            },
        };
        let (rule, column, what) = match unusable {
            Unusable::Fatal(error) => return Err(error),
            Unusable::Dropped { rule, column, what } => (rule, Some(column), what),
            Unusable::Invalid { column, what } if self.spec.cleaning.on_invalid == OnInvalid::Drop => {
                (rules::INVALID.into(), column, what)
            }
            Unusable::Invalid { column: None, what } => {
                return Err(Error::Row { path: path.to_owned(), line, what });
            }
            Unusable::Invalid { column: Some(column), what } => {
                let column = self.columns[column].input.clone();
                return Err(Error::Value { path: path.to_owned(), line, column, what });
            }
        };
        self.report.drop_rows(&rule, 1);
        self.quarantine.add(&Rejected {
            file: name,
            line: Some(line),
            rule: &rule,
            field: column.map(|column| self.columns[column].input.as_str()),
            value: column.zip(cells).and_then(|(column, cells)| cells[column].shown()),
            reason: &what,
        })
    }

    pub(super) fn mark(&self) -> Mark {
        Mark { spills: self.spills.mark(), quarantine: self.quarantine.mark(), report: self.report.clone() }
    }

    /// Takes back what came since `mark` and notes the file that it came from.
    pub(super) fn leave_out(&mut self, mark: &Mark, file: String, why: String) -> Result<(), Error> {
        self.spills.rewind(&mark.spills)?;
        self.quarantine.rewind(mark.quarantine)?;
        self.report = mark.report.clone();
        self.quarantine.add(&Rejected {
            file: &file,
            line: None,
            rule: "file",
            field: None,
            value: None,
            reason: &why,
        })?;
        self.report.left_out.push(LeftOut { file, why });
        Ok(())
    }

    pub(super) fn finish(mut self, numeric: Vec<String>) -> Result<Ingested, Error> {
        self.spills.finish()?;
        self.quarantine.finish()?;
        Ok(Ingested {
            spills: self.spills,
            items: self.items.into_keys(),
            categories: self.categories.into_iter().map(Interner::into_keys).collect(),
            report: self.report,
            numeric,
        })
    }

    fn read_event(&mut self, cells: &[Cell<'_>]) -> Result<(), Unusable> {
        let event = &mut self.event;
        event.categorical.clear();
        event.numeric.clear();
        (event.item, event.time, event.id) = (0, None, 0);
        for (column, cell) in cells.iter().enumerate() {
            if let Cell::Text(text) = cell
                && text.len() > self.max_field
            {
                let (len, most) = (text.len(), self.max_field);
                let what = format!("is {len} bytes long, over {most} (`cleaning.max_field`)");
                return Err(Unusable::Invalid { column: Some(column), what });
            }
            if cell.is_missing(&self.spec.cleaning.missing) {
                self.take_missing(column)?;
            } else {
                self.take_value(column, cell)?;
            }
        }
        Ok(())
    }

    fn take_missing(&mut self, column: usize) -> Result<(), Unusable> {
        let wanted = &self.columns[column];
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
        let wanted = &self.columns[column];
        match wanted.role {
            Role::User => cell.write_key(&mut event.user).map_err(invalid)?,
            Role::Item => {
                cell.write_key(&mut event.key).map_err(invalid)?;
                let limit = self.spec.cleaning.max_items;
                let unknown = u32::from(self.spec.vocabulary.min_train_events > 0);
                let id = self.items.intern(&event.key, limit.saturating_add(unknown));
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
                let id = categories.intern(&event.key, u32::MAX);
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
        let format = self.spec.columns.time_format;
        let time = cell.time(format).map_err(|what| Unusable::Invalid { column: Some(column), what })?;
        let (min, max) = self.time_bounds;
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

    fn spill(&mut self) -> Result<(), Error> {
        let event = &self.event;
        let partition = partition_of(&event.user, self.spec.partitions) as usize;
        let record = Event {
            user: &event.user,
            item: event.item,
            time: event.time.unwrap_or_else(|| self.report.rows_in.cast_signed()),
            categorical: &event.categorical,
            numeric: &event.numeric,
            id: event.id,
        };
        self.spills.push(partition, &record)
    }
}

fn unknown_only() -> Interner {
    let mut interner = Interner::default();
    interner.intern("", u32::MAX);
    interner
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
