//! One JSON object a line. A key that an object lacks is a missing value; one that no object has, an error.

use std::io::BufRead;

use serde_json::{Map, Value};

use super::blocks::Block;
use super::source::{Line, Lines, open, read_error};
use super::{Ending, Row, Sink, Table};
use crate::prepare::cell::Cell;
use crate::prepare::error::Error;

pub(super) fn names(table: &Table<'_>) -> Result<Vec<String>, Error> {
    let mut names = Vec::new();
    let mut lines = Lines::new(open(table.path)?, table.max_row, 1);
    for_each_line(table, &mut lines, &mut |(_, text)| {
        if let Ok(object) = serde_json::from_str::<Map<String, Value>>(text.unwrap_or_default()) {
            names = object.keys().cloned().collect();
        }
        Ok(false)
    })?;
    Ok(names)
}

/// Gives the rows of a piece, and which of the wanted keys any object has.
pub(super) fn read(table: &Table<'_>, block: Block, sink: Sink<'_>) -> Result<Ending, Error> {
    match block {
        Block::Bytes { bytes, line } => read_lines(table, Lines::new(&bytes[..], table.max_row, line), sink),
        Block::Rest { source, line } => read_lines(table, Lines::new(source, table.max_row, line), sink),
    }
}

fn read_lines<R: BufRead>(table: &Table<'_>, mut lines: Lines<R>, sink: Sink<'_>) -> Result<Ending, Error> {
    let mut ending = Ending { seen: vec![false; table.wanted.len()], first_keys: None };
    for_each_line(table, &mut lines, &mut |(line, text)| {
        let parsed = text.and_then(|text| serde_json::from_str(text).map_err(|error| error.to_string()));
        let object: Map<String, Value> = match parsed {
            Ok(object) => object,
            Err(why) => {
                let what = format!("is not a JSON object: {why}");
                return sink(Row { line, cells: Err(what) }).map(|()| true);
            }
        };
        ending.first_keys.get_or_insert_with(|| object.keys().cloned().collect::<Vec<_>>().join(", "));
        let mut cells = Vec::with_capacity(table.wanted.len());
        for (column, seen) in table.wanted.iter().zip(&mut ending.seen) {
            *seen |= object.contains_key(column);
            match cell(object.get(column)) {
                Ok(cell) => cells.push(cell),
                Err(what) => {
                    let what = format!("column `{column}`: {what}");
                    return sink(Row { line, cells: Err(what) }).map(|()| true);
                }
            }
        }
        sink(Row { line, cells: Ok(&cells) }).map(|()| true)
    })?;
    Ok(ending)
}

fn cell(value: Option<&Value>) -> Result<Cell<'_>, String> {
    match value {
        None | Some(Value::Null) => Ok(Cell::Missing),
        Some(Value::Bool(flag)) => Ok(Cell::Integer(i64::from(*flag))),
        Some(Value::String(text)) => Ok(Cell::Text(text)),
        Some(Value::Number(number)) => match (number.as_i64(), number.as_f64()) {
            (Some(number), _) => Ok(Cell::Integer(number)),
            (None, Some(number)) => Ok(Cell::Float(number)),
            (None, None) => Err(format!("number {number} is out of range")),
        },
        Some(Value::Array(_)) => Err("is an array, expected one value".to_owned()),
        Some(Value::Object(_)) => Err("is an object, expected one value".to_owned()),
    }
}

/// Gives lines that are not blank, or why they cannot be read, to `take` until it says no more.
fn for_each_line<R: BufRead>(
    table: &Table<'_>,
    lines: &mut Lines<R>,
    take: &mut dyn FnMut(Line<'_>) -> Result<bool, Error>,
) -> Result<(), Error> {
    while let Some((line, text)) = lines.next().map_err(|error| read_error(table.path, error))? {
        let is_blank = text.as_ref().is_ok_and(|text| text.trim().is_empty());
        if !is_blank && !take((line, text))? {
            break;
        }
    }
    Ok(())
}
