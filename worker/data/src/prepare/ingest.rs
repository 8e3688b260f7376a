//! First pass: rows in, events out, each to the spill file of its log partition.
//!
//! Rows come one by one in the order of the files, so that provisional ids and positions do not depend on
//! threads.

use std::path::{Path, PathBuf};

use muster_proto::dataset::{
    CleaningReport, ColumnKind, DatasetKind, DatasetSpec, Format, GroupBy, OnInvalid, partition_of,
};

use super::cell::Cell;
use super::error::Error;
use super::intern::Interner;
use super::read::{Row, Table, column_names, read_rows};
use super::rules;
use super::spill::{Event, Spills};
use crate::store::Keys;

/// What the first pass found.
#[derive(Debug)]
pub(super) struct Ingested {
    pub(super) spills: Spills,
    pub(super) items: Keys,
    /// Keys of each categorical column by provisional id; 0 is the unknown one.
    pub(super) categories: Vec<Keys>,
    pub(super) report: CleaningReport,
    /// Names of the numeric columns, patterns expanded; a series' target is not among them.
    pub(super) numeric: Vec<String>,
}

/// How a column of the input is used, in the order of the wanted columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    User,
    Item,
    Time,
    Categorical,
    Number { non_negative: bool, is_label: bool, log1p: bool },
}

/// Reads all files and spills their events below `dir`.
pub(super) fn ingest(spec: &DatasetSpec, files: &[PathBuf], dir: &Path) -> Result<Ingested, Error> {
    let columns = wanted_columns(spec, &files[0])?;
    let numeric = columns
        .iter()
        .filter(|(_, name, role)| {
            matches!(role, Role::Number { .. }) && spec.columns.target.as_ref() != Some(name)
        })
        .map(|(_, name, _)| name.clone())
        .collect();
    let wanted: Vec<String> = columns.iter().map(|(input, ..)| input.clone()).collect();
    let n_categorical = columns.iter().filter(|(.., role)| *role == Role::Categorical).count();
    let mut rows = Rows {
        spec,
        roles: columns.iter().map(|(.., role)| *role).collect(),
        wanted: &wanted,
        time_bounds: spec.cleaning.time_bounds(),
        items: Interner::default(),
        categories: (0..n_categorical).map(|_| unknown_only()).collect(),
        spills: Spills::new(dir, spec.partitions),
        report: CleaningReport::default(),
        event: Scratch::default(),
    };
    for path in files {
        let table = Table { path, format: spec.format, header: spec.header, wanted: &wanted };
        read_rows(&table, &mut |row| rows.take(path, row))?;
    }
    if rows.report.rows_in == 0 {
        let files: Vec<String> = files.iter().map(|path| path.display().to_string()).collect();
        return Err(Error::Empty { files: files.join(", ") });
    }
    rows.spills.finish()?;
    Ok(Ingested {
        spills: rows.spills,
        items: rows.items.into_keys(),
        categories: rows.categories.into_iter().map(Interner::into_keys).collect(),
        report: rows.report,
        numeric,
    })
}

fn unknown_only() -> Interner {
    let mut interner = Interner::default();
    interner.intern("", u32::MAX);
    interner
}

/// Name in the input, name in the dataset and role of each column that is read.
fn wanted_columns(spec: &DatasetSpec, first: &Path) -> Result<Vec<(String, String, Role)>, Error> {
    let mut wanted = Vec::new();
    let mut add = |input: &str, name: &str, role| wanted.push((input.to_owned(), name.to_owned(), role));
    if spec.format == Format::Lines {
        add("user", "user", Role::User);
        add("item", "item", Role::Item);
        return Ok(wanted);
    }
    let columns = &spec.columns;
    let key = match spec.sequences.group_by {
        GroupBy::User => &columns.user,
        GroupBy::Session => &columns.session,
    };
    let roles = [(key, Role::User), (&columns.item, Role::Item), (&columns.time, Role::Time)];
    for (column, role) in roles {
        if let Some(column) =
            column.as_ref().filter(|_| role != Role::Item || spec.kind == DatasetKind::Events)
        {
            add(column, column, role);
        }
    }
    let table = Table { path: first, format: spec.format, header: spec.header, wanted: &[] };
    let mut names = None;
    for feature in columns.features() {
        let role = match feature.kind {
            ColumnKind::Categorical => Role::Categorical,
            ColumnKind::Numeric => Role::Number {
                non_negative: feature.name == "price",
                is_label: feature.name == "label",
                log1p: columns.log1p.contains(&feature.name),
            },
        };
        let Some(prefix) = feature.input.strip_suffix('*') else {
            add(&feature.input, &feature.name, role);
            continue;
        };
        let names = match &mut names {
            Some(names) => names,
            none => none.insert(column_names(&table)?),
        };
        let mut matching = names.iter().filter(|name| name.starts_with(prefix)).peekable();
        if matching.peek().is_none() {
            let known = names.join(", ");
            return Err(Error::NoColumn { path: first.to_owned(), column: feature.input, known });
        }
        matching.for_each(|name| add(name, name, role));
    }
    if let Some(target) = &columns.target {
        add(target, target, Role::Number { non_negative: false, is_label: false, log1p: false });
    }
    Ok(wanted)
}

/// What is known of the row at hand.
#[derive(Debug, Default)]
struct Scratch {
    user: String,
    key: String,
    item: u32,
    time: Option<i64>,
    categorical: Vec<u32>,
    numeric: Vec<f32>,
}

/// Why a row is no event.
enum Unusable {
    /// A rule drops it.
    Dropped(&'static str),
    /// A value of a column cannot be used.
    Invalid { column: usize, what: String },
    /// Nothing can go on.
    Fatal(Error),
}

struct Rows<'s> {
    spec: &'s DatasetSpec,
    roles: Vec<Role>,
    wanted: &'s [String],
    time_bounds: (i64, i64),
    items: Interner,
    categories: Vec<Interner>,
    spills: Spills,
    report: CleaningReport,
    event: Scratch,
}

impl Rows<'_> {
    fn take(&mut self, path: &Path, row: Row<'_>) -> Result<(), Error> {
        self.report.rows_in += 1;
        let drops_invalid = self.spec.cleaning.on_invalid == OnInvalid::Drop;
        let cells = match row.cells {
            Ok(cells) => cells,
            Err(_) if drops_invalid => {
                self.report.drop_rows(rules::INVALID, 1);
                return Ok(());
            }
            Err(what) => return Err(Error::Row { path: path.to_owned(), line: row.line, what }),
        };
        match self.read_event(cells) {
            Ok(()) => self.spill(),
            Err(Unusable::Dropped(rule)) => {
                self.report.drop_rows(rule, 1);
                Ok(())
            }
            Err(Unusable::Invalid { .. }) if drops_invalid => {
                self.report.drop_rows(rules::INVALID, 1);
                Ok(())
            }
            Err(Unusable::Invalid { column, what }) => {
                let column = self.wanted[column].clone();
                Err(Error::Value { path: path.to_owned(), line: row.line, column, what })
            }
            Err(Unusable::Fatal(error)) => Err(error),
        }
    }

    fn read_event(&mut self, cells: &[Cell<'_>]) -> Result<(), Unusable> {
        let missing = &self.spec.cleaning.missing;
        let event = &mut self.event;
        event.categorical.clear();
        event.numeric.clear();
        (event.item, event.time) = (0, None);
        for (column, (cell, role)) in cells.iter().zip(&self.roles).enumerate() {
            let invalid = |what| Unusable::Invalid { column, what };
            let is_missing = cell.is_missing(missing);
            match role {
                Role::User if is_missing => return Err(Unusable::Dropped(rules::MISSING_USER)),
                Role::User => cell.write_key(&mut event.user).map_err(invalid)?,
                Role::Item if is_missing => return Err(Unusable::Dropped(rules::MISSING_ITEM)),
                Role::Item => {
                    cell.write_key(&mut event.key).map_err(invalid)?;
                    let limit = self.spec.cleaning.max_items;
                    event.item = self.items.intern(&event.key, limit).ok_or_else(|| {
                        let hint = "raise `cleaning.max_items`, or name another column";
                        too_many(&self.wanted[column], limit, hint)
                    })?;
                }
                Role::Time if is_missing => return Err(Unusable::Dropped(rules::MISSING_TIME)),
                Role::Time => {
                    let time = cell.time(self.spec.columns.time_format).map_err(invalid)?;
                    let (min, max) = self.time_bounds;
                    if !(min..=max).contains(&time) {
                        return Err(Unusable::Dropped(rules::IMPOSSIBLE_TIME));
                    }
                    event.time = Some(time);
                }
                Role::Categorical if is_missing => event.categorical.push(0),
                Role::Categorical => {
                    cell.write_key(&mut event.key).map_err(invalid)?;
                    let categories = &mut self.categories[event.categorical.len()];
                    let id = categories.intern(&event.key, u32::MAX).ok_or_else(|| {
                        too_many(&self.wanted[column], u32::MAX, "is it a category at all?")
                    })?;
                    event.categorical.push(id);
                }
                Role::Number { .. } if is_missing => event.numeric.push(0.0),
                Role::Number { .. } => event.numeric.push(number(cell, *role).map_err(invalid)?),
            }
        }
        Ok(())
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
        };
        self.spills.push(partition, &record)
    }
}

fn too_many(column: &str, limit: u32, hint: &'static str) -> Unusable {
    Unusable::Fatal(Error::TooManyValues { column: column.to_owned(), limit, hint })
}

fn number(cell: &Cell<'_>, role: Role) -> Result<f32, String> {
    let Role::Number { non_negative, is_label, log1p } = role else {
        return Err("is not a number".to_owned());
    };
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
    if log1p && value <= -1.0 {
        return Err(format!("{value} has no ln(1 + value)"));
    }
    let number = if log1p { value.ln_1p() } else { value } as f32;
    if number.is_finite() { Ok(number) } else { Err(format!("{value} is over the range of 32-bit numbers")) }
}
