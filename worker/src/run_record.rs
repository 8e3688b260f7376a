//! `run.json` in a run directory: what the run was made of, so that whoever comes later need not be told again.

use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

const FILE: &str = "run.json";

/// What a run was made of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunRecord {
    /// Name of the job.
    pub name: String,
    /// The prepared dataset, an absolute path; of an exported model, relative to the record's folder.
    pub dataset: PathBuf,
    /// Number of workers it began with; nobody knows of an exported model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workers: Option<u32>,
    /// The program's version.
    pub version: String,
    /// Where its checkpoints lie, if in an object store, or in another folder below the record's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checkpoints: Option<PathBuf>,
}

/// Why there is no record.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It cannot be written.
    #[error("cannot write {}: {source}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// The file is something else.
    #[error("{} is no record of a run: {source}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What the JSON reader found.
        source: serde_json::Error,
    },
}

impl RunRecord {
    /// Writes the record into the run directory.
    ///
    /// # Errors
    /// Where the file cannot be written.
    pub fn save(&self, run_dir: &Path) -> Result<(), Error> {
        let path = run_dir.join(FILE);
        let text = serde_json::to_string_pretty(self).map_err(std::io::Error::from);
        text.and_then(|text| fs::write(&path, text + "\n")).map_err(|source| Error::Write { path, source })
    }

    /// Reads the record of a run, or of the run that a checkpoint inside it belongs to.
    ///
    /// # Errors
    /// Where the record is there and is none.
    pub fn find(model: &Path) -> Result<Option<Self>, Error> {
        for folder in model.ancestors().take(3) {
            let path = folder.join(FILE);
            let Ok(text) = fs::read_to_string(&path) else { continue };
            let record = serde_json::from_str::<Self>(&text);
            let record = record.map_err(|source| Error::Malformed { path, source })?;
            return Ok(Some(record.rooted(folder)));
        }
        Ok(None)
    }

    /// With relative paths begun from the record's folder.
    fn rooted(self, folder: &Path) -> Self {
        let is_url = |path: &Path| path.to_str().is_some_and(|text| text.contains("://"));
        let root = |path: PathBuf| if is_url(&path) { path } else { folder.join(path) };
        Self { dataset: root(self.dataset), checkpoints: self.checkpoints.map(root), ..self }
    }
}

/// Where the checkpoints of a model lie: elsewhere where the record of a run directory says so, as in an object store, else at
/// `model` itself, which may be a URL.
///
/// # Errors
/// Where the record is there and is none.
pub fn address(model: &Path) -> Result<PathBuf, Error> {
    let record = if model.join(FILE).is_file() { RunRecord::find(model)? } else { None };
    Ok(record.and_then(|record| record.checkpoints).unwrap_or_else(|| model.to_path_buf()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_exported_model_names_is_below_its_own_folder_wherever_that_is() {
        let folder = tempfile::tempdir().unwrap();
        let record = RunRecord {
            name: "job".into(),
            dataset: "dataset".into(),
            workers: None,
            version: "0.1.0".into(),
            checkpoints: Some("model".into()),
        };
        record.save(folder.path()).unwrap();
        assert_eq!(address(folder.path()).unwrap(), folder.path().join("model"));
        let found = RunRecord::find(&folder.path().join("model")).unwrap().unwrap();
        assert_eq!(found.dataset, folder.path().join("dataset"));
    }

    #[test]
    fn a_record_is_found_from_a_checkpoint_inside_the_run() {
        let folder = tempfile::tempdir().unwrap();
        let record = RunRecord {
            name: "job".into(),
            dataset: "/d".into(),
            workers: Some(2),
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
