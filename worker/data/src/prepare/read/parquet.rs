//! Apache Parquet: only the wanted columns are decoded, a batch of rows at a time.

mod chunks;

use std::panic::{AssertUnwindSafe, catch_unwind};

use arrow_array::cast::AsArray;
use arrow_array::types::{
    ArrowPrimitiveType, Date32Type, Date64Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type,
    Int64Type, TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType,
    TimestampSecondType, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use arrow_array::{Array, ArrayRef, RecordBatch};
use arrow_schema::{DataType, TimeUnit};
use muster_proto::panic_text;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder,
};

use parquet::file::metadata::RowGroupMetaData;

use self::chunks::Chunks;
use super::{Layout, Piece, Row, Sink, Span, Table, positions};
use crate::prepare::cell::Cell;
use crate::prepare::error::Error;

const BATCH_ROWS: usize = 8192;
/// Rows of a batch that is decoded for others.
const STREAM_ROWS: usize = 32_768;
const DAY_MS: i64 = 86_400_000;

type CellAt<'b> = Box<dyn Fn(usize) -> Cell<'b> + 'b>;

/// The row groups of a file.
pub(super) struct Groups {
    metadata: ArrowReaderMetadata,
    next: usize,
    /// What comes after the last one.
    end: usize,
    line: u64,
    /// Row groups with more rows are decoded here, piece by piece, for those who read the pieces.
    most: usize,
    open: Option<ParquetRecordBatchReader>,
}

/// A file whose metadata was read.
#[derive(Debug)]
pub(super) struct Opened {
    chunks: Chunks,
    metadata: ArrowReaderMetadata,
}

fn open(table: &Table<'_>) -> Result<Opened, Error> {
    let failed = |source| Error::Read { path: table.path.to_owned(), source };
    let chunks = Chunks::open(table.path).map_err(failed)?;
    let load = || ArrowReaderMetadata::load(&chunks, ArrowReaderOptions::new());
    let metadata = decoded(table, || load().map_err(|error| broken(table, error)))?;
    // The reader takes for granted what a damaged footer may not hold.
    let groups = metadata.metadata().row_groups();
    let is_placed = groups.iter().flat_map(RowGroupMetaData::columns).all(|column| {
        let start = column.dictionary_page_offset().unwrap_or_else(|| column.data_page_offset());
        start >= 0 && column.data_page_offset() >= 0 && column.compressed_size() >= 0
    });
    if !is_placed {
        return Err(broken(table, "a column's place in the file is negative"));
    }
    Ok(Opened { chunks, metadata })
}

fn broken(table: &Table<'_>, error: impl std::fmt::Display) -> Error {
    Error::Format { path: table.path.to_owned(), format: "Parquet", what: error.to_string() }
}

/// Has the decoder do something. It takes much of a file for granted, and breaks off in a panic where bytes are damaged: then
/// the file is what is broken, and neither the others nor the process.
fn decoded<T>(table: &Table<'_>, decode: impl FnOnce() -> Result<T, Error>) -> Result<T, Error> {
    // What the decoder leaves half done is only dropped after this.
    catch_unwind(AssertUnwindSafe(decode)).unwrap_or_else(|panic| {
        Err(broken(table, format!("it cannot be decoded: {}", panic_text(panic.as_ref()))))
    })
}

/// The next batch of a row group.
fn next_batch(
    table: &Table<'_>,
    reader: &mut ParquetRecordBatchReader,
) -> Result<Option<RecordBatch>, Error> {
    decoded(table, || reader.next().transpose().map_err(|error| broken(table, error)))
}

pub(super) fn names(table: &Table<'_>) -> Result<Vec<String>, Error> {
    Ok(names_of(&open(table)?.metadata))
}

fn names_of(metadata: &ArrowReaderMetadata) -> Vec<String> {
    metadata.schema().fields().iter().map(|field| field.name().clone()).collect()
}

/// The layout of a file and its row groups, or those of a span.
pub(super) fn pieces(table: &Table<'_>, span: Option<Span>) -> Result<(Layout, Groups), Error> {
    let opened = open(table)?;
    let metadata = opened.metadata.clone();
    let positions = positions(table, &names_of(&metadata))?;
    let layout = Layout { columns: 0, positions, parquet: Some(opened) };
    let all = metadata.metadata().num_row_groups();
    let (next, end, line) = match span {
        Some(Span::Groups { from, to, line }) => (from, to, line),
        _ => (0, all, 1),
    };
    if end > all {
        return Err(broken(table, format!("it has {all} row groups, and had {end} or more before")));
    }
    Ok((layout, Groups { metadata, next, end, line, most: table.max_group, open: None }))
}

/// Cuts a file into runs of row groups of about `target` bytes.
pub(super) fn spans(table: &Table<'_>, target: u64) -> Result<Vec<Span>, Error> {
    let Opened { metadata, .. } = open(table)?;
    let (mut spans, mut from, mut bytes) = (Vec::new(), 0, 0);
    let (mut first, mut line) = (1, 1);
    for (group, of) in metadata.metadata().row_groups().iter().enumerate() {
        if bytes >= target {
            spans.push(Span::Groups { from, to: group, line: first });
            (from, bytes, first) = (group, 0, line);
        }
        bytes += of.compressed_size().max(0).cast_unsigned();
        line += of.num_rows().max(0).cast_unsigned();
    }
    spans.push(Span::Groups { from, to: metadata.metadata().num_row_groups(), line: first });
    Ok(spans)
}

impl Groups {
    pub(super) fn next(&mut self, table: &Table<'_>, layout: &Layout) -> Result<Option<Piece>, Error> {
        loop {
            if let Some(reader) = &mut self.open {
                if let Some(batch) = next_batch(table, reader)? {
                    let line = self.line;
                    self.line += batch.num_rows() as u64;
                    return Ok(Some(Piece::Batch { batch, line }));
                }
                self.open = None;
            }
            let group = self.next;
            if group == self.end {
                return Ok(None);
            }
            self.next += 1;
            let rows = self.metadata.metadata().row_group(group).num_rows().max(0).cast_unsigned();
            if rows > self.most as u64 {
                self.open = Some(reader(table, layout, group, STREAM_ROWS)?);
                continue;
            }
            let line = self.line;
            self.line += rows;
            return Ok(Some(Piece::Group { group, line, rows }));
        }
    }
}

fn reader(
    table: &Table<'_>,
    layout: &Layout,
    group: usize,
    batch_rows: usize,
) -> Result<ParquetRecordBatchReader, Error> {
    let Some(Opened { chunks, metadata }) = &layout.parquet else {
        return Err(broken(table, "its metadata was not read"));
    };
    let failed = |source| Error::Read { path: table.path.to_owned(), source };
    let chunks = chunks.again(table.path).map_err(failed)?;
    let builder = ParquetRecordBatchReaderBuilder::new_with_metadata(chunks, metadata.clone());
    let mask = ProjectionMask::roots(builder.parquet_schema(), layout.positions.iter().copied());
    let builder = builder.with_projection(mask).with_row_groups(vec![group]).with_batch_size(batch_rows);
    decoded(table, || builder.build().map_err(|error| broken(table, error)))
}

/// Gives the rows of a row group.
pub(super) fn read_group(
    table: &Table<'_>,
    layout: &Layout,
    (group, mut line): (usize, u64),
    sink: Sink<'_>,
) -> Result<(), Error> {
    let mut reader = reader(table, layout, group, BATCH_ROWS)?;
    while let Some(batch) = next_batch(table, &mut reader)? {
        read_batch(table, &batch, line, sink)?;
        line += batch.num_rows() as u64;
    }
    Ok(())
}

/// Gives the rows of a batch, the first of which is row `line` of the file.
pub(super) fn read_batch(
    table: &Table<'_>,
    batch: &RecordBatch,
    line: u64,
    sink: Sink<'_>,
) -> Result<(), Error> {
    let columns = table
        .wanted
        .iter()
        .map(|name| {
            let array =
                batch.column_by_name(name).ok_or_else(|| broken(table, format!("`{name}` is gone")))?;
            cells(array).ok_or_else(|| {
                let what = format!(
                    "column `{name}` has type {}, which is no key, number or time",
                    array.data_type()
                );
                Error::Format { path: table.path.to_owned(), format: "readable Parquet", what }
            })
        })
        .collect::<Result<Vec<CellAt<'_>>, Error>>()?;
    let mut row = Vec::with_capacity(columns.len());
    for idx in 0..batch.num_rows() {
        row.clear();
        row.extend(columns.iter().map(|cell_at| cell_at(idx)));
        sink(Row { line: line + idx as u64, cells: Ok(&row) })?;
    }
    Ok(())
}

/// How to get one value of a column; none for a type that has no single value.
fn cells(array: &ArrayRef) -> Option<CellAt<'_>> {
    Some(match array.data_type() {
        DataType::Utf8 => text(array.as_string::<i32>(), |array, idx| array.value(idx)),
        DataType::LargeUtf8 => text(array.as_string::<i64>(), |array, idx| array.value(idx)),
        DataType::Utf8View => text(array.as_string_view(), |array, idx| array.value(idx)),
        DataType::Boolean => {
            let array = array.as_boolean();
            Box::new(move |idx| known(array, idx, || Cell::Integer(i64::from(array.value(idx)))))
        }
        DataType::Int8 => primitive::<Int8Type>(array, |value| Cell::Integer(value.into())),
        DataType::Int16 => primitive::<Int16Type>(array, |value| Cell::Integer(value.into())),
        DataType::Int32 => primitive::<Int32Type>(array, |value| Cell::Integer(value.into())),
        DataType::Int64 => primitive::<Int64Type>(array, Cell::Integer),
        DataType::UInt8 => primitive::<UInt8Type>(array, |value| Cell::Integer(value.into())),
        DataType::UInt16 => primitive::<UInt16Type>(array, |value| Cell::Integer(value.into())),
        DataType::UInt32 => primitive::<UInt32Type>(array, |value| Cell::Integer(value.into())),
        // Keys above i64::MAX are refused with the value rather than rounded.
        DataType::UInt64 => primitive::<UInt64Type>(array, |value| {
            i64::try_from(value).map_or(Cell::Float(f64::INFINITY), Cell::Integer)
        }),
        DataType::Float32 => primitive::<Float32Type>(array, |value| Cell::Float(value.into())),
        DataType::Float64 => primitive::<Float64Type>(array, Cell::Float),
        DataType::Date32 => primitive::<Date32Type>(array, |days| Cell::Time(i64::from(days) * DAY_MS)),
        DataType::Date64 => primitive::<Date64Type>(array, Cell::Time),
        DataType::Timestamp(TimeUnit::Second, _) => {
            primitive::<TimestampSecondType>(array, |value| Cell::Time(value.saturating_mul(1000)))
        }
        DataType::Timestamp(TimeUnit::Millisecond, _) => {
            primitive::<TimestampMillisecondType>(array, Cell::Time)
        }
        DataType::Timestamp(TimeUnit::Microsecond, _) => {
            primitive::<TimestampMicrosecondType>(array, |value| Cell::Time(value.div_euclid(1000)))
        }
        DataType::Timestamp(TimeUnit::Nanosecond, _) => {
            primitive::<TimestampNanosecondType>(array, |value| Cell::Time(value.div_euclid(1_000_000)))
        }
        DataType::Dictionary(..) => return dictionary(array),
        _ => return None,
    })
}

fn known<'b>(array: &dyn Array, idx: usize, value: impl FnOnce() -> Cell<'b>) -> Cell<'b> {
    if array.is_null(idx) { Cell::Missing } else { value() }
}

fn text<'b, A: Array>(array: &'b A, value: impl Fn(&'b A, usize) -> &'b str + 'b) -> CellAt<'b> {
    Box::new(move |idx| known(array, idx, || Cell::Text(value(array, idx))))
}

fn primitive<T: ArrowPrimitiveType>(
    array: &ArrayRef,
    cell: impl Fn(T::Native) -> Cell<'static> + 'static,
) -> CellAt<'_> {
    let array = array.as_primitive::<T>();
    Box::new(move |idx| known(array, idx, || cell(array.value(idx))))
}

fn dictionary(array: &ArrayRef) -> Option<CellAt<'_>> {
    let dictionary = array.as_any_dictionary_opt()?;
    // A dictionary without values has no positions to point at; its rows are all missing.
    let keys = if dictionary.values().is_empty() { vec![] } else { dictionary.normalized_keys() };
    let value_at = cells(dictionary.values())?;
    Some(Box::new(move |idx| known(array, idx, || value_at(keys[idx]))))
}
