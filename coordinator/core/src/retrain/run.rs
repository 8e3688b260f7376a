//! A run: one training for one logical time, from the window of its data to the watch over its model.
//!
//! ```text
//! waiting -> preparing -> training -> judging -> approving -> promoting -> watching -> ended
//!    |           |            |          |           |            |            |
//!    +-----------+------------+----------+-----------+------------+            v
//!    |            cancelling, or ended as it is                          rolling back -> ended
//! ```

use std::collections::BTreeMap;
use std::fmt;

use jiff::Timestamp;
use muster_proto::control::{WindowDone, WindowRead};
use muster_proto::ids::{JobId, TaskOwner};
use serde::{Deserialize, Serialize};

use super::command::Applied;
use super::gates::{Approval, Judgement};
use super::registry::{Cost, VersionNumber};
use super::runs::{self, RunId};

/// Why there is a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Its schedule fired.
    Scheduled,
    /// Somebody asked for it.
    Manual,
    /// It is part of a backfill.
    Backfill,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Scheduled => "scheduled",
            Self::Manual => "manual",
            Self::Backfill => "backfill",
        })
    }
}

/// Where a run is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// For late data, until then.
    Waiting {
        /// When it goes on.
        until: Timestamp,
    },
    /// A worker makes its dataset.
    Preparing,
    /// Its job trains, or waits for workers.
    Training,
    /// A worker looks for evidence.
    Judging,
    /// A person has to agree, until then.
    Approving {
        /// When it is too late.
        until: Timestamp,
    },
    /// The hook puts the candidate into service.
    Promoting(Call),
    /// The new champion is watched, until then.
    Watching {
        /// When it counts as well.
        until: Timestamp,
    },
    /// The hook puts the champion before it into service.
    RollingBack(Call),
    /// What was begun for it is ended.
    Cancelling {
        /// How it will have ended.
        outcome: Outcome,
    },
    /// It is over.
    Ended {
        /// How.
        outcome: Outcome,
    },
}

/// A call of a hook, tried several times.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Call {
    /// The first is 1.
    pub attempt: u32,
    /// Not before this.
    pub at: Timestamp,
}

impl Stage {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Waiting { .. } => "waiting",
            Self::Preparing => "preparing",
            Self::Training => "training",
            Self::Judging => "judging",
            Self::Approving { .. } => "approving",
            Self::Promoting(_) => "promoting",
            Self::Watching { .. } => "watching",
            Self::RollingBack(_) => "rolling back",
            Self::Cancelling { .. } => "cancelling",
            Self::Ended { .. } => "ended",
        }
    }
}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Its model became champion.
    Promoted,
    /// Its model passed and waits for a person to promote it.
    Kept,
    /// A gate stopped its model.
    Stopped,
    /// Its model was champion and went again.
    RolledBack,
    /// It could not be done.
    Failed,
    /// It was told to end.
    Cancelled,
}

impl From<Outcome> for runs::Outcome {
    /// A model that did not become champion is no failure of its run.
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Failed => Self::Failed,
            Outcome::Cancelled => Self::Cancelled,
            Outcome::Promoted | Outcome::Kept | Outcome::Stopped | Outcome::RolledBack => Self::Succeeded,
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Promoted => "promoted",
            Self::Kept => "kept",
            Self::Stopped => "stopped",
            Self::RolledBack => "rolled back",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        })
    }
}

/// A stage that a run came into.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Transition {
    /// When.
    pub at: Timestamp,
    /// Its name.
    pub stage: String,
    /// Why, for people.
    pub why: String,
}

/// What a run is made of; it never changes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Plan {
    pub(super) schedule: String,
    pub(super) logical: Timestamp,
    pub(super) attempt: u32,
    pub(super) kind: Kind,
    pub(super) begun: Timestamp,
    /// The increments of the base that count, where an earlier attempt said so.
    pub(super) increments: Option<u64>,
    pub(super) applied: Applied,
}

/// What became of it so far.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct State {
    pub(super) stage: Stage,
    pub(super) transitions: Vec<Transition>,
    pub(super) window: Option<(Option<Timestamp>, Timestamp)>,
    pub(super) parent: Option<VersionNumber>,
    /// Increments that were found fit before it began.
    pub(super) checked: u64,
    pub(super) read: Option<WindowRead>,
    pub(super) made: Option<Box<WindowDone>>,
    pub(super) job: Option<JobId>,
    pub(super) champion: Option<VersionNumber>,
    /// How often a candidate was judged: again where the champion was another one by then.
    pub(super) judged: u32,
    pub(super) judgement: Option<Judgement>,
    pub(super) metrics: BTreeMap<String, f64>,
    /// The champion's on the same.
    pub(super) champion_metrics: BTreeMap<String, f64>,
    pub(super) version: Option<VersionNumber>,
    pub(super) approvals: Vec<Approval>,
    pub(super) cost: Cost,
}

/// A run.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Run {
    pub(super) id: RunId,
    pub(super) plan: Plan,
    pub(super) state: State,
}

impl Run {
    pub(super) fn new(id: RunId, plan: Plan) -> Self {
        let stage = Stage::Waiting { until: plan.begun };
        let state = State {
            stage,
            transitions: Vec::new(),
            window: None,
            parent: None,
            checked: 0,
            read: None,
            made: None,
            job: None,
            champion: None,
            judged: 0,
            judgement: None,
            metrics: BTreeMap::new(),
            champion_metrics: BTreeMap::new(),
            version: None,
            approvals: Vec::new(),
            cost: Cost::default(),
        };
        Self { id, plan, state }
    }

    pub(super) fn model(&self) -> &str {
        &self.plan.applied.spec.model
    }

    /// How it ended, if it did.
    pub(super) fn outcome(&self) -> Option<Outcome> {
        match self.state.stage {
            Stage::Ended { outcome } => Some(outcome),
            _ => None,
        }
    }

    /// Its tasks' owner.
    pub(super) fn owner(&self) -> TaskOwner {
        TaskOwner(u64::from_str_radix(&self.id.to_string(), 16).unwrap_or_default())
    }

    /// The name of its job, and of its folder.
    pub(super) fn name(&self) -> String {
        format!("{}-{}", self.plan.schedule, self.id)
    }

    /// Comes into a stage, and says why.
    pub(super) fn enter(&mut self, stage: Stage, now: Timestamp, why: impl Into<String>) {
        let transition = Transition { at: now, stage: stage.name().to_owned(), why: why.into() };
        self.state.transitions.push(transition);
        self.state.stage = stage;
    }
}
