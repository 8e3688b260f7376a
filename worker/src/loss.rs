//! Heads and losses: what is predicted from the hidden states, and the gradients.
//!
//! A loss is summed over the real targets of the global batch and divided once, so that neither ranks nor
//! micro-batches have a mean of their own.

mod full_softmax;
mod pointwise;
mod sampled;

use muster_proto::job::Normalize;

pub(crate) use full_softmax::{Global, gather_positions, parse_stats, send_gradients, share_dense_gradients};
pub use full_softmax::{Workspace as SoftmaxWorkspace, full_softmax};
pub use pointwise::{Occurrences, PointwiseKind, pointwise, series_regression};
pub use sampled::{NegativeSampler, sampled_softmax_head};

use crate::batch::MicroBatch;

/// Why a head could not compute its loss.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The collective failed.
    #[error("exchange of scores failed")]
    Collective(#[from] muster_collective::Error),
    /// A kernel refused its arguments.
    #[error(transparent)]
    Kernel(#[from] muster_kernels::Error),
    /// The device failed.
    #[error(transparent)]
    Device(#[from] muster_kernels::cuda::Error),
    /// Ranks disagree on which shards there are.
    #[error("the scores of some table shard are missing: ranks do not have the same plan")]
    UnknownShard,
}

/// What a head works on: the micro-batches of this rank and the states that the network gave for them.
#[derive(Debug, Clone, Copy)]
pub struct Heads<'a> {
    /// The micro-batches of this rank, in order.
    pub batches: &'a [MicroBatch],
    /// Per micro-batch: `[tokens, dim]`.
    pub hidden: &'a [&'a [f32]],
    /// What the summed loss is divided by.
    pub normalize: Normalize,
}

/// What a head gives back.
#[derive(Debug, Clone, Default)]
pub struct HeadResult {
    /// The normalized loss: of the global batch for the full softmax, of this rank's micro-batches otherwise.
    pub loss: f64,
    /// Real targets that it is over.
    pub targets: u64,
    /// Gradient of the hidden states of this rank, micro-batch after micro-batch, `[tokens, dim]`.
    pub d_hidden: Vec<f32>,
}

/// The weight of a position under a normalization.
pub(crate) trait Weight {
    /// The factor of each position's loss when the global batch has `targets` real targets.
    fn weight(self, targets: usize) -> f32;
}

impl Weight for Normalize {
    fn weight(self, targets: usize) -> f32 {
        match self {
            Self::Tokens => 1.0 / (targets.max(1) as f32),
            Self::Constant(constant) => 1.0 / constant,
        }
    }
}
