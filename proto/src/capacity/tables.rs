//! Table lists as others write them: our CSV form, and TorchRec's as JSON.

use serde_json::Value;

use super::TableSpec;

/// Why a table list cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A line of the CSV is none.
    #[error("line {line}: {what}; the form is table,rows,dim,pooling,zipf_alpha,shared_group")]
    Line {
        /// The line, from 1.
        line: usize,
        /// What is wrong with it.
        what: String,
    },
    /// The text is no JSON.
    #[error("is not a JSON list of tables: {source}")]
    Json {
        /// What the reader found.
        source: serde_json::Error,
    },
    /// A table of the JSON lacks something.
    #[error("table {index}: {field} is missing or no number above 0")]
    Field {
        /// The table, from 0.
        index: usize,
        /// The field.
        field: &'static str,
    },
}

/// Reads `table,rows,dim,pooling,zipf_alpha,shared_group`; `a;b` in pooling are features that share the table.
///
/// # Errors
/// A line with a missing or malformed number.
pub fn from_csv(text: &str) -> Result<Vec<TableSpec>, Error> {
    let mut tables = Vec::new();
    for (idx, line) in text.lines().enumerate().skip(1).filter(|(_, line)| !line.trim().is_empty()) {
        let fail = |what: String| Error::Line { line: idx + 1, what };
        let cells: Vec<&str> = line.split(',').map(str::trim).collect();
        let [name, rows, dim, pooling, zipf, ..] = cells[..] else {
            return Err(fail(format!("{} cells", cells.len())));
        };
        let rows = rows.parse().map_err(|_| fail(format!("rows `{rows}` is no whole number")))?;
        let dim = dim.parse().map_err(|_| fail(format!("dim `{dim}` is no whole number")))?;
        let lookups: Result<Vec<f64>, _> = pooling.split(';').map(str::parse).collect();
        let lookups = lookups.map_err(|_| fail(format!("pooling `{pooling}` is no number")))?;
        let mut table = TableSpec::new(name, rows, dim, lookups);
        if !zipf.is_empty() {
            table.zipf = zipf.parse().map_err(|_| fail(format!("zipf_alpha `{zipf}` is no number")))?;
        }
        tables.push(table);
    }
    Ok(tables)
}

/// Reads a list of TorchRec's `EmbeddingBagConfig` as JSON objects: `name, num_embeddings, embedding_dim, feature_names`, and
/// `pooling_factor`, a number or one for each feature, where it is known.
///
/// # Errors
/// The text is no such list.
pub fn from_torchrec(text: &str) -> Result<Vec<TableSpec>, Error> {
    let list: Vec<Value> = serde_json::from_str(text).map_err(|source| Error::Json { source })?;
    list.iter().enumerate().map(|(index, value)| torchrec_table(index, value)).collect()
}

fn torchrec_table(index: usize, value: &Value) -> Result<TableSpec, Error> {
    let number = |field: &'static str| {
        let found = value.get(field).and_then(Value::as_u64).filter(|number| *number > 0);
        found.ok_or(Error::Field { index, field })
    };
    let rows = number("num_embeddings")?;
    let dim = u32::try_from(number("embedding_dim")?)
        .map_err(|_| Error::Field { index, field: "embedding_dim" })?;
    let features = value.get("feature_names").and_then(Value::as_array).map_or(1, Vec::len).max(1);
    let lookups = match value.get("pooling_factor") {
        Some(Value::Array(each)) => each.iter().filter_map(Value::as_f64).collect(),
        Some(one) => vec![one.as_f64().ok_or(Error::Field { index, field: "pooling_factor" })?; features],
        None => vec![1.0; features],
    };
    let name = value.get("name").and_then(Value::as_str).map_or_else(|| format!("t{index}"), str::to_owned);
    Ok(TableSpec::new(name, rows, dim, lookups))
}
