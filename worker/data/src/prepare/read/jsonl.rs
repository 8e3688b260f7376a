//! One JSON object a line. A key that an object lacks is a missing value; one that no object has, an error.

use std::io::BufRead as _;

use serde_json::{Map, Value};

use super::{Row, Sink, Table, open};
use crate::prepare::cell::Cell;
use crate::prepare::error::Error;

pub(super) fn names(table: &Table<'_>) -> Result<Vec<String>, Error> {
    let mut names = Vec::new();
    for_each_line(table, &mut |_, text| {
        if let Ok(object) = serde_json::from_str::<Map<String, Value>>(text) {
            names = object.keys().cloned().collect();
        }
        Ok(false)
    })?;
    Ok(names)
}

pub(super) fn read(table: &Table<'_>, sink: Sink<'_>) -> Result<(), Error> {
    let mut seen = vec![false; table.wanted.len()];
    let mut first_keys: Option<String> = None;
    for_each_line(table, &mut |line, text| {
        let object: Map<String, Value> = match serde_json::from_str(text) {
            Ok(object) => object,
            Err(error) => {
                let what = format!("is not a JSON object: {error}");
                return sink(Row { line, cells: Err(what) }).map(|()| true);
            }
        };
        first_keys.get_or_insert_with(|| object.keys().cloned().collect::<Vec<_>>().join(", "));
        let mut cells = Vec::with_capacity(table.wanted.len());
        for (column, seen) in table.wanted.iter().zip(&mut seen) {
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
    match (seen.iter().position(|seen| !seen), first_keys) {
        (Some(absent), Some(known)) => {
            Err(Error::NoColumn { path: table.path.to_owned(), column: table.wanted[absent].clone(), known })
        }
        _ => Ok(()),
    }
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

/// Gives lines that are not blank to `take` until it says no more.
fn for_each_line(
    table: &Table<'_>,
    take: &mut dyn FnMut(u64, &str) -> Result<bool, Error>,
) -> Result<(), Error> {
    for (line, text) in (1..).zip(open(table.path)?.split(b'\n')) {
        let bytes = text.map_err(|source| Error::Read { path: table.path.to_owned(), source })?;
        // What is not UTF-8 is no JSON either, and is reported as such by whoever takes the line.
        let text = String::from_utf8_lossy(&bytes);
        if !text.trim().is_empty() && !take(line, &text)? {
            break;
        }
    }
    Ok(())
}
