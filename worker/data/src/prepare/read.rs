//! Rows of a table, whatever its format: a file is cut into pieces in order, and pieces are read by whoever has time.

mod blocks;
mod delimited;
mod jsonl;
mod lines;
mod parquet;
mod records;
mod source;

use std::io::Read as _;
use std::path::Path;
use std::sync::Arc;

use arrow_array::RecordBatch;
use muster_proto::dataset::Format;
use serde::{Deserialize, Serialize};

use super::cell::Cell;
use super::error::Error;
use blocks::{Block, Blocks, Ends};
use delimited::Dialect;

/// The most rows of a Parquet row group that is one piece, where nothing says otherwise.
pub(super) const GROUP_ROWS: usize = 1 << 20;

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
    /// The most rows of a Parquet row group that is one piece.
    pub(super) max_group: usize,
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

/// What is known of a file before its rows are read.
#[derive(Debug, Default)]
pub(super) struct Layout {
    /// Number of columns of a delimited file.
    columns: usize,
    /// Positions of the wanted columns.
    positions: Vec<usize>,
    parquet: Option<parquet::Opened>,
}

/// A part of a file that can be read by itself.
pub(super) enum Piece {
    /// Text.
    Text(Block),
    /// A Parquet row group.
    Group { group: usize, line: u64, rows: u64 },
    /// Decoded rows of a row group that is too large for a piece.
    Batch { batch: RecordBatch, line: u64 },
}

impl Piece {
    /// About the bytes of text that it stands for.
    pub(super) fn weight(&self) -> u64 {
        match self {
            Self::Text(Block::Bytes { bytes, .. }) => bytes.len() as u64,
            Self::Text(Block::Rest { .. }) => u64::MAX,
            Self::Group { rows, .. } => rows.saturating_mul(64),
            Self::Batch { batch, .. } => batch.num_rows() as u64 * 64,
        }
    }
}

/// A run of pieces of a file that can be read without what is before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Span {
    /// Bytes of a plain text, which begin with a record, and the line of that one.
    Text { from: u64, to: u64, line: u64 },
    /// Row groups of a Parquet file, and the number of their first row.
    Groups { from: usize, to: usize, line: u64 },
}

/// What the pieces of a file tell together.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Ending {
    /// Of JSON lines, which of the wanted keys any object had; of other formats empty.
    seen: Vec<bool>,
    first_keys: Option<String>,
}

impl Ending {
    pub(super) fn add(&mut self, other: Self) {
        self.seen.resize(self.seen.len().max(other.seen.len()), false);
        self.seen.iter_mut().zip(other.seen).for_each(|(seen, other)| *seen |= other);
        self.first_keys = self.first_keys.take().or(other.first_keys);
    }

    /// A key that no object of a file has is a column that is not there.
    pub(super) fn check(self, path: &Path, wanted: &[String]) -> Result<(), Error> {
        match (self.seen.iter().position(|seen| !seen), self.first_keys) {
            (Some(absent), Some(known)) => Err(Error::no_column(path, &wanted[absent], known)),
            _ => Ok(()),
        }
    }
}

/// The pieces of a file, in order.
pub(super) struct Pieces<'t> {
    table: Table<'t>,
    layout: Arc<Layout>,
    rest: Rest,
}

enum Rest {
    Text { first: Option<Block>, blocks: Blocks },
    Groups(parquet::Groups),
}

impl<'t> Pieces<'t> {
    /// Opens a file, or a span of one.
    pub(super) fn open(table: Table<'t>, span: Option<Span>) -> Result<Self, Error> {
        let lines = || -> Result<(Layout, Option<Block>, Blocks), Error> {
            Ok((Layout::default(), None, text_of(&table, Ends::Lines, span)?))
        };
        let (layout, first, blocks) = match table.format {
            Format::Parquet => {
                let (layout, groups) = parquet::pieces(&table, span)?;
                return Ok(Self { table, layout: Arc::new(layout), rest: Rest::Groups(groups) });
            }
            Format::Jsonl | Format::Lines => lines()?,
            Format::JsonMap => {
                return Err(Error::Format {
                    path: table.path.to_owned(),
                    format: "table",
                    what: "`json_map` has no rows, it is for item tables".to_owned(),
                });
            }
            _ => delimited::pieces(&table, dialect(table.format), span)?,
        };
        Ok(Self { table, layout: Arc::new(layout), rest: Rest::Text { first, blocks } })
    }

    pub(super) fn layout(&self) -> &Arc<Layout> {
        &self.layout
    }

    pub(super) fn next(&mut self) -> Result<Option<Piece>, Error> {
        match &mut self.rest {
            Rest::Groups(groups) => groups.next(&self.table, &self.layout),
            Rest::Text { first, blocks } => match first.take() {
                Some(block) => Ok(Some(Piece::Text(block))),
                None => {
                    let block = blocks.next().map_err(|error| source::read_error(self.table.path, error))?;
                    Ok(block.map(Piece::Text))
                }
            },
        }
    }
}

/// The text of a file, or a span of it.
fn text_of(table: &Table<'_>, ends: Ends, span: Option<Span>) -> Result<Blocks, Error> {
    Ok(match span {
        Some(Span::Text { from, to, line }) => {
            Blocks::from_line(source::open_span(table.path, from..to)?, ends, table.max_row, line)
        }
        _ => Blocks::new(source::open(table.path)?, ends, table.max_row),
    })
}

/// Cuts a file into spans of about `target` bytes; none where it is not to be cut: it is small, compressed, in an object store as
/// text, or something is wrong with it, which whoever reads it will say.
///
/// Where records of a text end is found by looking through all of it, once, in the order of the file.
pub(super) fn spans(table: &Table<'_>, target: u64) -> Option<Vec<Span>> {
    let spans = match table.format {
        Format::Parquet => parquet::spans(table, target).ok()?,
        Format::JsonMap => return None,
        Format::Jsonl | Format::Lines => text_spans(table, Ends::Lines, target)?,
        _ => text_spans(table, delimited::ends(dialect(table.format)), target)?,
    };
    (spans.len() > 1).then_some(spans)
}

fn text_spans(table: &Table<'_>, ends: Ends, target: u64) -> Option<Vec<Span>> {
    let text = source::plain(table.path)?;
    if text.end - text.start <= target {
        return None;
    }
    let mut blocks = text_of(table, ends, None).ok()?;
    let (mut spans, mut from, mut at) = (Vec::new(), text.start, text.start);
    let mut first = 1;
    while let Some(block) = blocks.next().ok()? {
        // The rest of a file is one record as far as anybody knows, and belongs to those before it.
        let Block::Bytes { bytes, line } = block else { break };
        if at - from >= target {
            spans.push(Span::Text { from, to: at, line: first });
            (from, first) = (at, line);
        }
        at += bytes.len() as u64;
    }
    spans.push(Span::Text { from, to: text.end, line: first });
    Some(spans)
}

fn dialect(format: Format) -> Dialect {
    match format {
        Format::Semicolon => Dialect { separator: b';', quoted: true },
        Format::Tsv => Dialect { separator: b'\t', quoted: false },
        _ => Dialect { separator: b',', quoted: true },
    }
}

/// Gives the rows of a piece to `sink`.
pub(super) fn read_piece(
    table: &Table<'_>,
    layout: &Layout,
    piece: Piece,
    sink: Sink<'_>,
) -> Result<Ending, Error> {
    match piece {
        Piece::Group { group, line, .. } => parquet::read_group(table, layout, (group, line), sink)?,
        Piece::Batch { batch, line } => parquet::read_batch(table, &batch, line, sink)?,
        Piece::Text(block) if table.format == Format::Jsonl => return jsonl::read(table, block, sink),
        Piece::Text(block) if table.format == Format::Lines => lines::read(table, block, sink)?,
        Piece::Text(block) => delimited::read(table, layout, dialect(table.format), block, sink)?,
    }
    Ok(Ending::default())
}

/// Gives all rows of a table to `sink`, in the order of the file.
pub(super) fn read_rows(table: &Table<'_>, sink: Sink<'_>) -> Result<(), Error> {
    let mut pieces = Pieces::open(*table, None)?;
    let mut ending = Ending::default();
    while let Some(piece) = pieces.next()? {
        ending.add(read_piece(table, pieces.layout(), piece, sink)?);
    }
    ending.check(table.path, table.wanted)
}

/// The names of a table's columns, in order.
pub(super) fn column_names(table: &Table<'_>) -> Result<Vec<String>, Error> {
    match table.format {
        Format::Jsonl => jsonl::names(table),
        Format::Parquet => parquet::names(table),
        Format::Lines | Format::JsonMap => Ok(vec![]),
        Format::Csv | Format::Semicolon | Format::Tsv => delimited::names(table, dialect(table.format)),
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
                (None, _) => Err(Error::no_column(table.path, column, names.join(", "))),
            }
        })
        .collect()
}
