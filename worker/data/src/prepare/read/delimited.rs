//! Text with a separator: commas, semicolons or tabs.
//!
//! Lines without quotes and carriage returns are taken apart by looking for separators; records with any by `csv-core`, with the
//! same outcome.

use std::io::BufRead;

use csv_core::{Reader, ReaderBuilder};
use memchr::{memchr, memchr_iter, memchr2};

use super::blocks::{Block, Blocks, Ends};
use super::records::{MAX_FIELDS, Next, Records};
use super::source::{read_error, too_long};
use super::{Layout, Row, Sink, Span, Table, positions, text_of};
use crate::prepare::cell::Cell;
use crate::prepare::error::Error;

/// Bytes of the next record or two.
const SOON: usize = 256;

/// What tells the formats apart.
#[derive(Debug, Clone, Copy)]
pub(super) struct Dialect {
    pub(super) separator: u8,
    pub(super) quoted: bool,
}

impl Dialect {
    /// Whether text that is not plain comes soon.
    fn is_special(self, text: &[u8]) -> bool {
        self.find_special(&text[..text.len().min(SOON)]).is_some()
    }

    fn find_special(self, text: &[u8]) -> Option<usize> {
        if self.quoted { memchr2(b'"', b'\r', text) } else { memchr(b'\r', text) }
    }

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

/// What ends a record.
pub(super) fn ends(dialect: Dialect) -> Ends {
    if dialect.quoted { Ends::Quoted(dialect.separator) } else { Ends::Lines }
}

fn start(table: &Table<'_>, dialect: Dialect, span: Option<Span>) -> Result<Open, Error> {
    let mut blocks = text_of(table, ends(dialect), span)?;
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
    Ok(start(table, dialect, None)?.names)
}

/// The layout of a file, its first piece, and the others; of a span, those of the span.
pub(super) fn pieces(
    table: &Table<'_>,
    dialect: Dialect,
    span: Option<Span>,
) -> Result<(Layout, Option<Block>, Blocks), Error> {
    let is_later = matches!(span, Some(Span::Text { line, .. }) if line > 1);
    // What the columns are stands at the beginning of the file.
    let Open { names, mut first, mut blocks } = start(table, dialect, span.filter(|_| !is_later))?;
    let positions = if names.is_empty() { vec![] } else { positions(table, &names)? };
    if is_later {
        (first, blocks) = (None, text_of(table, ends(dialect), span)?);
    }
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
            let mut records = Records::resume(source, dialect.core(), table.max_row, line);
            while give(table, layout, &mut records, sink)? {}
            Ok(())
        }
        Block::Bytes { bytes, line } => {
            let mut text = Plain { dialect, bytes: &bytes, start: 0, line, special: 0, invalid: 0 };
            while text.start < bytes.len() {
                text.read(table, layout, sink)?;
                // Records that ask for more than looking for separators, as long as the next one looks like that, too.
                let rest = &bytes[text.start..];
                let mut records = Records::resume(rest, dialect.core(), table.max_row, text.line);
                while give(table, layout, &mut records, sink)? && dialect.is_special(records.rest()) {}
                let (rest, line) = records.into_rest();
                (text.start, text.line) = (bytes.len() - rest.len(), line);
            }
            Ok(())
        }
    }
}

/// A block of which most lines are records whose separators all separate.
struct Plain<'b> {
    dialect: Dialect,
    bytes: &'b [u8],
    /// The line that is next.
    start: usize,
    line: u64,
    /// Before here, and from `start` on, there is no quote and no carriage return.
    special: usize,
    /// Before here, and from `start` on, all is UTF-8.
    invalid: usize,
}

impl Plain<'_> {
    /// Gives rows up to one that is not plain, or over a bound.
    fn read(&mut self, table: &Table<'_>, layout: &Layout, sink: Sink<'_>) -> Result<(), Error> {
        self.look_ahead();
        let (mut ends, mut cells) = (Vec::new(), Vec::with_capacity(layout.positions.len()));
        let until = self.special.min(self.invalid);
        let text = std::str::from_utf8(&self.bytes[self.start..until]).unwrap_or_default();
        let (mut at, is_end) = (0, until == self.bytes.len());
        while at < text.len() {
            let end = match memchr(b'\n', &text.as_bytes()[at..]) {
                Some(len) => at + len,
                None if is_end => text.len(),
                None => break,
            };
            let row = &text[at..end];
            ends.clear();
            ends.extend(memchr_iter(self.dialect.separator, row.as_bytes()));
            ends.push(row.len());
            if row.len() > table.max_row || ends.len() > MAX_FIELDS {
                break;
            }
            let line = self.line;
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
            at = end + 1;
            self.line += 1;
        }
        self.start = (self.start + at).min(self.bytes.len());
        Ok(())
    }

    /// Finds out how far plain text goes, where that was not found before.
    fn look_ahead(&mut self) {
        let rest = &self.bytes[self.start..];
        if self.special <= self.start {
            self.special = self.start + self.dialect.find_special(rest).unwrap_or(rest.len());
        }
        if self.invalid <= self.start {
            let valid = std::str::from_utf8(rest).map_or_else(|error| error.valid_up_to(), str::len);
            self.invalid = self.start + valid;
        }
    }
}

fn wrong_fields(found: usize, expected: usize) -> String {
    format!("{found} fields, the first line has {expected}")
}

/// Gives the next record; false at the end.
fn give<R: BufRead>(
    table: &Table<'_>,
    layout: &Layout,
    records: &mut Records<R>,
    sink: Sink<'_>,
) -> Result<bool, Error> {
    let next = records.advance().map_err(|error| read_error(table.path, error))?;
    let line = records.line();
    match next {
        Next::End => return Ok(false),
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
        Next::Record => give_cells(table, records, &layout.positions, sink)?,
    }
    Ok(true)
}

fn give_cells<R: BufRead>(
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

#[cfg(test)]
mod tests {
    use muster_proto::dataset::Format;
    use proptest::prelude::*;

    use super::*;
    use crate::prepare::read::read_rows;

    type Rows = Vec<(u64, Result<Vec<String>, String>)>;

    const WANTED: [&str; 2] = ["a", "b"];

    /// The rows of a file as `read_rows` gives them, and as `csv-core` alone does.
    fn both(bytes: &[u8]) -> (Rows, Rows) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log.csv");
        std::fs::write(&path, [b"a,b,c\n", bytes].concat()).unwrap();
        let wanted = WANTED.map(str::to_owned);
        let (format, header, max_row) = (Format::Csv, true, 1024);
        let table = Table { path: &path, format, header, wanted: &wanted, max_row, max_group: 1 };
        let mut found: [Rows; 2] = [vec![], vec![]];
        let take = |rows: &mut Rows, row: Row<'_>| {
            let cells = row.cells.map(|cells| cells.iter().filter_map(Cell::shown).collect());
            rows.push((row.line, cells));
            Ok(())
        };
        read_rows(&table, &mut |row| take(&mut found[0], row)).unwrap();
        let layout = Layout { columns: 3, positions: vec![0, 1], ..Layout::default() };
        let mut records = Records::resume(bytes, ReaderBuilder::new().build(), max_row, 2);
        while give(&table, &layout, &mut records, &mut |row| take(&mut found[1], row)).unwrap() {}
        found.into()
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn plain_lines_are_what_csv_core_makes_of_them(
            parts in prop::collection::vec(
                prop_oneof![
                    4 => "[a-c]{0,3},[a-c]{0,3},[a-c]{0,3}\n".prop_map(String::into_bytes),
                    1 => "[a,\"\r\n]{0,6}".prop_map(String::into_bytes),
                    1 => "x,\"y[\n,]{0,3}\",z\r?\n".prop_map(String::into_bytes),
                    1 => Just(b"x,\xff\xfe,y\n".to_vec()),
                    1 => Just("e,\u{e9},e\n".as_bytes().to_vec()),
                ],
                0..40,
            ),
        ) {
            let (found, expected) = both(&parts.concat());
            prop_assert_eq!(found, expected);
        }
    }
}
