//! What clients ask of the coordinator, and what it tells them.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::seconds;
use super::{
    Capabilities, DeviceKind, JobPhase, Progress, Queueing, RankState, RestoredFrom, Spent, Straggler,
};
use crate::fence::Fence;
use crate::ids::{Generation, Incarnation, JobId, Rank, Step, TaskId, WorkerId, WorldSize};
use crate::measured::{Breakdown, Forecast};
use crate::sharding::TableDecl;

/// A job to train.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Submission {
    /// Name for people.
    pub name: String,
    /// The job's spec, TOML, as ranks will read it.
    pub spec_toml: String,
    /// Where the prepared dataset is, as workers see it.
    pub dataset_dir: String,
    /// Where the run's files go, as workers see it.
    pub run_dir: String,
    /// Number of ranks.
    pub world_size: WorldSize,
    /// Number of micro-batches of a step.
    pub micro_batches: u32,
    /// Tables to place.
    pub tables: Vec<TableDecl>,
    /// Whether ranks must agree in their numerics.
    pub reproducible: bool,
    /// What ranks must compute on; `None` means any, but all alike.
    pub device: Option<DeviceKind>,
    /// The numerics that ranks must have, for instance those of the checkpoint that is resumed.
    pub numerics: Option<String>,
    /// The fewest ranks that it goes on with when workers are lost; at least 1.
    pub min_workers: u32,
    /// What its steps are forecast to take, where whoever submits it can say.
    #[serde(default)]
    pub forecast: Option<Forecast>,
    /// Where it stands among those that want workers.
    #[serde(default)]
    pub queueing: Queueing,
}

/// How a job is ended early.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CancelMode {
    /// At once, without a checkpoint.
    #[default]
    Abort,
    /// After the step at hand, with a checkpoint; the job counts as finished.
    Drain,
}

/// One thing that happened to a job.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct JobEvent {
    /// Its number. Events that are kept are counted from 1 in each job; one that is not kept (progress without
    /// metrics, and what a job waits for) bears the number of the last one that is.
    pub sequence: u64,
    /// The generation in which it happened; 0 before the first.
    pub generation: Generation,
    /// What happened.
    #[serde(flatten)]
    pub kind: EventKind,
}

/// What a change of a job's workers cost.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Incident {
    /// The generation that it ended.
    pub generation: Generation,
    /// What happened, for people.
    pub reason: String,
    /// Whether it was asked for: a change of size, a worker that is drained.
    pub planned: bool,
    /// Ranks before.
    pub before: u32,
    /// Ranks after.
    pub after: u32,
    /// From the last sign of life to the notice.
    #[serde(with = "seconds")]
    pub detect: Duration,
    /// From the notice until the other ranks had stopped.
    #[serde(with = "seconds")]
    pub abort: Duration,
    /// From then until there were workers for the next generation.
    #[serde(with = "seconds")]
    pub decide: Duration,
    /// Until its ranks were connected.
    #[serde(with = "seconds")]
    pub rendezvous: Duration,
    /// Until their pieces were in place and all had started.
    #[serde(with = "seconds")]
    pub reload: Duration,
    /// Until the step was reached again that had been reached before.
    #[serde(with = "seconds")]
    pub recompute: Duration,
    /// Steps that were made a second time.
    pub steps_redone: u64,
    /// What pieces came from.
    pub restored_from: RestoredFrom,
}

impl Incident {
    /// How long no new step was made.
    #[must_use]
    pub fn downtime(&self) -> Duration {
        self.detect + self.abort + self.decide + self.rendezvous + self.reload + self.recompute
    }
}

/// What happened to a job.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum EventKind {
    /// It came into another phase.
    PhaseChanged {
        /// The phase.
        phase: JobPhase,
        /// Why, or what it waits for, for people.
        reason: String,
    },
    /// Training goes on.
    Progress(Progress),
    /// A worker is gone.
    WorkerLost {
        /// The worker.
        worker: WorkerId,
        /// The rank it held.
        rank: Rank,
        /// How it showed, for people.
        reason: String,
    },
    /// A checkpoint is complete on all ranks.
    CheckpointSaved {
        /// Its step.
        step: Step,
        /// Its manifest's path.
        manifest: String,
    },
    /// A change of its workers is over, and what it cost.
    Incident {
        /// The change.
        incident: Incident,
    },
    /// It ended with a result.
    Finished {
        /// Rank 0's summary.
        summary: serde_json::Value,
    },
    /// It ended without a result.
    Failed {
        /// What went wrong, for people.
        error: String,
    },
    /// It ended because somebody asked for it.
    Cancelled,
    /// The reader was too slow and these events are gone.
    Missed {
        /// How many.
        count: u64,
    },
}

impl EventKind {
    /// Whether this is the last event of a job.
    #[must_use]
    pub fn is_last(&self) -> bool {
        matches!(self, Self::Finished { .. } | Self::Failed { .. } | Self::Cancelled)
    }
}

/// A job at a glance.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct JobStatus {
    /// Its id.
    pub job: JobId,
    /// Its name.
    pub name: String,
    /// Where it is in its life.
    pub phase: JobPhase,
    /// The last generation; 0 before the first.
    pub generation: Generation,
    /// Number of ranks.
    pub world_size: WorldSize,
    /// Why it waits, or how it ended, for people; empty while it trains.
    pub reason: String,
    /// Last progress, if any.
    pub progress: Option<Progress>,
    /// The workers that hold its ranks, in rank order.
    pub workers: Vec<WorkerId>,
    /// Where its files are.
    pub run_dir: String,
    /// Changes of its workers, oldest first; the oldest are forgotten.
    pub incidents: Vec<Incident>,
    /// What its time was spent on.
    pub spent: Spent,
    /// The rank for which the others wait, if there is one.
    pub straggler: Option<Straggler>,
    /// What its steps were forecast to take when it was submitted.
    pub forecast: Option<Forecast>,
    /// What its ranks' steps take, in rank order, as they told last; empty where they have not.
    pub measured: Vec<Breakdown>,
    /// Where it stands among those that want workers.
    pub queueing: Queueing,
    /// Its place among the jobs that wait for workers of its kind, from 1; none where it does not wait.
    pub place: Option<u32>,
    /// How often it was stopped at a checkpoint for others.
    pub stops: u32,
}

/// A worker at a glance.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WorkerStatus {
    /// Its id.
    pub worker: WorkerId,
    /// Its incarnation.
    pub incarnation: Incarnation,
    /// What it is and has.
    pub capabilities: Capabilities,
    /// Whether its session is open.
    pub connected: bool,
    /// What it works for, if anything, and its rank there.
    pub assignment: Option<(Fence, Rank)>,
    /// What it does there, by its last heartbeat.
    pub running: Option<RankState>,
    /// Whether it gets no more ranks.
    pub cordoned: bool,
    /// The task that it works on, if any.
    #[serde(default)]
    pub task: Option<TaskId>,
}
