//! A model that is kept, and where it comes from.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::retrain::gates::Judgement;

/// The number of a version of a model, from 1; never given twice.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct VersionNumber(pub u64);

impl fmt::Display for VersionNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "version {}", self.0)
    }
}

/// What a version was made of: with all of it at hand, the model can be made again, bit for bit.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lineage {
    /// The job, as TOML; it names the parent by its digest where the model began from one.
    pub job: String,
    /// The digest of the dataset's manifest.
    pub dataset: String,
    /// How many log files count in it.
    #[serde(default)]
    pub files: u64,
    /// The digest over the names and digests of all of them; which they are stands beside the dataset.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub files_digest: String,
    /// The time that the data is of, the end not included; none where it is not of a window.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window: Option<(Timestamp, Timestamp)>,
    /// The version of the program.
    pub code: String,
    /// The kernels' numeric contract.
    pub numerics: String,
    /// The job's seed.
    pub seed: u64,
    /// The version that it began from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<VersionNumber>,
    /// The run that made it; none where a person registered it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<String>,
}

/// What a version took to make.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cost {
    /// Seconds of processors, of all workers together.
    pub cpu_seconds: f64,
    /// Seconds of workers.
    pub worker_seconds: f64,
    /// From the run's start to its end.
    pub wall: Duration,
}

/// A remark of a person.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Note {
    /// Who.
    pub by: String,
    /// When.
    pub at: Timestamp,
    /// What.
    pub text: String,
}

/// A model that is to be kept.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Model {
    /// Digest over its pieces.
    pub model_digest: String,
    /// Its checkpoint's folder or URL.
    pub checkpoint: String,
    /// Digest of the checkpoint's manifest.
    pub checkpoint_digest: String,
    /// Bytes of its files.
    pub bytes: u64,
    /// The dataset that it was trained on.
    #[serde(default)]
    pub dataset: String,
    /// The folder that goes with it; none where nothing goes but the entry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub folder: Option<String>,
    /// Where it comes from.
    pub lineage: Lineage,
    /// Metrics of its own test split.
    pub metrics: BTreeMap<String, f64>,
    /// What it took.
    pub cost: Cost,
    /// What the gates said, with the evidence; none where it was never a candidate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub judgement: Option<Judgement>,
}

/// A model that is kept.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Version {
    /// Its number.
    pub number: VersionNumber,
    /// When it was registered.
    pub created: Timestamp,
    /// The model.
    pub model: Model,
    /// What people remarked, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<Note>,
    /// Labels, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
}
