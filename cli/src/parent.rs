//! The model that a job begins from: found, checked and written into the job before anything is started, so that the job says
//! by itself what it begins from, wherever it runs.

use std::path::{Path, PathBuf};

use muster_data::Dataset;
use muster_proto::checkpoint::MANIFEST_FILE;
use muster_proto::config;
use muster_proto::job::{JobSpec, WarmStartSpec};
use muster_worker::checkpoint;
use muster_worker::run_record::{RunRecord, address};
use muster_worker::warm_start::{self, Parent};

use crate::error::Error;
use crate::submission::absolute;

/// The key that names the parent.
const PARENT: &str = "warm_start.parent";

/// What `--from` is in a job file; a path is one of the present folder.
///
/// # Errors
/// Where the path cannot be made absolute.
pub fn as_key(from: &Path) -> Result<String, Error> {
    let parent = if is_url(from) { from.display().to_string() } else { absolute(from)? };
    Ok(format!("{PARENT}={}", toml::Value::from(parent)))
}

/// Finds the parent that the job names, checks that the job can begin from it, and notes in the job which model it is, on which
/// dataset it was trained, and what it has been through. Relative paths start from the job file's folder.
///
/// # Errors
/// Where there is no such model, it is of another shape, or its dataset is unknown or another one.
pub fn pin(job: &mut JobSpec, job_path: &Path) -> Result<(), Error> {
    let Some(warm) = &mut job.warm_start else { return Ok(()) };
    if let Some(items) = &mut warm.items {
        *items = from_folder_of(job_path, items).display().to_string();
    }
    let warm = warm.clone();
    let named = from_folder_of(job_path, &warm.parent);
    let parent = Parent::read(&address(&named)?).map_err(of_parent)?;
    parent.check(job).map_err(of_parent)?;
    let has_items = !job.model.head.is_regression();
    let dataset = has_items.then(|| dataset_of(&parent, &warm, &named, job_path)).transpose()?;
    warm_start::pin(job, &parent, dataset.as_ref()).map_err(of_parent)
}

/// Puts what the run began from into the job that goes on with it: that lies behind it, whatever the job file says now.
///
/// # Errors
/// Where the run has no checkpoint that can be read, or began without the parent that the job file names.
pub fn adopt(job: &mut JobSpec, run_dir: &Path) -> Result<(), Error> {
    let reader = checkpoint::find(&address(run_dir)?, false)
        .map_err(|error| Error::from(error).with_field("--resume"))?;
    let file = reader.file(MANIFEST_FILE);
    let begun: JobSpec = config::parse(&reader.manifest.job, &file.display().to_string(), &[])?;
    if job.warm_start.is_some() && begun.warm_start.is_none() {
        let message = format!(
            "{} began from initial values, and cannot begin from a parent any more; leave out [warm_start], or begin a new run",
            run_dir.display()
        );
        return Err(Error::bad_input(message).with_file(run_dir).with_field(PARENT));
    }
    job.warm_start = begun.warm_start;
    Ok(())
}

/// An error at the parent, where it is not at a key of its own.
fn of_parent(error: warm_start::Error) -> Error {
    let error = Error::from(error);
    if error.field.is_some() { error } else { error.with_field(PARENT) }
}

/// The dataset that the parent was trained on: the one that the job names, else the one of the parent's run.
fn dataset_of(
    parent: &Parent,
    warm: &WarmStartSpec,
    named: &Path,
    job_path: &Path,
) -> Result<Dataset, Error> {
    const FIELD: &str = "warm_start.dataset";
    let dir = match &warm.dataset {
        Some(dataset) => from_folder_of(job_path, dataset),
        None => match RunRecord::find(named)? {
            Some(record) => record.dataset,
            None => {
                let path = parent.reader.location.address();
                let error = warm_start::Error::NoDataset { path };
                return Err(Error::from(error).with_field(FIELD));
            }
        },
    };
    let dataset = Dataset::open(&dir).map_err(|error| Error::from(error).with_field(FIELD))?;
    parent.check_dataset(&dataset).map_err(|error| Error::from(error).with_field(FIELD))?;
    Ok(dataset)
}

fn from_folder_of(job_path: &Path, path: &str) -> PathBuf {
    let path = Path::new(path);
    match job_path.parent() {
        Some(folder) if !is_url(path) => folder.join(path),
        _ => path.to_owned(),
    }
}

fn is_url(path: &Path) -> bool {
    path.to_str().is_some_and(|text| text.contains("://"))
}
