//! The job: what to train, on what, how; all of it typed, none of it about the cluster.
//!
//! A job file names every hyper-parameter; what it leaves out has the default written here. Nothing in a job
//! depends on how many workers run it: results follow from the job and the dataset alone.

pub mod model;
pub mod optim;
pub mod run;
pub mod tables;
mod validate;
pub mod warm_start;

use serde::{Deserialize, Serialize};

use crate::config::reference::{Section, section};

pub use model::{Combine, FeatureSpec, Head, ModelSpec, Normalize, Precision};
pub use optim::{Decay, Kind as OptimizerKind, OptimizerSpec, ScheduleSpec};
pub use run::{
    BatchSpec, CheckpointSpec, EarlyStoppingSpec, EvaluationSpec, TablesSpec, TrainingSpec, Window,
};
pub use warm_start::{KeptState, NewRows, Updates, WarmStartSpec, WindowSpec};

crate::documented! {
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
        /// The model to begin from; absent: initial values.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub warm_start: Option<WarmStartSpec>,
    }
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
            warm_start: None,
        }
    }
}

/// The tables of a job file, for its reference page.
pub const SECTIONS: &[Section] = &[
    section::<JobSpec>(""),
    section::<BatchSpec>("batch"),
    section::<ModelSpec>("model"),
    section::<FeatureSpec>("model.features[]"),
    Section { path: "model.head", docs: model::HEAD_DOCS, fields: model::HEAD_FIELDS },
    Section { path: "model.head.softmax", docs: model::SOFTMAX_DOCS, fields: model::SOFTMAX_FIELDS },
    Section { path: "model.head.sampled_softmax", docs: model::SAMPLED_DOCS, fields: model::SAMPLED_FIELDS },
    Section { path: "model.head.bce", docs: model::BCE_DOCS, fields: model::POINTWISE_FIELDS },
    Section { path: "model.head.mse", docs: model::MSE_DOCS, fields: model::POINTWISE_FIELDS },
    section::<OptimizerSpec>("optimizer"),
    section::<OptimizerSpec>("table_optimizer"),
    section::<ScheduleSpec>("schedule"),
    section::<TrainingSpec>("training"),
    section::<EarlyStoppingSpec>("training.early_stopping"),
    section::<EvaluationSpec>("evaluation"),
    section::<TablesSpec>("tables"),
    section::<CheckpointSpec>("checkpoint"),
    section::<WarmStartSpec>("warm_start"),
    section::<WindowSpec>("warm_start.windows[]"),
];

fn default_seed() -> u64 {
    1
}

fn default_true() -> bool {
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::reference::undocumented;

    #[test]
    fn every_key_of_a_job_is_on_the_reference_page() {
        let mut job = JobSpec { table_optimizer: Some(OptimizerSpec::default()), ..JobSpec::default() };
        job.training.early_stopping = Some(EarlyStoppingSpec { metric: "NDCG@10".into(), patience: 3 });
        job.model.features = vec![FeatureSpec { column: "category".into(), dim: Some(16) }];
        job.model.head =
            Head::SampledSoftmax { tied: true, bias: true, negatives: 9, alpha: 0.5, log_q: true };
        let window = WindowSpec { dataset: "prepared".into(), digest: "ab".into() };
        job.warm_start =
            Some(WarmStartSpec { windows: vec![window], ..WarmStartSpec::of("runs/first".into()) });
        assert_eq!(undocumented(SECTIONS, &job).unwrap(), Vec::<String>::new());
        job.model.head = Head::Mse { label: "rating".into(), tied: true };
        assert_eq!(undocumented(SECTIONS, &job).unwrap(), Vec::<String>::new());
    }
}
