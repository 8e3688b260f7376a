//! The job: what to train, on what, how; all of it typed, none of it about the cluster.
//!
//! A job file names every hyper-parameter; what it leaves out has the default written here. Nothing in a job
//! depends on how many workers run it: results follow from the job and the dataset alone.

pub mod model;
pub mod optim;
pub mod run;
pub mod tables;

use serde::{Deserialize, Serialize};

pub use model::{Combine, FeatureSpec, Head, ModelSpec, Normalize};
pub use optim::{Decay, Kind as OptimizerKind, OptimizerSpec, ScheduleSpec};
pub use run::{BatchSpec, CheckpointSpec, EarlyStoppingSpec, EvaluationSpec, TablesSpec, TrainingSpec, Window};

/// A training job, as its TOML file declares it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JobSpec {
    /// Name of the job: letters, digits, `-` and `_`.
    pub name: String,
    /// Seed of everything random: initial values, order of samples, dropout, negatives.
    #[serde(default = "default_seed")]
    pub seed: u64,
    /// Whether the result may not depend on the cluster, bit for bit.
    #[serde(default = "default_true")]
    pub reproducible: bool,
    /// What a step is made of.
    #[serde(default)]
    pub batch: BatchSpec,
    /// The network and its loss.
    #[serde(default)]
    pub model: ModelSpec,
    /// Optimizer of the dense parameters.
    #[serde(default)]
    pub optimizer: OptimizerSpec,
    /// Optimizer of the embedding tables; the dense one's where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub table_optimizer: Option<OptimizerSpec>,
    /// Learning rate over steps.
    #[serde(default)]
    pub schedule: ScheduleSpec,
    /// Epochs, clipping, early stopping.
    #[serde(default)]
    pub training: TrainingSpec,
    /// What evaluation reports.
    #[serde(default)]
    pub evaluation: EvaluationSpec,
    /// How tables are cut and placed.
    #[serde(default)]
    pub tables: TablesSpec,
    /// When checkpoints are taken and how many are kept.
    #[serde(default)]
    pub checkpoint: CheckpointSpec,
}

impl JobSpec {
    /// The optimizer that the tables use.
    #[must_use]
    pub fn table_optimizer(&self) -> &OptimizerSpec {
        self.table_optimizer.as_ref().unwrap_or(&self.optimizer)
    }
}

impl Default for JobSpec {
    fn default() -> Self {
        Self {
            name: "job".into(),
            seed: default_seed(),
            reproducible: true,
            batch: BatchSpec::default(),
            model: ModelSpec::default(),
            optimizer: OptimizerSpec::default(),
            table_optimizer: None,
            schedule: ScheduleSpec::default(),
            training: TrainingSpec::default(),
            evaluation: EvaluationSpec::default(),
            tables: TablesSpec::default(),
            checkpoint: CheckpointSpec::default(),
        }
    }
}

fn default_seed() -> u64 {
    1
}

fn default_true() -> bool {
    true
}
