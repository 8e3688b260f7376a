//! Text with a separator: commas, semicolons or tabs.
//!
//! Blocks without quotes and carriage returns are taken apart by looking for separators; all others by `csv-core`, with the
//! same records.

use std::io::BufRead;

use csv_core::{Reader, ReaderBuilder};
use memchr::{memchr, memchr_iter, memchr2};

use super::blocks::{Block, Blocks, Ends};
use super::records::{MAX_FIELDS, Next, Records};
use super::source::{open, read_error, too_long};
use super::{Layout, Row, Sink, Table, positions};
use crate::prepare::cell::Cell;
use crate::prepare::error::Error;

/// What tells the formats apart.
#[derive(Debug, Clone, Copy)]
pub(super) struct Dialect {
    pub(super) separator: u8,
    pub(super) quoted: bool,
}

impl Dialect {
    fn core(self) -> Reader {
        ReaderBuilder::new().delimiter(self.separator).quoting(self.quoted).build()
    }
}

/// A file whose columns are known.
struct Open {
    names: Vec<String>,
    /// The piece with the first row, which may be empty; none of an empty file.
    first: Option<Block>,
    blocks: Blocks,
}

fn start(table: &Table<'_>, dialect: Dialect) -> Result<Open, Error> {
    let ends = if dialect.quoted { Ends::Quoted(dialect.separator) } else { Ends::Lines };
    let mut blocks = Blocks::new(open(table.path)?, ends, table.max_row);
    let refuse = |what| Err(Error::Format { path: table.path.to_owned(), format: "delimited", what });
    let too_long = || format!("its first row {}", too_long(table.max_row));
    loop {
        let (bytes, line) = match blocks.next().map_err(|error| read_error(table.path, error))? {
            None => return Ok(Open { names: vec![], first: None, blocks }),
            Some(Block::Rest { .. }) => return refuse(too_long()),
            Some(Block::Bytes { bytes, line }) => (bytes, line),
        };
        let mut records = Records::new(&bytes[..], dialect.core(), table.max_row);
        match records.advance().map_err(|error| read_error(table.path, error))? {
            // Nothing but blank lines so far.
            Next::End => continue,
            Next::TooLong => return refuse(too_long()),
            Next::Record => {}
        }
        if !table.header {
            let names = (1..=records.len()).map(|position| position.to_string()).collect();
            return Ok(Open { names, first: Some(Block::Bytes { bytes, line }), blocks });
        }
        let texts = (0..records.len()).map(|idx| std::str::from_utf8(records.field(idx)).map(str::to_owned));
        let Ok(names) = texts.collect() else { return refuse("its header is not UTF-8".to_owned()) };
        let (rest, read_lines) = records.into_rest();
        let first = Block::Bytes { bytes: rest.to_vec(), line: line + read_lines - 1 };
        return Ok(Open { names, first: Some(first), blocks });
    }
}

pub(super) fn names(table: &Table<'_>, dialect: Dialect) -> Result<Vec<String>, Error> {
    Ok(start(table, dialect)?.names)
}

/// The layout of a file, its first piece, and the others.
pub(super) fn pieces(table: &Table<'_>, dialect: Dialect) -> Result<(Layout, Option<Block>, Blocks), Error> {
    let Open { names, first, blocks } = start(table, dialect)?;
    let positions = if names.is_empty() { vec![] } else { positions(table, &names)? };
    Ok((Layout { columns: names.len(), positions, ..Layout::default() }, first, blocks))
}

pub(super) fn read(
    table: &Table<'_>,
    layout: &Layout,
    dialect: Dialect,
    block: Block,
    sink: Sink<'_>,
) -> Result<(), Error> {
    match block {
        Block::Rest { source, line } => {
            read_records(table, layout, Records::resume(source, dialect.core(), table.max_row, line), sink)
        }
        Block::Bytes { bytes, line } => {
            let (read, line) = match plain(&bytes, dialect) {
                Some(text) => read_plain(table, layout, (dialect, text, line), sink)?,
                None => (0, line),
            };
            let rest = &bytes[read..];
            read_records(table, layout, Records::resume(rest, dialect.core(), table.max_row, line), sink)
        }
    }
}

/// The text of a block in which each line is a record and each separator separates.
fn plain(bytes: &[u8], dialect: Dialect) -> Option<&str> {
    let special = if dialect.quoted { memchr2(b'"', b'\r', bytes) } else { memchr(b'\r', bytes) };
    std::str::from_utf8(bytes).ok().filter(|_| special.is_none())
}

/// Gives the rows of a plain text; ends before a row that is over a bound. Gives how many bytes were read, and the line there.
fn read_plain(
    table: &Table<'_>,
    layout: &Layout,
    (dialect, text, mut line): (Dialect, &str, u64),
    sink: Sink<'_>,
) -> Result<(usize, u64), Error> {
    let (mut start, mut ends, mut cells) = (0, Vec::new(), Vec::with_capacity(layout.positions.len()));
    while start < text.len() {
        let end = memchr(b'\n', &text.as_bytes()[start..]).map_or(text.len(), |len| start + len);
        let row = &text[start..end];
        ends.clear();
        ends.extend(memchr_iter(dialect.separator, row.as_bytes()));
        ends.push(row.len());
        if row.len() > table.max_row || ends.len() > MAX_FIELDS {
            break;
        }
        if row.is_empty() {
            // Blank lines are no rows.
        } else if ends.len() == layout.columns {
            cells.clear();
            cells.extend(layout.positions.iter().map(|position| {
                let from = if *position == 0 { 0 } else { ends[position - 1] + 1 };
                Cell::Text(&row[from..ends[*position]])
            }));
            sink(Row { line, cells: Ok(&cells) })?;
        } else {
            sink(Row { line, cells: Err(wrong_fields(ends.len(), layout.columns)) })?;
        }
        (start, line) = (end + 1, line + 1);
    }
    Ok((start.min(text.len()), line))
}

fn wrong_fields(found: usize, expected: usize) -> String {
    format!("{found} fields, the first line has {expected}")
}

fn read_records<R: BufRead>(
    table: &Table<'_>,
    layout: &Layout,
    mut records: Records<R>,
    sink: Sink<'_>,
) -> Result<(), Error> {
    loop {
        let next = records.advance().map_err(|error| read_error(table.path, error))?;
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
            Next::Record if records.len() != layout.columns => {
                let mut what = wrong_fields(records.len(), layout.columns);
                if records.has_line_ends() {
                    what.push_str("; it goes on over several lines, is a quote not closed?");
                }
                sink(Row { line, cells: Err(what) })?;
            }
            Next::Record => give(table, &records, &layout.positions, sink)?,
        }
    }
}

fn give<R: BufRead>(
    table: &Table<'_>,
    records: &Records<R>,
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
