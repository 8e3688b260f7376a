//! Text with a separator: commas, semicolons or tabs.

use std::io;

use csv::{ByteRecord, ErrorKind, ReaderBuilder};

use super::{Row, Sink, Table, open, positions};
use crate::prepare::cell::Cell;
use crate::prepare::error::Error;

/// What tells the formats apart.
#[derive(Debug, Clone, Copy)]
pub(super) struct Dialect {
    pub(super) separator: u8,
    pub(super) quoted: bool,
}

type Reader = csv::Reader<io::BufReader<std::fs::File>>;

fn reader(table: &Table<'_>, dialect: Dialect) -> Result<Reader, Error> {
    let file = open(table.path)?;
    Ok(ReaderBuilder::new()
        .delimiter(dialect.separator)
        .quoting(dialect.quoted)
        .has_headers(table.header)
        .from_reader(file))
}

pub(super) fn names(table: &Table<'_>, dialect: Dialect) -> Result<Vec<String>, Error> {
    names_of(table, &mut reader(table, dialect)?)
}

fn names_of(table: &Table<'_>, reader: &mut Reader) -> Result<Vec<String>, Error> {
    let first = reader.byte_headers().map_err(|error| failure(table, error))?.clone();
    if !table.header {
        return Ok((1..=first.len()).map(|position| position.to_string()).collect());
    }
    let decode = |field: &[u8]| match std::str::from_utf8(field) {
        Ok(text) => Ok(text.to_owned()),
        Err(_) => Err(Error::Row {
            path: table.path.to_owned(),
            line: 1,
            what: "the header is not UTF-8".to_owned(),
        }),
    };
    first.iter().map(decode).collect()
}

pub(super) fn read(table: &Table<'_>, dialect: Dialect, sink: Sink<'_>) -> Result<(), Error> {
    let mut reader = reader(table, dialect)?;
    let names = names_of(table, &mut reader)?;
    if names.is_empty() {
        return Ok(());
    }
    let positions = positions(table, &names)?;
    let mut record = ByteRecord::new();
    loop {
        match reader.read_byte_record(&mut record) {
            Ok(false) => return Ok(()),
            Ok(true) => give(table, &record, &positions, sink)?,
            Err(error) => {
                let ErrorKind::UnequalLengths { pos, expected_len, len } = error.kind() else {
                    return Err(failure(table, error));
                };
                let line = pos.as_ref().map_or(0, csv::Position::line);
                let what = format!("{len} fields, the first line has {expected_len}");
                sink(Row { line, cells: Err(what) })?;
            }
        }
    }
}

fn give(table: &Table<'_>, record: &ByteRecord, positions: &[usize], sink: Sink<'_>) -> Result<(), Error> {
    let line = record.position().map_or(0, csv::Position::line);
    let mut cells = Vec::with_capacity(positions.len());
    for (position, column) in positions.iter().zip(table.wanted) {
        match std::str::from_utf8(&record[*position]) {
            Ok(text) => cells.push(Cell::Text(text)),
            Err(_) => return sink(Row { line, cells: Err(format!("column `{column}` is not UTF-8")) }),
        }
    }
    sink(Row { line, cells: Ok(&cells) })
}

fn failure(table: &Table<'_>, error: csv::Error) -> Error {
    let path = table.path.to_owned();
    match error.into_kind() {
        ErrorKind::Io(source) => Error::Read { path, source },
        kind => Error::Format { path, format: "delimited", what: format!("{kind:?}") },
    }
}
