//! What a step is made of, when training ends, what is kept.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::sharding::Placement;
use crate::units::ByteSize;

crate::documented! {
    /// What a step is made of.
    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    #[serde(deny_unknown_fields, default)]
    pub struct BatchSpec {
        /// Sequences of the global batch (of all workers together).
        pub sequences: u32,
        /// Micro-batches of a step, M: the unit of work and of the order of sums.
        pub micro_batches: u32,
        /// Events of a sequence that are used at most.
        pub max_len: u32,
        /// Which part of a longer history is used.
        pub window: Window,
        /// Positions that are scored at once against a table shard; bounds the memory of the softmax.
        pub score_block: u32,
        /// On several GPUs with `reproducible = false`: dense gradients of at least so many bytes are summed over the ranks
        /// at once, while layers below are still computed.
        pub gradient_bucket: ByteSize,
    }
}

impl Default for BatchSpec {
    fn default() -> Self {
        Self {
            sequences: 128,
            micro_batches: 8,
            max_len: 50,
            window: Window::Last,
            score_block: 256,
            gradient_bucket: ByteSize::from_mib(1),
        }
    }
}

/// Which part of a history longer than `max_len` is used in training.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Window {
    /// The last `max_len` events; one sample a user.
    Last,
    /// All events, in consecutive windows of `max_len`; each window is a sample.
    All,
}

crate::documented! {
    /// Epochs, clipping, early stopping.
    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    #[serde(deny_unknown_fields, default)]
    pub struct TrainingSpec {
        /// Passes over the data at most.
        pub epochs: u32,
        /// Steps at most; absent: as many as the epochs have.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub max_steps: Option<u64>,
        /// Global norm that gradients are clipped to; absent: no clipping.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub clip_norm: Option<f32>,
        /// Stops when validation no longer improves; absent: all epochs.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub early_stopping: Option<EarlyStoppingSpec>,
        /// Epochs between validations.
        pub validate_every: u32,
        /// Steps between progress records.
        pub log_every: u32,
    }
}

impl Default for TrainingSpec {
    fn default() -> Self {
        Self {
            epochs: 10,
            max_steps: None,
            clip_norm: None,
            early_stopping: None,
            validate_every: 1,
            log_every: 20,
        }
    }
}

crate::documented! {
    /// When validation no longer improves.
    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    #[serde(deny_unknown_fields)]
    pub struct EarlyStoppingSpec {
        /// The metric, `NDCG@10` for instance; `loss`, `log_loss` and `mse` are better when lower.
        pub metric: String,
        /// Validations without a new best before training stops.
        #[serde(default = "default_patience")]
        pub patience: u32,
    }
}

crate::documented! {
    /// What evaluation reports.
    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    #[serde(deny_unknown_fields, default)]
    pub struct EvaluationSpec {
        /// Lengths of the lists.
        pub ks: Vec<u32>,
        /// Whether items of the user's history are left out of the ranking (the target itself never is).
        pub filter_seen: bool,
    }
}

impl Default for EvaluationSpec {
    fn default() -> Self {
        Self { ks: vec![5, 10, 20], filter_seen: true }
    }
}

crate::documented! {
    /// How tables are cut and placed.
    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    #[serde(deny_unknown_fields, default)]
    pub struct TablesSpec {
        /// Row blocks of each table, S; fixed for the life of the job.
        pub row_blocks: u32,
        /// Column blocks of each table that is cut into columns too, by table name; fixed for the life of the job. The blocks
        /// are equal, at least 4 columns wide, and may lie on different workers, which is what `column_wise` and `grid` need.
        /// Not for a table that a softmax scores whole, and for CPU workers only.
        #[serde(skip_serializing_if = "BTreeMap::is_empty")]
        pub column_blocks: BTreeMap<String, u32>,
        /// Placement of each table that the job forces, by table name: `row_wise` (row blocks over all workers),
        /// `table_wise` (on one), `data_parallel` (a replica on each), `column_wise` (column blocks spread over workers),
        /// `table_row_wise` (row blocks over the workers of one host), or `grid` (each column block so, spread over hosts);
        /// other tables are placed by the planner.
        pub placement: BTreeMap<String, Placement>,
        /// Tables that stay in the host's memory on a GPU worker, with their hot rows in so much of the device's, by table
        /// name; all others are in the device's memory whole. Not for a table that a softmax scores whole, and with
        /// `row_wise_adagrad` or `lazy_adam` only.
        #[serde(skip_serializing_if = "BTreeMap::is_empty")]
        pub device_cache: BTreeMap<String, ByteSize>,
    }
}

impl Default for TablesSpec {
    fn default() -> Self {
        let (column_blocks, placement, device_cache) = Default::default();
        Self { row_blocks: 8, column_blocks, placement, device_cache }
    }
}

crate::documented! {
    /// When checkpoints are taken and how many are kept.
    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    #[serde(deny_unknown_fields, default)]
    pub struct CheckpointSpec {
        /// Steps between checkpoints; absent: only at the end of epochs.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub every_steps: Option<u64>,
        /// Epochs between checkpoints.
        pub every_epochs: u32,
        /// Checkpoints that are kept besides the best and the last, and the full ones that kept increments lie over.
        pub keep: u32,
        /// Whether workers keep copies of each other's pieces in memory, from which the job goes on when one is lost;
        /// otherwise it goes on from the last checkpoint. They take twice the memory of a worker's share of the model with
        /// its optimizer state, and while one is made that of the rows written since the one before (with an optimizer that
        /// writes every row: of all, four times in sum), and at most a twentieth of the time.
        pub memory_copies: bool,
        /// A checkpoint holds only the rows written since the last full one while these are less than this part of the
        /// tables, in bytes; otherwise it is full, as is the first after workers changed, and the last of a run. 0: all are
        /// full. Tables that are scored whole, or whose optimizer is not for touched rows only (`lazy_adam`,
        /// `row_wise_adagrad`), are written whole at each step.
        pub incremental_below: f64,
        /// Object store that checkpoints go to, `s3://BUCKET/PREFIX`, below it the run directory's name; absent: the
        /// run directory. Endpoint and credentials come from the environment (`AWS_ENDPOINT_URL`, `AWS_REGION`,
        /// `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`).
        #[serde(skip_serializing_if = "Option::is_none")]
        pub location: Option<String>,
    }
}

impl Default for CheckpointSpec {
    fn default() -> Self {
        Self {
            every_steps: None,
            every_epochs: 1,
            keep: 2,
            memory_copies: true,
            incremental_below: 0.5,
            location: None,
        }
    }
}

fn default_patience() -> u32 {
    3
}
