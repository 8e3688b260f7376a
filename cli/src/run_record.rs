//! What lies in a run directory beside its checkpoints, as commands write and read it.

use std::fs;
use std::path::Path;

use muster_data::Dataset;
use muster_worker::checkpoint;
pub use muster_worker::run_record::RunRecord;
use muster_worker::run_record::address;

use crate::error::Error;

/// What the run's steps took, beside their forecast.
const STEPS: &str = "steps.json";

/// Writes what the run's steps were forecast and measured to take into the run directory.
///
/// # Errors
/// Where the file cannot be written.
pub fn save_steps(run_dir: &Path, steps: &serde_json::Value) -> Result<(), Error> {
    let path = run_dir.join(STEPS);
    fs::write(&path, format!("{steps:#}\n"))
        .map_err(|error| Error::failed(format!("cannot write {}: {error}", path.display())).with_file(&path))
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
