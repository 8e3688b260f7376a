//! Evaluation: exact, over all items, distributed, and the same on any number of workers.
//!
//! Ranks count hits and recommendations in integers, so that sums have no order. The tie rule: of two items with
//! the same score the one with the lower id comes first; the report counts how often that could decide.

pub mod baseline;
mod counts;
mod diversity;
mod held_out;
mod metrics;
mod pointwise;
mod ranking;
mod report;
mod split;
mod users;

pub use counts::RankingCounts;
pub(crate) use held_out::CALL;
pub(crate) use held_out::{Calls, HeldOut};
pub use metrics::{Metrics, ranking_metrics};
pub use pointwise::{PointwiseScores, click_metrics, rating_metrics};
pub use ranking::{Ranked, Users, rank_users};
pub use report::{Report, to_csv};
pub(crate) use split::ROUND;
pub use split::{evaluate, evaluate_users};
pub use users::{UserMetric, UserRank};

use muster_proto::job::{Head, JobSpec};

/// Why an evaluation failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The collective failed.
    #[error(transparent)]
    Collective(#[from] muster_collective::Error),
    /// Rows could not be looked up.
    #[error(transparent)]
    Exchange(#[from] crate::embedding::Error),
    /// A kernel refused its arguments.
    #[error(transparent)]
    Kernel(#[from] muster_kernels::Error),
    /// The dataset cannot be read.
    #[error("cannot load the dataset: {0}")]
    Data(#[from] muster_data::Error),
    /// Whoever looks on said so.
    #[error("stopped on request")]
    Stopped,
}

/// Whether a job's head ranks the items of a log of events.
#[must_use]
pub fn ranks_items(job: &JobSpec) -> bool {
    matches!(job.model.head, Head::Softmax { .. } | Head::SampledSoftmax { .. })
}

/// How much is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Detail {
    /// Hits only, for validation while training.
    Hits,
    /// Also the lists: coverage, Gini, novelty, diversity.
    Full,
}

/// The outcome for a split.
#[derive(Debug, Clone, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Evaluation {
    /// Held-out events, one a user.
    pub users: u64,
    /// Users whose target shares its score with another item.
    pub ties: u64,
    /// Whether items of the history were left out of the ranking.
    pub seen_filtered: bool,
    /// Named metrics.
    pub metrics: Metrics,
}
