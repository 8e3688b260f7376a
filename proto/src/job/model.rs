//! The network: tables in, LSTM, head and loss.

use serde::{Deserialize, Serialize};

use crate::config::reference::Field;

crate::documented! {
    /// The network and its loss.
    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    #[serde(deny_unknown_fields, default)]
    pub struct ModelSpec {
        /// Columns of the item table.
        pub embedding_dim: u32,
        /// Hidden units of each LSTM layer.
        pub hidden_size: u32,
        /// LSTM layers.
        pub layers: u32,
        /// Units of a linear projection between the LSTM and the head; absent: none.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub projection: Option<u32>,
        /// Input features besides the item.
        pub features: Vec<FeatureSpec>,
        /// How the inputs of one event become one vector.
        pub combine: Combine,
        /// Standard deviation of the tables' initial values.
        pub init_std: f32,
        /// Dropout on the combined input of the first layer.
        pub dropout_embedding: f32,
        /// Dropout between LSTM layers.
        pub dropout_layers: f32,
        /// Dropout on what the head gets.
        pub dropout_output: f32,
        /// What is predicted, and the loss.
        pub head: Head,
        /// What the summed loss of a step is divided by.
        pub normalize: Normalize,
    }
}

impl Default for ModelSpec {
    fn default() -> Self {
        Self {
            embedding_dim: 128,
            hidden_size: 128,
            layers: 1,
            projection: None,
            features: Vec::new(),
            combine: Combine::Concat,
            init_std: 0.05,
            dropout_embedding: 0.0,
            dropout_layers: 0.0,
            dropout_output: 0.0,
            head: Head::default(),
            normalize: Normalize::Tokens,
        }
    }
}

impl ModelSpec {
    /// Columns of what the head gets: the projection's, or else the hidden units.
    #[must_use]
    pub fn head_input(&self) -> u32 {
        self.projection.unwrap_or(self.hidden_size)
    }
}

crate::documented! {
    /// An input feature besides the item: a column of the dataset.
    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    #[serde(deny_unknown_fields)]
    pub struct FeatureSpec {
        /// Name of the column.
        pub column: String,
        /// Columns of its embedding table (categorical); absent for a numeric column, which enters as it is.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub dim: Option<u32>,
    }
}

/// How the inputs of one event become one vector.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Combine {
    /// One after the other.
    Concat,
    /// Summed; all need the same dimension.
    Add,
}

/// What is predicted, and the loss.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Head {
    /// The next item: cross-entropy over all rows of the item table.
    Softmax {
        /// Whether the output table is the input's item table.
        #[serde(default = "yes")]
        tied: bool,
        /// Whether each item has a bias.
        #[serde(default = "yes")]
        bias: bool,
        /// What the operands of the products over the table are rounded to; sums, softmax and master weights stay f32.
        #[serde(default)]
        precision: Precision,
    },
    /// The next item against sampled negatives, with the logQ correction (Bengio and Senecal 2008).
    SampledSoftmax {
        /// Whether the output table is the input's item table.
        #[serde(default = "yes")]
        tied: bool,
        /// Whether each item has a bias.
        #[serde(default = "yes")]
        bias: bool,
        /// Negatives, shared by all positions of a micro-batch.
        #[serde(default = "default_negatives")]
        negatives: u32,
        /// Negatives are drawn with probability proportional to popularity to this power.
        #[serde(default = "default_alpha")]
        alpha: f32,
        /// Whether logits are corrected by the log of the expected count.
        #[serde(default = "yes")]
        log_q: bool,
    },
    /// Whether the next event is positive (a click): binary cross-entropy on the score of its item.
    Bce {
        /// The numeric column with the label, 0 or 1.
        label: String,
        /// Whether the output table is the input's item table.
        #[serde(default = "yes")]
        tied: bool,
    },
    /// The value of the next event (a rating): squared error of the score of its item.
    Mse {
        /// The numeric column with the value.
        label: String,
        /// Whether the output table is the input's item table.
        #[serde(default = "yes")]
        tied: bool,
    },
    /// A vector for a dense numeric series: squared error of a linear layer on the last hidden state.
    Regression {},
}

impl Default for Head {
    fn default() -> Self {
        Self::Softmax { tied: true, bias: true, precision: Precision::F32 }
    }
}

impl Head {
    /// Whether items are scored against the input's item table.
    #[must_use]
    pub fn tied(&self) -> bool {
        match self {
            Self::Softmax { tied, .. }
            | Self::SampledSoftmax { tied, .. }
            | Self::Bce { tied, .. }
            | Self::Mse { tied, .. } => *tied,
            Self::Regression {} => false,
        }
    }

    /// Whether the rows of the output table have a bias.
    #[must_use]
    pub fn bias(&self) -> bool {
        match self {
            Self::Softmax { bias, .. } | Self::SampledSoftmax { bias, .. } => *bias,
            Self::Bce { .. } | Self::Mse { .. } => true,
            Self::Regression {} => false,
        }
    }

    /// What the operands of the products over the output table are rounded to.
    #[must_use]
    pub fn precision(&self) -> Precision {
        match self {
            Self::Softmax { precision, .. } => *precision,
            _ => Precision::F32,
        }
    }

    /// Whether the job is a regression on a dense numeric series, without tables.
    #[must_use]
    pub fn is_regression(&self) -> bool {
        matches!(self, Self::Regression {})
    }

    /// The numeric column that holds the label, where the head has one.
    #[must_use]
    pub fn label(&self) -> Option<&str> {
        match self {
            Self::Bce { label, .. } | Self::Mse { label, .. } => Some(label),
            _ => None,
        }
    }
}

/// What the operands of a product are rounded to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Precision {
    /// Nothing: f32.
    #[default]
    F32,
    /// bfloat16.
    Bf16,
}

/// What the summed loss of a step is divided by. It is never the mean of ranks' or micro-batches' means.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Normalize {
    /// The number of real targets of the global batch.
    Tokens,
    /// A constant.
    Constant(f32),
}

fn yes() -> bool {
    true
}

fn default_negatives() -> u32 {
    1024
}

fn default_alpha() -> f32 {
    0.75
}

// An enum's variants are not fields of a struct, so the reference page takes them from here.

const fn field(key: &'static str, kind: &'static str, docs: &'static [&'static str]) -> Field {
    Field { key, kind, docs }
}

const TIED: Field =
    field("tied", "bool", &["Whether the output table is the input's item table (default true)."]);
const BIAS: Field = field("bias", "bool", &["Whether each item has a bias (default true)."]);

pub(super) const HEAD_DOCS: &[&str] = &["What is predicted, and the loss: exactly one of these tables."];
pub(super) const HEAD_FIELDS: &[Field] = &[
    field("softmax", "table", &["The next item: cross-entropy over all rows of the item table."]),
    field(
        "sampled_softmax",
        "table",
        &["The next item against sampled negatives, with the logQ correction."],
    ),
    field("bce", "table", &["Whether the next event is positive: binary cross-entropy."]),
    field("mse", "table", &["The value of the next event, a rating for instance: squared error."]),
    field("regression", "table", &["A vector for a dense numeric series: squared error; has no keys."]),
];
pub(super) const SOFTMAX_DOCS: &[&str] = HEAD_FIELDS[0].docs;
pub(super) const SOFTMAX_FIELDS: &[Field] = &[
    TIED,
    BIAS,
    field(
        "precision",
        "Precision",
        &[
            "What the operands of the products over the table are rounded to, `f32` (nothing, the default) or `bf16`;",
            "sums, softmax and master weights stay f32.",
        ],
    ),
];
pub(super) const SAMPLED_DOCS: &[&str] = HEAD_FIELDS[1].docs;
pub(super) const SAMPLED_FIELDS: &[Field] = &[
    TIED,
    BIAS,
    field("negatives", "u32", &["Negatives, shared by all positions of a micro-batch (default 1024)."]),
    field("alpha", "f32", &["Negatives are drawn in proportion to popularity to this power (default 0.75)."]),
    field(
        "log_q",
        "bool",
        &["Whether logits are corrected by the log of the expected count (default true)."],
    ),
];
pub(super) const BCE_DOCS: &[&str] = HEAD_FIELDS[2].docs;
pub(super) const MSE_DOCS: &[&str] = HEAD_FIELDS[3].docs;
pub(super) const POINTWISE_FIELDS: &[Field] =
    &[field("label", "String", &["The numeric column with the label of an event."]), TIED];
