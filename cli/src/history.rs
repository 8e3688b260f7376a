//! The history of a run, `history.jsonl`: one JSON object a line, appended while the run goes on.
//!
//! A line is a log interval or an evaluation. A torn last line (the run was killed in mid-write) is passed over.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::lineage::Entry;

/// One line of the history.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// The step it was taken at.
    #[serde(default)]
    pub step: u64,
    /// The epoch, from 0.
    #[serde(default)]
    pub epoch: u64,
    /// The mean training loss since the last record.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub loss: Option<f64>,
    /// Real target positions over wall seconds of training steps.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens_per_second: Option<f64>,
    /// The generation that begins here; what was recorded of later steps was made again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generation: Option<u64>,
    /// What an evaluation on the validation split gave.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub metrics: BTreeMap<String, f64>,
}

/// Reads a history; a missing file is an empty one.
///
/// # Errors
/// Where the file is there and cannot be read, or a line before the last is no record.
pub fn load(path: &Path) -> Result<Vec<Record>, Error> {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => {
            return Err(unreadable(path, &error));
        }
    };
    let mut records: Vec<Record> = Vec::new();
    let n_lines = text.lines().count();
    for (idx, line) in text.lines().enumerate() {
        match serde_json::from_str(line) {
            Ok(Record { generation: Some(_), step, .. }) => records.retain(|record| record.step <= step),
            Ok(record) => records.push(record),
            Err(_) if idx + 1 == n_lines && !text.ends_with('\n') => {}
            Err(error) => {
                let message = format!("{} line {} is no record of a run: {error}", path.display(), idx + 1);
                return Err(Error::bad_input(message)
                    .with_file(path)
                    .with_field(format!("line {}", idx + 1)));
            }
        }
    }
    Ok(records)
}

/// What a history says about its generations, for [`crate::lineage::check`]; a line that cannot be read says nothing.
///
/// # Errors
/// The file cannot be read.
pub fn entries(path: &Path) -> Result<Vec<Entry>, Error> {
    let text = fs::read_to_string(path).map_err(|error| unreadable(path, &error))?;
    let mut current = 0;
    let mut reached = 0;
    let mut entries = Vec::new();
    for record in text.lines().filter_map(|line| serde_json::from_str::<Record>(line).ok()) {
        match record.generation {
            Some(generation) => {
                (current, reached) = (generation, record.step);
                entries.push(Entry::Began { generation, step: record.step });
            }
            // An evaluation repeats the step that it was made at.
            None if record.loss.is_some() && record.step != reached => {
                reached = record.step;
                entries.push(Entry::Reached { generation: current, step: record.step });
            }
            None => {}
        }
    }
    Ok(entries)
}

fn unreadable(path: &Path, error: &std::io::Error) -> Error {
    Error::failed(format!("cannot read {}: {error}", path.display())).with_file(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_torn_last_line_is_passed_over_and_a_torn_middle_line_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("history.jsonl");
        fs::write(&path, "{\"step\":10,\"epoch\":1,\"loss\":2.5}\n{\"step\":20,\"ep").unwrap();
        assert_eq!(load(&path).unwrap().len(), 1);
        fs::write(&path, "{\"step\":10,\"ep\n{\"step\":20,\"epoch\":1,\"loss\":2.5}\n").unwrap();
        assert_eq!(load(&path).unwrap_err().field.as_deref(), Some("line 1"));
    }

    #[test]
    fn a_run_without_history_has_an_empty_one() {
        assert_eq!(load(Path::new("/nowhere/history.jsonl")).unwrap(), Vec::new());
    }
}
