//! `run.json` in a run directory: what the run was made of, so that later commands need not be told again.

use std::fs;
use std::path::{Path, PathBuf};

use muster_data::Dataset;
use muster_worker::checkpoint;
use serde::{Deserialize, Serialize};

use crate::error::Error;

const FILE: &str = "run.json";

/// What the run's steps took, beside their forecast.
const STEPS: &str = "steps.json";

/// What a run was made of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunRecord {
    /// Name of the job.
    pub name: String,
    /// The prepared dataset, an absolute path.
    pub dataset: PathBuf,
    /// Number of workers it began with.
    pub workers: u32,
    /// The program's version.
    pub version: String,
    /// Where its checkpoints lie, if in an object store.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checkpoints: Option<PathBuf>,
}

impl RunRecord {
    /// Writes the record into the run directory.
    ///
    /// # Errors
    /// Where the file cannot be written.
    pub fn save(&self, run_dir: &Path) -> Result<(), Error> {
        let path = run_dir.join(FILE);
        let text = serde_json::to_string_pretty(self).map_err(|error| Error::failed(error.to_string()))?;
        fs::write(&path, text + "\n").map_err(|error| {
            Error::failed(format!("cannot write {}: {error}", path.display())).with_file(&path)
        })
    }

    /// Reads the record of a run, or of the run that a checkpoint inside it belongs to.
    ///
    /// # Errors
    /// Where the record is there and is none.
    pub fn find(model: &Path) -> Result<Option<Self>, Error> {
        for folder in model.ancestors().take(3) {
            let path = folder.join(FILE);
            let Ok(text) = fs::read_to_string(&path) else { continue };
            let record = serde_json::from_str(&text).map_err(|error| {
                Error::bad_input(format!("{} is no record of a run: {error}", path.display()))
                    .with_file(&path)
            })?;
            return Ok(Some(record));
        }
        Ok(None)
    }
}

/// Writes what the run's steps were forecast and measured to take into the run directory.
///
/// # Errors
/// Where the file cannot be written.
pub fn save_steps(run_dir: &Path, steps: &serde_json::Value) -> Result<(), Error> {
    let path = run_dir.join(STEPS);
    fs::write(&path, format!("{steps:#}\n"))
        .map_err(|error| Error::failed(format!("cannot write {}: {error}", path.display())).with_file(&path))
}

/// Where the checkpoints of a model lie: in an object store where the record of a run directory says so, else at `model`
/// itself, which may be a URL.
///
/// # Errors
/// Where the record is there and is none.
pub fn address(model: &Path) -> Result<PathBuf, Error> {
    let record = if model.join(FILE).is_file() { RunRecord::find(model)? } else { None };
    Ok(record.and_then(|record| record.checkpoints).unwrap_or_else(|| model.to_path_buf()))
}

/// Opens the dataset that a flag names, or else the one that the model was trained on.
///
/// # Errors
/// Where there is no model, no dataset is known, or it cannot be opened.
pub fn open_dataset(named: Option<&Path>, model: &Path) -> Result<Dataset, Error> {
    checkpoint::find(&address(model)?, true)?;
    if let Some(dir) = named {
        return Ok(Dataset::open(dir)?);
    }
    match RunRecord::find(model)? {
        Some(record) => Ok(Dataset::open(&record.dataset)?),
        None => {
            let message =
                format!("nothing says which dataset {} was trained on; give --dataset DIR", model.display());
            Err(Error::bad_input(message).with_file(model).with_field("--dataset"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_found_from_a_checkpoint_inside_the_run() {
        let folder = tempfile::tempdir().unwrap();
        let record = RunRecord {
            name: "job".into(),
            dataset: "/d".into(),
            workers: 2,
            version: "0.1.0".into(),
            checkpoints: Some("s3://bucket/job-1".into()),
        };
        record.save(folder.path()).unwrap();
        assert_eq!(address(folder.path()).unwrap(), Path::new("s3://bucket/job-1"));
        assert_eq!(address(Path::new("s3://bucket/job-2")).unwrap(), Path::new("s3://bucket/job-2"));
        assert_eq!(RunRecord::find(&folder.path().join("checkpoints/step-4")).unwrap(), Some(record));
        assert_eq!(RunRecord::find(Path::new("/nowhere")).unwrap(), None);
    }
}
