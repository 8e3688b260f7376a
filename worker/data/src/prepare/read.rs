//! Rows of a table, whatever its format.

mod delimited;
mod jsonl;
mod lines;
mod parquet;
mod records;
mod source;

use std::io::Read as _;
use std::path::Path;

use muster_proto::dataset::Format;

use super::cell::Cell;
use super::error::Error;

/// A file and what of it is wanted.
#[derive(Debug, Clone, Copy)]
pub(super) struct Table<'t> {
    pub(super) path: &'t Path,
    pub(super) format: Format,
    pub(super) header: bool,
    /// Names of columns; of `lines`, the user and then the item.
    pub(super) wanted: &'t [String],
    /// The most bytes of a row of text.
    pub(super) max_row: usize,
}

/// One row.
#[derive(Debug)]
pub(super) struct Row<'r> {
    /// The line, of Parquet the row, from 1.
    pub(super) line: u64,
    /// The wanted values in the wanted order, or why there are none.
    pub(super) cells: Result<&'r [Cell<'r>], String>,
}

/// What takes the rows; may stop by an error.
pub(super) type Sink<'s> = &'s mut dyn FnMut(Row<'_>) -> Result<(), Error>;

/// Gives all rows of a table to `sink`, in the order of the file.
pub(super) fn read_rows(table: &Table<'_>, sink: Sink<'_>) -> Result<(), Error> {
    match table.format {
        Format::Csv => delimited::read(table, delimited::Dialect { separator: b',', quoted: true }, sink),
        Format::Semicolon => {
            delimited::read(table, delimited::Dialect { separator: b';', quoted: true }, sink)
        }
        Format::Tsv => delimited::read(table, delimited::Dialect { separator: b'\t', quoted: false }, sink),
        Format::Jsonl => jsonl::read(table, sink),
        Format::Parquet => parquet::read(table, sink),
        Format::Lines => lines::read(table, sink),
        Format::JsonMap => Err(Error::Format {
            path: table.path.to_owned(),
            format: "table",
            what: "`json_map` has no rows, it is for item tables".to_owned(),
        }),
    }
}

/// The names of a table's columns, in order.
pub(super) fn column_names(table: &Table<'_>) -> Result<Vec<String>, Error> {
    match table.format {
        Format::Csv => delimited::names(table, delimited::Dialect { separator: b',', quoted: true }),
        Format::Semicolon => delimited::names(table, delimited::Dialect { separator: b';', quoted: true }),
        Format::Tsv => delimited::names(table, delimited::Dialect { separator: b'\t', quoted: false }),
        Format::Jsonl => jsonl::names(table),
        Format::Parquet => parquet::names(table),
        Format::Lines | Format::JsonMap => Ok(vec![]),
    }
}

/// All of a file, decompressed.
pub(super) fn read_whole(path: &Path) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::new();
    source::open(path)?.read_to_end(&mut bytes).map_err(|error| source::read_error(path, error))?;
    Ok(bytes)
}

/// Positions of the wanted columns among `names`.
fn positions(table: &Table<'_>, names: &[String]) -> Result<Vec<usize>, Error> {
    table
        .wanted
        .iter()
        .map(|column| {
            let mut found = names.iter().enumerate().filter(|(_, name)| *name == column);
            match (found.next(), found.next()) {
                (Some((position, _)), None) => Ok(position),
                (Some(_), Some(_)) => {
                    Err(Error::ColumnTwice { path: table.path.to_owned(), column: column.clone() })
                }
                (None, _) => Err(Error::NoColumn {
                    path: table.path.to_owned(),
                    column: column.clone(),
                    known: names.join(", "),
                }),
            }
        })
        .collect()
}
