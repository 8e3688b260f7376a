//! What a model is worth on a dataset that came after it.

use std::collections::BTreeMap;
use std::path::Path;

use muster_data::Dataset;
use muster_proto::control::Contender;
use muster_proto::schedule::GatesSpec;

use super::judge::{job_of, score_champion};
use super::{Error, Work};
use crate::checkpoint;
use crate::run_record;

/// A model's metrics on the test split of a dataset.
#[derive(Debug, Clone, PartialEq)]
pub struct Score {
    /// By name.
    pub metrics: BTreeMap<String, f64>,
    /// Users that were asked for.
    pub users: u64,
}

/// Scores a model on the test split of a dataset, as a champion is scored beside the candidate of the run in `run_dir`, which was
/// trained on that dataset.
///
/// # Errors
/// As of [`super::judge()`].
pub fn score(model: &Contender, run_dir: &Path, dataset: &Path, threads: u32) -> Result<Score, Error> {
    let dataset = Dataset::open(dataset)?;
    let reader = checkpoint::find(&run_record::address(run_dir)?, true)?;
    let job = job_of(&reader, &dataset)?;
    let metric = GatesSpec::default().metric.parse().map_err(|problem| Error::Metric { problem })?;
    let work = Work { threads, pulse: &|| true };
    let scored = score_champion(model, (&job, &dataset), metric, &work)?;
    Ok(Score { metrics: scored.measured.metrics, users: scored.users.len() as u64 })
}
