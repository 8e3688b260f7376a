//! TorchRec's `EmbeddingBagConfig` and `EmbeddingConfig` as JSON objects.

use serde_json::Value;

use super::{Error, checked};
use crate::capacity::{Precision, TableSpec};

/// Reads a list of `name, num_embeddings, embedding_dim, feature_names, data_type, pooling`, and `pooling_factor`, a number of
/// lookups or one for each feature, where it is known.
///
/// `data_type` is FP32, FP16 or BF16; `pooling` is SUM or MEAN, or NONE for rows that are not summed. Both may be written as Python
/// prints them (`DataType.FP16`), and are FP32 and SUM where absent. Other fields do not bear on cost and are not read.
///
/// # Errors
/// The text is no such list, or has a table that no question may have.
pub fn from_torchrec(text: &str) -> Result<Vec<TableSpec>, Error> {
    let list: Vec<Value> = serde_json::from_str(text).map_err(|source| Error::Json { source })?;
    let table = |(index, value): (usize, &Value)| {
        table_of(index, value).map_err(|(field, what)| Error::Field { index, field, what })
    };
    checked(list.iter().enumerate().map(table).collect::<Result<_, _>>()?)
}

/// A field and what is wrong with it.
type Fault = (&'static str, String);

fn table_of(index: usize, value: &Value) -> Result<TableSpec, Fault> {
    let number = |field: &'static str| {
        let found = value.get(field).and_then(Value::as_u64).filter(|number| *number > 0);
        found.ok_or_else(|| (field, "is missing or no whole number above 0".to_owned()))
    };
    let rows = number("num_embeddings")?;
    let dim = u32::try_from(number("embedding_dim")?)
        .map_err(|_| ("embedding_dim", "is above any dimension".to_owned()))?;
    let name = match value.get("name") {
        None | Some(Value::Null) => format!("t{index}"),
        Some(Value::String(name)) => name.clone(),
        Some(other) => return Err(("name", format!("{other} is no text"))),
    };
    let mut table = TableSpec::new(name, rows, dim, lookups(value, features(value)?)?);
    table.precision = match word(value, "data_type")?.as_deref() {
        None | Some("FP32") => Precision::F32,
        Some("FP16") => Precision::F16,
        Some("BF16") => Precision::Bf16,
        Some(other) => {
            return Err((
                "data_type",
                format!("{other} is none of FP32, FP16 and BF16, which can be trained"),
            ));
        }
    };
    table.pooled = match word(value, "pooling")?.as_deref() {
        None | Some("SUM" | "MEAN") => true,
        Some("NONE") => false,
        Some(other) => return Err(("pooling", format!("{other} is none of SUM, MEAN and NONE"))),
    };
    Ok(table)
}

/// How many features read the table: 1 where none are named.
fn features(value: &Value) -> Result<usize, Fault> {
    match value.get("feature_names") {
        None | Some(Value::Null) => Ok(1),
        Some(Value::Array(names)) => Ok(names.len().max(1)),
        Some(other) => Err(("feature_names", format!("{other} is no list of names"))),
    }
}

fn lookups(value: &Value, features: usize) -> Result<Vec<f64>, Fault> {
    let number = |value: &Value| {
        let number = value.as_f64().filter(|number| *number >= 0.0);
        number.ok_or_else(|| ("pooling_factor", format!("{value} is no number of 0 or more")))
    };
    match value.get("pooling_factor") {
        None | Some(Value::Null) => Ok(vec![1.0; features]),
        Some(Value::Array(each)) if each.len() != features => {
            let what = format!("has {} numbers for {features} features of feature_names", each.len());
            Err(("pooling_factor", what))
        }
        Some(Value::Array(each)) => each.iter().map(number).collect(),
        Some(one) => Ok(vec![number(one)?; features]),
    }
}

/// A name of an enum in capitals, without the enum's own.
fn word(value: &Value, field: &'static str) -> Result<Option<String>, Fault> {
    match value.get(field) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(text.rsplit('.').next().map(str::to_uppercase)),
        Some(other) => Err((field, format!("{other} is no name"))),
    }
}
