//! One user a line: the user's key, then items in the order of time, separated by spaces.

use super::source::{Lines, open, read_error};
use super::{Row, Sink, Table};
use crate::prepare::cell::Cell;
use crate::prepare::error::Error;

pub(super) fn read(table: &Table<'_>, sink: Sink<'_>) -> Result<(), Error> {
    let mut lines = Lines::new(open(table.path)?, table.max_row);
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
