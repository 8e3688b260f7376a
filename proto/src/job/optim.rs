//! Optimizers and the learning rate over time.

use serde::{Deserialize, Serialize};

crate::documented! {
    /// An optimizer with its hyper-parameters; PyTorch's formulas and names.
    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    #[serde(deny_unknown_fields, default)]
    pub struct OptimizerSpec {
        /// Which rule.
        pub kind: Kind,
        /// Learning rate after warm-up.
        pub lr: f64,
        /// Adam: decay of the first moment.
        pub beta1: f64,
        /// Adam: decay of the second moment.
        pub beta2: f64,
        /// Added to the denominator.
        pub eps: f64,
        /// SGD: momentum.
        pub momentum: f64,
        /// Weight decay: decoupled for AdamW, an L2 gradient elsewhere.
        pub weight_decay: f64,
    }
}

impl Default for OptimizerSpec {
    fn default() -> Self {
        let kind = Kind::Adam;
        Self { kind, lr: 1e-3, beta1: 0.9, beta2: 0.999, eps: 1e-8, momentum: 0.0, weight_decay: 0.0 }
    }
}

/// Update rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Stochastic gradient descent with momentum.
    Sgd,
    /// Adam (Kingma and Ba 2015), all rows at each step.
    Adam,
    /// AdamW (Loshchilov and Hutter 2019).
    #[serde(rename = "adamw")]
    AdamW,
    /// Adagrad (Duchi, Hazan and Singer 2011).
    Adagrad,
    /// Tables: Adagrad with one accumulator a row, on touched rows only.
    RowWiseAdagrad,
    /// Tables: Adam on touched rows only.
    LazyAdam,
}

impl Kind {
    /// Whether the rule writes only the rows that have a gradient.
    #[must_use]
    pub const fn is_sparse(self) -> bool {
        matches!(self, Self::RowWiseAdagrad | Self::LazyAdam)
    }

    /// Whether the rule is for embedding tables only: dense parameters have no rows to tell apart.
    #[must_use]
    pub const fn for_tables_only(self) -> bool {
        self.is_sparse()
    }
}

crate::documented! {
    /// Learning rate over steps: linear warm-up, then a decay to `final_ratio` of the peak at the last step.
    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    #[serde(deny_unknown_fields, default)]
    pub struct ScheduleSpec {
        /// Steps of linear warm-up from 0.
        pub warmup_steps: u64,
        /// Shape of the decay over the planned epochs.
        pub decay: Decay,
        /// Share of the peak that is left at the end.
        pub final_ratio: f64,
    }
}

impl Default for ScheduleSpec {
    fn default() -> Self {
        Self { warmup_steps: 0, decay: Decay::None, final_ratio: 0.0 }
    }
}

/// Shapes of decay.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Decay {
    /// Constant.
    None,
    /// A straight line.
    Linear,
    /// Half a cosine.
    Cosine,
}
