//! What is trained: embedding tables, the dense part, the run.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::layout::{Demand, LayoutKind};
use crate::config::Problems;
use crate::units::{self, ByteSize};

/// Type of values in memory, and of operands of products.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Precision {
    /// Four bytes.
    #[default]
    F32,
    /// Two bytes, IEEE half.
    F16,
    /// Two bytes, bfloat16.
    Bf16,
}

impl Precision {
    /// Bytes of one value.
    #[must_use]
    pub const fn bytes(self) -> f64 {
        match self {
            Self::F32 => 4.0,
            Self::F16 | Self::Bf16 => 2.0,
        }
    }
}

/// Optimizer of a table, by the state it keeps.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TableOptimizer {
    /// No state.
    Sgd,
    /// A sum of squares for each value.
    #[default]
    Adagrad,
    /// A mean of squares for each row.
    RowWiseAdagrad,
    /// Two moments for each value.
    Adam,
}

impl TableOptimizer {
    /// Bytes of state for a row of `dim` values; state is f32.
    #[must_use]
    pub fn state_bytes(self, dim: f64) -> f64 {
        match self {
            Self::Sgd => 0.0,
            Self::Adagrad => 4.0 * dim,
            Self::RowWiseAdagrad => 4.0,
            Self::Adam => 8.0 * dim,
        }
    }
}

crate::documented! {
    /// An embedding table.
    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    #[serde(deny_unknown_fields)]
    pub struct TableSpec {
        /// Its name.
        pub name: String,
        /// Rows.
        pub rows: u64,
        /// Values of a row.
        pub dim: u32,
        /// Lookups a sample, one number for each feature that reads the table.
        #[serde(default = "one_lookup")]
        pub pooling: Vec<f64>,
        /// Whether the rows of a feature are summed before they are sent; a sequence is not.
        #[serde(default = "yes")]
        pub pooled: bool,
        /// Whether each step updates every row, as Adam and a full softmax do, or the rows that were looked up.
        #[serde(default)]
        pub updates_all_rows: bool,
        /// Exponent of the ids' Zipf law; 0 is uniform.
        #[serde(default = "default_zipf")]
        pub zipf: f64,
        /// Type of the stored weights.
        #[serde(default)]
        pub precision: Precision,
        /// Optimizer of the table.
        #[serde(default)]
        pub optimizer: TableOptimizer,
        /// The only layouts that it may have, such as `["row_wise", "column_wise"]`; any where empty.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        pub layouts: Vec<LayoutKind>,
        /// Layouts that it may not have.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        pub forbid: Vec<LayoutKind>,
        /// Bytes of each rank's device memory for its hottest rows, of a table that lies in the hosts' memory; in the
        /// devices' memory whole where absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub device_cache: Option<ByteSize>,
        /// The ranks that it is pinned to, all of it; any where empty.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        pub ranks: Vec<u32>,
    }
}

fn one_lookup() -> Vec<f64> {
    vec![1.0]
}

fn yes() -> bool {
    true
}

/// The exponent of NVIDIA's synthetic models (distributed-embeddings, power law of 1.05).
fn default_zipf() -> f64 {
    1.05
}

impl TableSpec {
    /// A pooled table with a feature for each number of lookups.
    #[must_use]
    pub fn new(name: impl Into<String>, rows: u64, dim: u32, pooling: Vec<f64>) -> Self {
        Self {
            name: name.into(),
            rows,
            dim,
            pooling,
            pooled: true,
            updates_all_rows: false,
            zipf: default_zipf(),
            precision: Precision::F32,
            optimizer: TableOptimizer::Adagrad,
            layouts: Vec::new(),
            forbid: Vec::new(),
            device_cache: None,
            ranks: Vec::new(),
        }
    }

    /// What the user demands of its placement.
    #[must_use]
    pub fn demand(&self) -> Demand {
        Demand { layouts: self.layouts.clone(), forbid: self.forbid.clone(), ranks: self.ranks.clone() }
    }

    /// Bytes of weights and optimizer state.
    #[must_use]
    pub fn bytes(&self) -> f64 {
        let dim = f64::from(self.dim);
        self.rows as f64 * (dim * self.precision.bytes() + self.optimizer.state_bytes(dim))
    }

    pub(super) fn validate(&self, p: &mut Problems) {
        p.check(!self.name.is_empty(), "name", || "is empty, give the table a name");
        p.check(self.rows > 0, "rows", || "is 0, a table has at least 1 row");
        p.check((1..=65_536).contains(&self.dim), "dim", || {
            format!("is {}, give between 1 and 65536", self.dim)
        });
        p.check(
            !self.pooling.is_empty() && self.pooling.iter().all(|l| (0.0..=1e9).contains(l)),
            "pooling",
            || "needs one number of lookups, between 0 and 1e9, for each feature",
        );
        p.check((0.0..=10.0).contains(&self.zipf), "zipf", || {
            format!("is {}, give between 0 (uniform) and 10", self.zipf)
        });
    }
}

crate::documented! {
    /// The dense part of the model.
    #[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
    #[serde(deny_unknown_fields, default)]
    pub struct DenseSpec {
        /// Type of operands and of what is exchanged.
        pub precision: Precision,
        /// Chains of fully connected layers, by widths from input to output: `[[13, 512, 256, 128]]`.
        pub mlps: Vec<Vec<u32>>,
        /// LSTM layers.
        pub lstm: Vec<LstmSpec>,
        /// Forward flops of a sample that the layers above do not have.
        pub flops_per_sample: f64,
        /// Parameters that the layers above do not have.
        pub parameters: u64,
        /// Scores of a softmax: positions a sample, candidates, width.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub softmax: Option<SoftmaxSpec>,
        /// Bytes of kept activations a sample, beside those of the layers above.
        pub activations_per_sample: ByteSize,
        /// Bytes a sample that a step reads and writes beside layers and lookups: copies, interactions, pooling.
        pub moved_per_sample: ByteSize,
    }
}

crate::documented! {
    /// An LSTM layer over the events of a sample.
    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    #[serde(deny_unknown_fields)]
    pub struct LstmSpec {
        /// Values of the input of one event.
        pub input: u32,
        /// Hidden units.
        pub hidden: u32,
        /// Events of a sample.
        pub events: f64,
    }
}

crate::documented! {
    /// A softmax over candidates.
    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    #[serde(deny_unknown_fields)]
    pub struct SoftmaxSpec {
        /// Scored positions of a sample.
        pub positions: f64,
        /// Candidates of a position: all items, or the negatives that are drawn.
        pub candidates: u64,
        /// Width of a candidate's vector.
        pub dim: u32,
    }
}

/// More than any sample's: a million seconds of the fastest card.
const MOST_FLOPS: f64 = 1e21;

impl DenseSpec {
    pub(super) fn validate(&self, p: &mut Problems) {
        p.check(
            self.mlps.iter().all(|widths| widths.len() >= 2 && !widths.contains(&0)),
            "mlps",
            || "each chain needs an input and an output width, none of them 0",
        );
        p.check((0.0..=MOST_FLOPS).contains(&self.flops_per_sample), "flops_per_sample", || {
            format!("is {}, give between 0 and {MOST_FLOPS:e}", self.flops_per_sample)
        });
        for (idx, lstm) in self.lstm.iter().enumerate() {
            let fits = lstm.input > 0 && lstm.hidden > 0 && lstm.events > 0.0 && lstm.events.is_finite();
            p.check(fits, &format!("lstm.{idx}"), || "input, hidden and events must be above 0");
        }
        if let Some(softmax) = &self.softmax {
            let fits = softmax.positions > 0.0 && softmax.positions.is_finite() && softmax.candidates > 0;
            p.check(fits && softmax.dim > 0, "softmax", || "positions, candidates and dim must be above 0");
        }
    }
}

/// The program that trains, by how it runs the embedding part.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Software {
    /// Muster's GPU step: fused lookups, ids exchanged.
    #[default]
    Muster,
    /// HugeCTR as in MLPerf: all tables in one group, ids read where the rows are.
    HugeCtr,
    /// TensorFlow with Horovod: kernels for each table.
    TensorFlow,
}

crate::documented! {
    /// The run.
    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    #[serde(deny_unknown_fields)]
    pub struct RunSpec {
        /// Samples of a step, over all devices.
        pub batch: u64,
        /// Samples of one epoch.
        pub samples: u64,
        /// Passes over the samples.
        #[serde(default = "one_epoch")]
        pub epochs: f64,
        /// Who trains.
        #[serde(default)]
        pub software: Software,
        /// When training has to be done, from its start.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub deadline: Option<DurationText>,
        /// The most that a run may cost, with its energy where that has a price.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub budget: Option<f64>,
        /// How long a checkpoint holds training up.
        #[serde(default = "default_checkpoint", with = "units::duration")]
        pub checkpoint: Duration,
    }
}

/// A duration that may be left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct DurationText(#[serde(with = "units::duration")] pub Duration);

fn one_epoch() -> f64 {
    1.0
}

fn default_checkpoint() -> Duration {
    Duration::from_secs(30)
}

impl RunSpec {
    pub(super) fn validate(&self, p: &mut Problems) {
        p.check(self.batch > 0, "batch", || "is 0, a step needs at least 1 sample");
        p.check(self.samples > 0, "samples", || "is 0, an epoch needs at least 1 sample");
        p.check(self.epochs > 0.0 && self.epochs.is_finite(), "epochs", || "must be above 0");
        p.check(
            self.budget.is_none_or(|budget| budget > 0.0 && budget.is_finite()),
            "budget",
            || "must be above 0, or leave it out",
        );
        p.check(
            self.deadline.is_none_or(|deadline| !deadline.0.is_zero()),
            "deadline",
            || "is 0, give for instance \"6h\" or leave it out",
        );
        p.check(!self.checkpoint.is_zero(), "checkpoint", || "is 0, give for instance \"30s\"");
    }
}
