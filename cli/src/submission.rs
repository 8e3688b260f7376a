//! A job file and a dataset become what a coordinator is asked for.

use std::path::Path;

use muster_proto::config;
use muster_proto::control::Submission;
use muster_proto::job::JobSpec;
pub use muster_worker::submission::Placement;
use muster_worker::submission::{self, Error as Refused};

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

/// What the coordinator is asked for, without a run directory yet: that is made once all else is right.
///
/// # Errors
/// Where the dataset cannot be opened, or lacks a column that the job uses, or GPUs are asked for a table that is cut.
pub fn plan(job: &JobSpec, job_path: &Path, placement: &Placement) -> Result<Submission, Error> {
    submission::plan(job, placement).map_err(|error| {
        let is_of_job = matches!(error, Refused::Unfit { .. } | Refused::CutOnGpu { .. });
        let error = Error::from(error);
        if is_of_job { error.with_file(job_path) } else { error }
    })
}

/// The path as a worker process with another working directory sees it.
///
/// # Errors
/// Where the path cannot be made absolute or is not UTF-8.
pub fn absolute(path: &Path) -> Result<String, Error> {
    Ok(submission::absolute(path)?)
}
