//! Training: one step in the order a paper would give it, epochs around it, progress out of it.

mod clip;
mod epochs;
mod frozen;
mod heads;
mod hooks;
mod meter;
mod outcome;
mod parameters;
mod pieces;
mod schedule;
mod setup;
mod steal;
mod step;
mod stopping;

pub(crate) use clip::global_factor;
pub use epochs::{Kept, train};
pub(crate) use heads::{Totals, count};
pub use hooks::{Hooks, Progress};
pub use meter::{Laps, Meter, peak_bytes, process_seconds, resident_bytes};
pub(crate) use meter::{Sum, Watched};
pub use outcome::{End, Finished, Place};
pub use schedule::learning_rate;
pub use setup::{Setup, SetupError, declare};
pub use step::{StepReport, Trainer};

/// Why training stopped.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A collective failed.
    #[error(transparent)]
    Collective(#[from] muster_collective::Error),
    /// Rows or gradients could not be exchanged.
    #[error(transparent)]
    Exchange(#[from] crate::embedding::Error),
    /// A head could not compute its loss.
    #[error(transparent)]
    Head(#[from] crate::loss::Error),
    /// The device failed.
    #[error(transparent)]
    Device(#[from] muster_kernels::cuda::Error),
    /// A kernel refused its arguments.
    #[error(transparent)]
    Kernel(#[from] muster_kernels::Error),
    /// A checkpoint could not be written or read.
    #[error(transparent)]
    Checkpoint(#[from] crate::checkpoint::Error),
    /// Evaluation failed.
    #[error(transparent)]
    Evaluation(#[from] crate::evaluate::Error),
    /// A table is cut as no GPU takes it.
    #[error(
        "table {table} is cut into column blocks, which only CPU workers train: leave out tables.column_blocks.{table}, or \
         train with --device cpu"
    )]
    CutOnDevice {
        /// The table of the model.
        table: String,
    },
    /// The loss is no longer a number.
    #[error(
        "the loss of step {step} is {loss}; lower optimizer.lr, set training.clip_norm, or look for extreme values in the data"
    )]
    NotFinite {
        /// The step, from 1.
        step: u64,
        /// What it was.
        loss: f64,
    },
    /// The metric for early stopping is not one that validation gives.
    #[error("training.early_stopping.metric is {metric:?}, but validation gives {known}")]
    UnknownMetric {
        /// The metric.
        metric: String,
        /// What there is.
        known: String,
    },
    /// Another rank could not write its pieces of a checkpoint.
    #[error("rank {rank} could not write its part of the checkpoint; see that worker's log")]
    PeerDisk {
        /// The rank.
        rank: usize,
    },
    /// The coordinator asked for an end.
    #[error("aborted: {reason}")]
    Aborted {
        /// Why.
        reason: String,
    },
}
