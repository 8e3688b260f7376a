//! Text with a separator: commas, semicolons or tabs.

use csv_core::ReaderBuilder;

use super::records::{Next, Records};
use super::source::{Source, open, read_error, too_long};
use super::{Row, Sink, Table, positions};
use crate::prepare::cell::Cell;
use crate::prepare::error::Error;

/// What tells the formats apart.
#[derive(Debug, Clone, Copy)]
pub(super) struct Dialect {
    pub(super) separator: u8,
    pub(super) quoted: bool,
}

/// A file at its first record.
struct Open {
    records: Records<Source>,
    next: Next,
}

fn start(table: &Table<'_>, dialect: Dialect) -> Result<Open, Error> {
    let core = ReaderBuilder::new().delimiter(dialect.separator).quoting(dialect.quoted).build();
    let mut records = Records::new(open(table.path)?, core, table.max_row);
    let next = records.advance().map_err(|error| read_error(table.path, error))?;
    Ok(Open { records, next })
}

pub(super) fn names(table: &Table<'_>, dialect: Dialect) -> Result<Vec<String>, Error> {
    names_of(table, &start(table, dialect)?)
}

fn names_of(table: &Table<'_>, open: &Open) -> Result<Vec<String>, Error> {
    let records = &open.records;
    let refuse = |what| Err(Error::Format { path: table.path.to_owned(), format: "delimited", what });
    match open.next {
        Next::End => return Ok(vec![]),
        Next::TooLong => return refuse(format!("its first row {}", too_long(table.max_row))),
        Next::Record => {}
    }
    if !table.header {
        return Ok((1..=records.len()).map(|position| position.to_string()).collect());
    }
    let names = (0..records.len()).map(|idx| std::str::from_utf8(records.field(idx)).map(str::to_owned));
    match names.collect::<Result<_, _>>() {
        Ok(names) => Ok(names),
        Err(_) => refuse("its header is not UTF-8".to_owned()),
    }
}

pub(super) fn read(table: &Table<'_>, dialect: Dialect, sink: Sink<'_>) -> Result<(), Error> {
    let mut open = start(table, dialect)?;
    let names = names_of(table, &open)?;
    if names.is_empty() {
        return Ok(());
    }
    let positions = positions(table, &names)?;
    let records = &mut open.records;
    let mut is_pending = !table.header;
    loop {
        let next = if is_pending { Next::Record } else { advance(table, records)? };
        is_pending = false;
        let line = records.line();
        match next {
            Next::End => return Ok(()),
            // Whatever rows the quote took with it are lost, so that this is no longer about one row.
            Next::TooLong if records.has_line_ends() => {
                let most = table.max_row;
                let what =
                    format!("a quote on line {line} is not closed within {most} bytes (`cleaning.max_row`)");
                return Err(Error::Format { path: table.path.to_owned(), format: "delimited", what });
            }
            Next::TooLong => sink(Row { line, cells: Err(too_long(table.max_row)) })?,
            Next::Record if records.len() != names.len() => {
                let mut what = format!("{} fields, the first line has {}", records.len(), names.len());
                if records.has_line_ends() {
                    what.push_str("; it goes on over several lines, is a quote not closed?");
                }
                sink(Row { line, cells: Err(what) })?;
            }
            Next::Record => give(table, records, &positions, sink)?,
        }
    }
}

fn advance(table: &Table<'_>, records: &mut Records<Source>) -> Result<Next, Error> {
    records.advance().map_err(|error| read_error(table.path, error))
}

fn give(
    table: &Table<'_>,
    records: &Records<Source>,
    positions: &[usize],
    sink: Sink<'_>,
) -> Result<(), Error> {
    let line = records.line();
    let mut cells = Vec::with_capacity(positions.len());
    for (position, column) in positions.iter().zip(table.wanted) {
        match std::str::from_utf8(records.field(*position)) {
            Ok(text) => cells.push(Cell::Text(text)),
            Err(_) => return sink(Row { line, cells: Err(format!("column `{column}` is not UTF-8")) }),
        }
    }
    sink(Row { line, cells: Ok(&cells) })
}
