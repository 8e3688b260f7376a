//! A job and a dataset become what a coordinator is asked for.
//!
//! Everything that can be wrong with the pair is found here, before anything is started.

use std::path::{Path, PathBuf};

use muster_data::Dataset;
use muster_proto::control::{DeviceKind, Queueing, Submission};
use muster_proto::ids::WorldSize;
use muster_proto::job::JobSpec;
use muster_proto::sharding::TableDecl;

use crate::batch::{self, Corpus};
use crate::train::declare;

/// Where and on how many workers a job runs.
#[derive(Debug, Clone)]
pub struct Placement {
    /// The prepared dataset.
    pub dataset: PathBuf,
    /// Number of workers.
    pub workers: u32,
    /// The fewest that the job goes on with when some are lost.
    pub min_workers: u32,
    /// What they must compute on; `None` for any.
    pub device: Option<DeviceKind>,
    /// Where the job stands among those that want workers.
    pub queueing: Queueing,
}

/// Why nothing can be asked of a coordinator.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The dataset cannot be opened.
    #[error(transparent)]
    Dataset(#[from] muster_data::Error),
    /// The dataset is not one for the job.
    #[error("{source}")]
    Unfit {
        /// What does not fit.
        source: batch::Error,
        /// The key of the job that is about it.
        field: &'static str,
    },
    /// GPUs are asked for a table that is cut.
    #[error(
        "only CPU workers train tables that are cut into column blocks; leave it out, or take --device cpu"
    )]
    CutOnGpu {
        /// The table.
        table: String,
    },
    /// A path that other processes cannot be told.
    #[error("cannot use the path {}: {problem}", path.display())]
    Path {
        /// The path.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// The job cannot be written: a defect of this program.
    #[error("cannot write the job as TOML: {0}")]
    Encode(#[from] toml::ser::Error),
}

/// What the coordinator is asked for, without a run directory yet: that is made once all else is right.
///
/// # Errors
/// Where the dataset cannot be opened, or lacks a column that the job uses, or GPUs are asked for a table that is cut.
pub fn plan(job: &JobSpec, placement: &Placement) -> Result<Submission, Error> {
    let dataset = Dataset::open(&placement.dataset)?;
    let unfit = |source: batch::Error| Error::Unfit { field: at_fault(job, &source), source };
    Corpus::new(job, dataset.manifest()).map_err(unfit)?;
    let tables = declare(job, &dataset).map_err(unfit)?;
    let device = device(placement.device, &tables)?;
    Ok(Submission {
        name: job.name.clone(),
        spec_toml: toml::to_string(job)?,
        dataset_dir: absolute(&placement.dataset)?,
        run_dir: String::new(),
        world_size: WorldSize(placement.workers),
        micro_batches: job.batch.micro_batches,
        tables,
        reproducible: job.reproducible,
        device,
        numerics: None,
        min_workers: placement.min_workers,
        forecast: None,
        queueing: placement.queueing.clone(),
    })
}

/// What the workers must compute on: tables that are cut into column blocks are for CPUs.
fn device(asked: Option<DeviceKind>, tables: &[TableDecl]) -> Result<Option<DeviceKind>, Error> {
    let Some(cut) = tables.iter().find(|table| table.columns.is_some()) else { return Ok(asked) };
    if asked == Some(DeviceKind::Cuda) {
        return Err(Error::CutOnGpu { table: cut.table().to_owned() });
    }
    Ok(Some(DeviceKind::Cpu))
}

/// The key of the job file that does not fit the dataset.
fn at_fault(job: &JobSpec, error: &batch::Error) -> &'static str {
    match error {
        batch::Error::Column(missing) if job.model.head.label() != Some(&missing.column) => "model.features",
        _ => "model.head",
    }
}

/// The path as a process with another working directory sees it.
///
/// # Errors
/// Where the path cannot be made absolute or is not UTF-8.
pub fn absolute(path: &Path) -> Result<String, Error> {
    let unusable = |problem: String| Error::Path { path: path.to_owned(), problem };
    let absolute = std::path::absolute(path).map_err(|error| unusable(error.to_string()))?;
    let text = absolute.into_os_string().into_string();
    text.map_err(|_| unusable("it is not UTF-8; rename it".to_owned()))
}
