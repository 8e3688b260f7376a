//! Where a run writes, and how it ends.

use std::path::PathBuf;
use std::time::Duration;

use muster_proto::checkpoint::{Validation, Writer};
use muster_proto::measured::Breakdown;

use crate::checkpoint::Location;
use crate::copies::Spent;
use crate::evaluate::Evaluation;

/// Where and as whom checkpoints are written.
#[derive(Debug, Clone)]
pub struct Place {
    /// The run directory; `None` writes none.
    pub run: Option<Location>,
    /// The writer's generation and incarnation.
    pub writer: Writer,
    /// Checkpoints that are kept besides the best.
    pub keep: usize,
}

/// The end of a run.
#[derive(Debug, Clone)]
pub struct Finished {
    /// Steps done, over all runs that this one resumed.
    pub steps: u64,
    /// Steps of this run alone.
    pub steps_here: u64,
    /// Samples trained in this run.
    pub samples: u64,
    /// Real targets trained in this run.
    pub targets: u64,
    /// Wall time of training steps alone.
    pub training: Duration,
    /// What copies in memory took on this rank; the bytes are those that it handed on or would have.
    pub copies: Spent,
    /// What checkpoints took on this rank; the bytes are those of all ranks.
    pub checkpoints: Spent,
    /// What the steps of this generation took on each rank, in rank order, and the most memory that each had.
    pub measured: Vec<Breakdown>,
    /// The test split with the best parameters at hand.
    pub test: Evaluation,
    /// State of validation.
    pub validation: Validation,
    /// Digest over all logical pieces of the last step.
    pub model_digest: String,
    /// The last checkpoint's folder.
    pub checkpoint: Option<PathBuf>,
    /// Whether a drain ended the run early.
    pub drained: bool,
}

/// How a generation of a run came to its end.
#[derive(Debug, Clone)]
pub enum End {
    /// With the job, or with a drain.
    Finished(Box<Finished>),
    /// For another generation, after this step; the pieces are in [`Copies`](crate::copies::Copies).
    Yielded {
        /// The step.
        step: u64,
    },
}
