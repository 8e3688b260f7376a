//! Apache Parquet: only the wanted columns are decoded, a batch of rows at a time.

mod chunks;

use arrow_array::cast::AsArray;
use arrow_array::types::{
    ArrowPrimitiveType, Date32Type, Date64Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type,
    Int64Type, TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType,
    TimestampSecondType, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use arrow_array::{Array, ArrayRef};
use arrow_schema::{DataType, TimeUnit};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use self::chunks::Chunks;
use super::{Row, Sink, Table, positions};
use crate::prepare::cell::Cell;
use crate::prepare::error::Error;

const BATCH_ROWS: usize = 8192;
const DAY_MS: i64 = 86_400_000;

type Builder = ParquetRecordBatchReaderBuilder<Chunks>;
type CellAt<'b> = Box<dyn Fn(usize) -> Cell<'b> + 'b>;

fn builder(table: &Table<'_>) -> Result<Builder, Error> {
    let failed = |source| Error::Read { path: table.path.to_owned(), source };
    Builder::try_new(Chunks::open(table.path).map_err(failed)?).map_err(|error| broken(table, error))
}

fn broken(table: &Table<'_>, error: impl std::fmt::Display) -> Error {
    Error::Format { path: table.path.to_owned(), format: "Parquet", what: error.to_string() }
}

pub(super) fn names(table: &Table<'_>) -> Result<Vec<String>, Error> {
    Ok(names_of(&builder(table)?))
}

fn names_of(builder: &Builder) -> Vec<String> {
    builder.schema().fields().iter().map(|field| field.name().clone()).collect()
}

pub(super) fn read(table: &Table<'_>, sink: Sink<'_>) -> Result<(), Error> {
    let builder = builder(table)?;
    let positions = positions(table, &names_of(&builder))?;
    let mask = ProjectionMask::roots(builder.parquet_schema(), positions.iter().copied());
    let batches = builder
        .with_projection(mask)
        .with_batch_size(BATCH_ROWS)
        .build()
        .map_err(|error| broken(table, error))?;
    let mut line = 0;
    for batch in batches {
        let batch = batch.map_err(|error| broken(table, error))?;
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
            line += 1;
            row.clear();
            row.extend(columns.iter().map(|cell_at| cell_at(idx)));
            sink(Row { line, cells: Ok(&row) })?;
        }
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
