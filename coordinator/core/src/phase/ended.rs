//! Ended: nothing more happens to the job. It holds no ranks.

use muster_proto::control::{EventKind, JobPhase};
use serde::{Deserialize, Serialize};

/// How the job ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Ended {
    /// With a result.
    Finished { summary: serde_json::Value },
    /// Without.
    Failed { error: String },
    /// On request.
    Cancelled,
}

impl Ended {
    pub(crate) fn name(&self) -> JobPhase {
        match self {
            Self::Finished { .. } => JobPhase::Finished,
            Self::Failed { .. } => JobPhase::Failed,
            Self::Cancelled => JobPhase::Cancelled,
        }
    }

    /// The last event of the job.
    pub(crate) fn event(&self) -> EventKind {
        match self {
            Self::Finished { summary } => EventKind::Finished { summary: summary.clone() },
            Self::Failed { error } => EventKind::Failed { error: error.clone() },
            Self::Cancelled => EventKind::Cancelled,
        }
    }
}
