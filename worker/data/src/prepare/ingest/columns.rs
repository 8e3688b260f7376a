//! Which columns of the input are read, and as what.

use std::path::PathBuf;

use muster_proto::dataset::{ColumnKind, DatasetKind, DatasetSpec, EventFeature, Format, GroupBy, RangeSpec};

use crate::prepare::error::Error;
use crate::prepare::read::{GROUP_ROWS, Table, column_names};

/// How a column of the input is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    User,
    Item,
    Time,
    EventId,
    Categorical,
    Number { non_negative: bool, is_label: bool, log1p: bool },
}

/// A column that is read.
#[derive(Debug)]
pub(super) struct Wanted<'s> {
    /// Its name in the input.
    pub(super) input: String,
    /// Its name in the dataset.
    pub(super) name: String,
    pub(super) role: Role,
    /// Whether a row without it is dropped.
    pub(super) is_required: bool,
    pub(super) range: Option<&'s RangeSpec>,
}

/// The columns that are read, in the order in which readers give them.
pub(super) fn wanted_columns<'s>(spec: &'s DatasetSpec, files: &[PathBuf]) -> Result<Vec<Wanted<'s>>, Error> {
    let mut wanted = Vec::new();
    let mut add = |input: &str, name: &str, role| {
        wanted.push(Wanted {
            input: input.to_owned(),
            name: name.to_owned(),
            role,
            is_required: spec.cleaning.required.iter().any(|required| required == name),
            range: spec.cleaning.ranges.iter().find(|range| range.column == name),
        });
    };
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
    let is_events = spec.kind == DatasetKind::Events;
    let roles = [
        (key, Role::User),
        (&columns.item, Role::Item),
        (&columns.time, Role::Time),
        (&columns.event_id, Role::EventId),
    ];
    for (column, role) in roles {
        let column = column.as_ref().filter(|_| is_events || !matches!(role, Role::Item | Role::EventId));
        if let Some(column) = column {
            add(column, column, role);
        }
    }
    let mut names = None;
    for feature in columns.features() {
        let role = role_of(spec, &feature);
        let Some(prefix) = feature.input.strip_suffix('*') else {
            add(&feature.input, &feature.name, role);
            continue;
        };
        let (first, names) = match &mut names {
            Some(names) => names,
            none => none.insert(first_names(spec, files)?),
        };
        let mut matching = names.iter().filter(|name| name.starts_with(prefix)).peekable();
        if matching.peek().is_none() {
            let known = names.join(", ");
            return Err(Error::no_column(first, &feature.input, known));
        }
        matching.for_each(|name| add(name, name, role));
    }
    if let Some(target) = &columns.target {
        add(target, target, Role::Number { non_negative: false, is_label: false, log1p: false });
    }
    Ok(wanted)
}

fn role_of(spec: &DatasetSpec, feature: &EventFeature) -> Role {
    match feature.kind {
        ColumnKind::Categorical => Role::Categorical,
        ColumnKind::Numeric => Role::Number {
            non_negative: matches!(feature.name.as_str(), "price" | "dwell"),
            is_label: feature.name == "label",
            log1p: spec.columns.log1p.contains(&feature.name),
        },
    }
}

/// The names of the columns of the first file that has any; the others are held against them as they are read.
fn first_names(spec: &DatasetSpec, files: &[PathBuf]) -> Result<(PathBuf, Vec<String>), Error> {
    let max_row = spec.cleaning.max_row.bytes() as usize;
    let names_of = |path: &PathBuf| {
        let (format, header) = (spec.format, spec.header);
        let table = Table { path, format, header, wanted: &[], max_row, max_group: GROUP_ROWS };
        column_names(&table).map(|names| (path.clone(), names))
    };
    let mut first = names_of(&files[0]);
    for path in &files[1..] {
        match &first {
            Ok((_, names)) if !names.is_empty() => break,
            Err(error) if spec.cleaning.strict || !error.is_of_a_file() => break,
            _ => {}
        }
        if let Ok((path, names)) = names_of(path)
            && !names.is_empty()
        {
            first = Ok((path, names));
        }
    }
    first
}
