//! Work that a schedule's run has done by workers: a window's dataset and job, and the evidence for and against a candidate.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Queueing, Submission};
use crate::job::WarmStartSpec;
use crate::schedule::GatesSpec;

/// Finds new log files, cuts the dataset of a window, and makes the job that is to be trained on it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WindowUnit {
    /// The schedule's folder, that all workers read and write under this name.
    pub workspace: String,
    /// The name of the run's folder in it.
    pub run: String,
    /// The dataset file, as TOML.
    pub dataset_toml: String,
    /// The folder that its relative paths start from.
    pub folder: String,
    /// The window's first millisecond since 1970; none for all that there is before its end.
    pub from: Option<i64>,
    /// Its end, not included.
    pub until: i64,
    /// Where validation begins.
    pub valid_from: i64,
    /// Where the test split begins.
    pub test_from: i64,
    /// Only the first so many increments of the schedule's base count, and none is added; otherwise new files are added first,
    /// and all count.
    pub increments: Option<u64>,
    /// So many increments were there when an earlier run accepted its data: what came after them is new. Without it, only what
    /// is added for this run is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accepted: Option<u64>,
    /// The job file, as TOML.
    pub job_toml: String,
    /// What the job begins from; what is to be pinned of it is noted by whoever does the task.
    pub warm_start: Option<WarmStartSpec>,
    /// The job's name.
    pub name: String,
    /// Workers to train on.
    pub workers: u32,
    /// The fewest to go on with when some are lost.
    pub min_workers: u32,
    /// Where the job stands among those that want workers.
    pub queueing: Queueing,
}

/// What came of a window.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum WindowEnd {
    /// A dataset, and a job to train on it.
    Made(Box<WindowDone>),
    /// There is no row in it.
    Empty(WindowRead),
}

/// What was read for a window.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WindowRead {
    /// Increments of the base that counted.
    pub increments: u64,
    /// Their files.
    pub files: u64,
    /// Those that are new.
    pub new_files: u64,
    /// Files that could not be read as a whole and do not count, with why: the first of those of the new increments.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub left_out: Vec<String>,
    /// A digest over the files' names, sizes and digests.
    pub files_digest: String,
    /// Rows of the new files.
    pub rows_read: u64,
    /// Those among them that a rule on single rows rejected.
    pub rows_rejected: u64,
}

impl WindowRead {
    /// The most files that are named which do not count.
    pub const MOST_LEFT_OUT: usize = 20;
}

/// The dataset of a window.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WindowDone {
    /// What was read for it.
    pub read: WindowRead,
    /// Its folder.
    pub dataset: String,
    /// The digest of its manifest.
    pub digest: String,
    /// Its rows.
    pub rows: u64,
    /// Its sequences.
    pub users: u64,
    /// Its items.
    pub items: u64,
    /// Its latest event, in milliseconds since 1970.
    pub newest: Option<i64>,
    /// The job, as a coordinator is asked for it.
    pub submission: Box<Submission>,
}

/// Scores a candidate, beside the champion where there is one, on the test split of the candidate's dataset.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JudgeUnit {
    /// The schedule's folder.
    pub workspace: String,
    /// The name of the run's folder in it.
    pub run: String,
    /// The candidate's run directory; its best checkpoint is the candidate.
    pub run_dir: String,
    /// The dataset that it was trained on.
    pub dataset: String,
    /// The model to be compared with.
    pub champion: Option<Contender>,
    /// What is asked.
    pub gates: GatesSpec,
}

/// A model that is there already.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Contender {
    /// Its checkpoint.
    pub checkpoint: String,
    /// The dataset that it was trained on.
    pub dataset: String,
    /// The digest over its pieces; another one is refused.
    pub model_digest: String,
}

/// A candidate, and what is to be said of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JudgeDone {
    /// The file with all of the evidence.
    pub evidence: String,
    /// What the gates say but for people's approval, as the coordinator keeps it.
    pub judgement: Value,
    /// The digest over the candidate's pieces.
    pub model_digest: String,
    /// Its checkpoint.
    pub checkpoint: String,
    /// The digest of the checkpoint's manifest.
    pub checkpoint_digest: String,
    /// Bytes of the checkpoint's files.
    pub bytes: u64,
    /// The job that it was trained by, as TOML.
    pub job_toml: String,
    /// The kernels' numeric contract.
    pub numerics: String,
    /// The job's seed.
    pub seed: u64,
    /// Its metrics on the test split.
    pub metrics: BTreeMap<String, f64>,
    /// The champion's on the same.
    pub champion_metrics: BTreeMap<String, f64>,
    /// Seconds of processors that it took to find all this out.
    pub cpu_seconds: f64,
}
