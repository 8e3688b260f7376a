//! Table lists as others write them: our CSV form, and TorchRec's as JSON.

mod csv;
mod torchrec;

pub use csv::from_csv;
pub use torchrec::from_torchrec;

use super::TableSpec;
use crate::config::{Problem, Problems};

/// Why a table list cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A line of the CSV is none.
    #[error("line {line}: {what}; the form is {}", csv::FORM)]
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
    /// A table of the JSON has something else in a field than belongs there.
    #[error("table {index}: {field} {what}")]
    Field {
        /// The table, from 0.
        index: usize,
        /// The field.
        field: &'static str,
        /// What is wrong with it.
        what: String,
    },
    /// Tables that no question may have.
    #[error("{}", told(problems))]
    Rules {
        /// What is wrong, by name of the table and field.
        problems: Vec<Problem>,
    },
}

fn told(problems: &[Problem]) -> String {
    let each = problems.iter().map(|problem| format!("table {}: {}", problem.field, problem.message));
    each.collect::<Vec<_>>().join("; ")
}

/// What holds for the tables of a question holds for those of a list.
fn checked(tables: Vec<TableSpec>) -> Result<Vec<TableSpec>, Error> {
    let mut problems = Problems::new();
    for (idx, table) in tables.iter().enumerate() {
        let named = if table.name.is_empty() { format!("of index {idx}") } else { table.name.clone() };
        problems.within(&named, |p| table.validate(p));
    }
    let mut names: Vec<&str> = tables.iter().map(|table| table.name.as_str()).collect();
    names.sort_unstable();
    for twice in names.chunk_by(|a, b| a == b).filter(|same| same.len() > 1) {
        problems.push(twice[0], "is the name of two tables, give each a name of its own");
    }
    if problems.is_empty() { Ok(tables) } else { Err(Error::Rules { problems: problems.into_vec() }) }
}

#[cfg(test)]
mod tests;
