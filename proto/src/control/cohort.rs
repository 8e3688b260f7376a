//! The ranks of one generation, and what they are told.

use std::fmt;
use std::sync::Arc;

use super::Peers;
use crate::fence::Fence;
use crate::ids::Rank;
use crate::sharding::ShardingPlan;

/// What all ranks of one generation are told alike.
#[derive(Clone, PartialEq, Eq)]
pub struct Cohort {
    /// All ranks in order.
    pub peers: Peers,
    /// The job's spec, TOML.
    pub spec_toml: String,
    /// Where the prepared dataset is.
    pub dataset_dir: String,
    /// Where the run's files go.
    pub run_dir: String,
    /// Which rank holds which piece.
    pub plan: ShardingPlan,
    /// A secret that peers of this generation show to each other.
    pub collective_token: [u8; 32],
    /// The checkpoint that the job counts on; `None`: the newest of the run directory, if there is one.
    pub checkpoint: Option<String>,
}

impl fmt::Debug for Cohort {
    // The token is a secret and the spec is long: neither belongs in a log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cohort")
            .field("ranks", &self.peers.len())
            .field("run_dir", &self.run_dir)
            .finish_non_exhaustive()
    }
}

/// Take this rank.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prepare {
    /// The assignment.
    pub fence: Fence,
    /// The rank to take.
    pub rank: Rank,
    /// What all ranks are told, this one among them.
    pub cohort: Arc<Cohort>,
}
