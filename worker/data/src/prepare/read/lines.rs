//! One user a line: the user's key, then items in the order of time, separated by spaces.

use std::io::BufRead;

use super::blocks::Block;
use super::source::{Lines, read_error};
use super::{Row, Sink, Table};
use crate::prepare::cell::Cell;
use crate::prepare::error::Error;

pub(super) fn read(table: &Table<'_>, block: Block, sink: Sink<'_>) -> Result<(), Error> {
    match block {
        Block::Bytes { bytes, line } => read_lines(table, Lines::new(&bytes[..], table.max_row, line), sink),
        Block::Rest { source, line } => read_lines(table, Lines::new(source, table.max_row, line), sink),
    }
}

fn read_lines<R: BufRead>(table: &Table<'_>, mut lines: Lines<R>, sink: Sink<'_>) -> Result<(), Error> {
    while let Some((line, text)) = lines.next().map_err(|error| read_error(table.path, error))? {
        let text = match text {
            Ok(text) => text,
            Err(what) => {
                sink(Row { line, cells: Err(what) })?;
                continue;
            }
        };
        let mut words = text.split_ascii_whitespace();
        let Some(user) = words.next() else { continue };
        let mut items = words.peekable();
        if items.peek().is_none() {
            sink(Row { line, cells: Ok(&[Cell::Text(user), Cell::Missing]) })?;
        }
        for item in items {
            sink(Row { line, cells: Ok(&[Cell::Text(user), Cell::Text(item)]) })?;
        }
    }
    Ok(())
}
