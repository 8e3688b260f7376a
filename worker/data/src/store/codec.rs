//! From vectors to the bytes of an Arrow IPC file and back.
//!
//! A partition has one row per user, its events as lists; items and vocabularies have one row per id.
//! No field carries metadata: Arrow keeps it in a hash map, whose order would reach the bytes.

use std::io::{Cursor, Write};
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{Float32Type, TimestampMillisecondType, UInt32Type, UInt64Type};
use arrow_array::{
    Array, ArrayRef, ArrowPrimitiveType, LargeListArray, LargeStringArray, PrimitiveArray, RecordBatch,
    UInt64Array,
};
use arrow_buffer::{OffsetBuffer, ScalarBuffer};
use arrow_ipc::reader::FileReader;
use arrow_ipc::writer::FileWriter;
use arrow_schema::{ArrowError, Field, Schema};
use serde::{Deserialize, Serialize};

use super::items::AttributeLists;
use super::keys::Keys;
use super::partition::{Partition, Series};

/// The columns of a file, by name.
pub(super) struct Columns(RecordBatch);

pub(crate) fn encode_partition(partition: Partition) -> Result<Vec<u8>, ArrowError> {
    // The buffers, and room for the messages around them.
    let bytes = partition.bytes()
        + 16 * partition.offsets.len() * (1 + partition.categorical.len() + partition.numeric.len());
    write_partition(partition, Vec::with_capacity(bytes + (1 << 16)))
}

pub(crate) fn write_partition<W: Write>(partition: Partition, writer: W) -> Result<W, ArrowError> {
    let offsets = &partition.offsets;
    let mut columns = vec![("user".to_owned(), strings(&partition.keys))];
    match partition.series {
        Some(series) => {
            let wide: Vec<u64> =
                offsets.iter().map(|row| u64::from(*row) * u64::from(series.width)).collect();
            columns.push(("features".to_owned(), lists::<Float32Type>(wide, series.features)?));
            columns.push(("targets".to_owned(), lists::<Float32Type>(widen(offsets), series.targets)?));
        }
        None => {
            columns.push(("item".to_owned(), lists::<UInt32Type>(widen(offsets), partition.items)?));
            columns.push((
                "time".to_owned(),
                lists::<TimestampMillisecondType>(widen(offsets), partition.times)?,
            ));
            for (idx, values) in partition.categorical.into_iter().enumerate() {
                columns.push((format!("categorical.{idx}"), lists::<UInt32Type>(widen(offsets), values)?));
            }
            for (idx, values) in partition.numeric.into_iter().enumerate() {
                columns.push((format!("numeric.{idx}"), lists::<Float32Type>(widen(offsets), values)?));
            }
        }
    }
    write(columns, writer)
}

pub(crate) fn encode_items(
    keys: &Keys,
    train_counts: Vec<u64>,
    attributes: &[&AttributeLists],
) -> Result<Vec<u8>, ArrowError> {
    let mut columns = vec![
        ("item".to_owned(), strings(keys)),
        ("train_events".to_owned(), Arc::new(UInt64Array::from(train_counts)) as ArrayRef),
    ];
    for (idx, attribute) in attributes.iter().enumerate() {
        let values = lists::<UInt32Type>(widen(&attribute.offsets), attribute.values.clone())?;
        columns.push((format!("attribute.{idx}"), values));
    }
    encode(columns)
}

pub(crate) fn encode_vocabulary(keys: &Keys) -> Result<Vec<u8>, ArrowError> {
    encode(vec![("key".to_owned(), strings(keys))])
}

/// Reads what [`encode_vocabulary`] wrote.
///
/// # Errors
/// What of the content does not fit.
pub(crate) fn decode_vocabulary(bytes: Vec<u8>) -> Result<Keys, String> {
    Columns::decode(bytes)?.strings("key")
}

fn encode(columns: Vec<(String, ArrayRef)>) -> Result<Vec<u8>, ArrowError> {
    write(columns, Vec::new())
}

fn write<W: Write>(columns: Vec<(String, ArrayRef)>, writer: W) -> Result<W, ArrowError> {
    let fields: Vec<Field> =
        columns.iter().map(|(name, array)| Field::new(name, array.data_type().clone(), false)).collect();
    let schema = Arc::new(Schema::new(fields));
    let arrays = columns.into_iter().map(|(_, array)| array).collect();
    let batch = RecordBatch::try_new(Arc::clone(&schema), arrays)?;
    let mut writer = FileWriter::try_new(writer, &schema)?;
    writer.write(&batch)?;
    writer.into_inner()
}

fn widen(offsets: &[u32]) -> Vec<u64> {
    offsets.iter().map(|offset| u64::from(*offset)).collect()
}

fn strings(keys: &Keys) -> ArrayRef {
    Arc::new(LargeStringArray::from_iter_values(keys.iter()))
}

fn lists<T: ArrowPrimitiveType>(offsets: Vec<u64>, values: Vec<T::Native>) -> Result<ArrayRef, ArrowError> {
    // Both sides fit: a Vec never has more than i64::MAX items.
    let offsets: Vec<i64> = offsets.into_iter().map(u64::cast_signed).collect();
    let values: ArrayRef = Arc::new(PrimitiveArray::<T>::new(ScalarBuffer::from(values), None));
    let field = Arc::new(Field::new_list_field(values.data_type().clone(), false));
    let list = LargeListArray::try_new(field, OffsetBuffer::new(ScalarBuffer::from(offsets)), values, None)?;
    Ok(Arc::new(list))
}

/// What a partition's file holds besides users, items and times.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Shape {
    pub(crate) categorical: usize,
    pub(crate) numeric: usize,
    pub(crate) is_series: bool,
}

/// Reads a partition; ids are not checked here.
///
/// # Errors
/// What of the content does not fit.
pub(crate) fn decode_partition(bytes: Vec<u8>, shape: Shape) -> Result<Partition, String> {
    let columns = Columns::decode(bytes)?;
    let keys = columns.strings("user")?;
    if shape.is_series {
        let (offsets, series) = columns.series(shape.numeric as u32)?;
        return Ok(Partition { offsets, series: Some(series), ..Partition::with_keys(keys) });
    }
    let (offsets, items) = columns.lists::<UInt32Type>("item")?;
    let times = columns.lists_at::<TimestampMillisecondType>("time", &offsets)?;
    let categorical = (0..shape.categorical)
        .map(|idx| columns.lists_at::<UInt32Type>(&format!("categorical.{idx}"), &offsets))
        .collect::<Result<_, _>>()?;
    let numeric = (0..shape.numeric)
        .map(|idx| columns.lists_at::<Float32Type>(&format!("numeric.{idx}"), &offsets))
        .collect::<Result<_, _>>()?;
    Ok(Partition { offsets, items, times, categorical, numeric, ..Partition::with_keys(keys) })
}

impl Columns {
    /// Reads the one batch of a file.
    ///
    /// # Errors
    /// What of the content does not fit.
    pub(super) fn decode(bytes: Vec<u8>) -> Result<Self, String> {
        let mut reader = FileReader::try_new(Cursor::new(bytes), None).map_err(|error| error.to_string())?;
        match (reader.next(), reader.next()) {
            (Some(Ok(batch)), None) => Ok(Self(batch)),
            (Some(Err(error)), _) => Err(error.to_string()),
            (found, _) => Err(format!(
                "expected one record batch, found {}",
                if found.is_some() { "more" } else { "none" }
            )),
        }
    }

    pub(super) fn rows(&self) -> usize {
        self.0.num_rows()
    }

    fn column(&self, name: &str) -> Result<&ArrayRef, String> {
        self.0.column_by_name(name).ok_or_else(|| format!("it has no column `{name}`"))
    }

    pub(super) fn strings(&self, name: &str) -> Result<Keys, String> {
        let array = self
            .column(name)?
            .as_string_opt::<i64>()
            .ok_or_else(|| format!("column `{name}` is not text"))?;
        Ok((0..array.len()).map(|idx| array.value(idx)).collect())
    }

    pub(super) fn counts(&self, name: &str) -> Result<Vec<u64>, String> {
        let array = self
            .column(name)?
            .as_primitive_opt::<UInt64Type>()
            .ok_or_else(|| format!("column `{name}` does not hold counts"))?;
        Ok(array.values().to_vec())
    }

    /// The lists of a column: where each starts, and all values.
    pub(super) fn lists<T: ArrowPrimitiveType>(
        &self,
        name: &str,
    ) -> Result<(Vec<u32>, Vec<T::Native>), String> {
        let array =
            self.column(name)?.as_list_opt::<i64>().ok_or_else(|| format!("column `{name}` is no list"))?;
        let values = array
            .values()
            .as_primitive_opt::<T>()
            .ok_or_else(|| format!("column `{name}` does not hold {}", T::DATA_TYPE))?;
        let offsets = array
            .value_offsets()
            .iter()
            .map(|offset| u32::try_from(*offset).map_err(|_| format!("column `{name}` is over 2^32 values")))
            .collect::<Result<Vec<_>, _>>()?;
        Ok((offsets, values.values().to_vec()))
    }

    /// Values whose lists must start where `offsets` say.
    fn lists_at<T: ArrowPrimitiveType>(&self, name: &str, offsets: &[u32]) -> Result<Vec<T::Native>, String> {
        let (found, values) = self.lists::<T>(name)?;
        if found != offsets {
            return Err(format!("column `{name}` has lists of other lengths than the first"));
        }
        Ok(values)
    }

    /// The series of a partition: where each starts in rows, and the numbers.
    fn series(&self, width: u32) -> Result<(Vec<u32>, Series), String> {
        let (offsets, targets) = self.lists::<Float32Type>("targets")?;
        let array = self
            .column("features")?
            .as_list_opt::<i64>()
            .ok_or_else(|| "column `features` is no list".to_owned())?;
        let fits = array
            .value_offsets()
            .iter()
            .zip(&offsets)
            .all(|(wide, row)| *wide == i64::from(*row) * i64::from(width));
        let values = array
            .values()
            .as_primitive_opt::<Float32Type>()
            .filter(|_| fits)
            .ok_or_else(|| format!("column `features` does not hold {width} numbers a row"))?;
        Ok((offsets, Series { width, features: values.values().to_vec(), targets }))
    }
}
