//! A job file and a dataset become what a coordinator is asked for.
//!
//! Everything that can be wrong with the pair is found here, before a process is started.

use std::path::{Path, PathBuf};

use muster_data::Dataset;
use muster_proto::config;
use muster_proto::control::{DeviceKind, Queueing, Submission};
use muster_proto::ids::WorldSize;
use muster_proto::job::JobSpec;
use muster_proto::sharding::TableDecl;
use muster_worker::batch::{self, Corpus};
use muster_worker::train::declare;

use crate::error::Error;

/// A job file with its overrides.
#[derive(Debug, Clone, Copy)]
pub struct JobFile<'a> {
    /// The file.
    pub path: &'a Path,
    /// `--set KEY=VALUE`, in order.
    pub sets: &'a [String],
    /// `--seed`.
    pub seed: Option<u64>,
}

impl JobFile<'_> {
    /// Reads and checks the job.
    ///
    /// # Errors
    /// Where the file cannot be read or a value breaks a rule.
    pub fn load(&self) -> Result<JobSpec, Error> {
        let mut sets = self.sets.to_vec();
        sets.extend(self.seed.map(|seed| format!("seed={seed}")));
        Ok(config::load(self.path, &sets)?)
    }
}

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

/// What the coordinator is asked for, without a run directory yet: that is made once all else is right.
///
/// # Errors
/// Where the dataset cannot be opened, or lacks a column that the job uses, or GPUs are asked for a table that is cut.
pub fn plan(job: &JobSpec, job_path: &Path, placement: &Placement) -> Result<Submission, Error> {
    let dataset = Dataset::open(&placement.dataset)?;
    let unfit = |error: batch::Error| {
        let field = at_fault(job, &error);
        Error::from(error).with_file(job_path).with_field(field)
    };
    Corpus::new(job, dataset.manifest()).map_err(unfit)?;
    let tables = declare(job, &dataset).map_err(unfit)?;
    let device = device(placement.device, &tables)
        .map_err(|(message, table)| Error::bad_input(message).with_file(job_path).with_field(table))?;
    let spec_toml = toml::to_string(job)
        .map_err(|error| Error::failed(format!("cannot write the job as TOML: {error}")))?;
    Ok(Submission {
        name: job.name.clone(),
        spec_toml,
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

/// What the workers must compute on: tables that are cut into column blocks are for CPUs. An error is what to say of which
/// key.
fn device(asked: Option<DeviceKind>, tables: &[TableDecl]) -> Result<Option<DeviceKind>, (String, String)> {
    let Some(cut) = tables.iter().find(|table| table.columns.is_some()) else { return Ok(asked) };
    if asked == Some(DeviceKind::Cuda) {
        let message = "only CPU workers train tables that are cut into column blocks; leave it out, or take --device cpu";
        return Err((message.to_owned(), format!("tables.column_blocks.{}", cut.table())));
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

/// The path as a worker process with another working directory sees it.
///
/// # Errors
/// Where the path cannot be made absolute or is not UTF-8.
pub fn absolute(path: &Path) -> Result<String, Error> {
    let absolute = std::path::absolute(path).map_err(|error| {
        Error::bad_input(format!("cannot use the path {}: {error}", path.display())).with_file(path)
    })?;
    absolute
        .into_os_string()
        .into_string()
        .map_err(|path| Error::bad_input(format!("the path {} is not UTF-8; rename it", path.display())))
}
