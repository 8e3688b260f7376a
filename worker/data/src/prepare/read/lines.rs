//! One user a line: the user's key, then items in the order of time, separated by spaces.

use std::io::BufRead as _;

use super::{Row, Sink, Table, open};
use crate::prepare::cell::Cell;
use crate::prepare::error::Error;

pub(super) fn read(table: &Table<'_>, sink: Sink<'_>) -> Result<(), Error> {
    let mut file = open(table.path)?;
    let mut bytes = Vec::new();
    let mut line = 0;
    loop {
        bytes.clear();
        let read = file
            .read_until(b'\n', &mut bytes)
            .map_err(|source| Error::Read { path: table.path.to_owned(), source })?;
        if read == 0 {
            return Ok(());
        }
        line += 1;
        let Ok(text) = std::str::from_utf8(&bytes) else {
            sink(Row { line, cells: Err("is not UTF-8".to_owned()) })?;
            continue;
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
}
