//! What passes over the session between a worker and the coordinator.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Prepare, Progress, RankStage, StepTiming, TaskEnd, TaskProgress, TaskWork};
use crate::fence::{Fence, TaskClaim};
use crate::ids::{Incarnation, Rank, Step, WorkerId};

/// What the coordinator answers to a registration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Registration {
    /// The worker's id.
    pub worker: WorkerId,
    /// This life of it.
    pub incarnation: Incarnation,
    /// The knob from which the worker derives its intervals and deadlines.
    pub failure_detection: Duration,
}

/// Opens a session, first or again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hello {
    /// The worker's id.
    pub worker: WorkerId,
    /// Its incarnation.
    pub incarnation: Incarnation,
    /// What it runs, if anything.
    pub running: Option<Fence>,
}

/// What a worker does for its job right now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RankState {
    /// The assignment.
    pub fence: Fence,
    /// What it does.
    pub stage: RankStage,
    /// Its last step, once there is one.
    pub timing: Option<StepTiming>,
}

/// A rank's share of a durable checkpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PiecesSaved {
    /// The checkpoint's step.
    pub step: Step,
    /// Number of pieces.
    pub pieces: u64,
    /// Their size.
    pub bytes: u64,
    /// The manifest's path, from the rank that wrote it.
    pub manifest: Option<String>,
}

/// What a rank's parameters came from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RestoredFrom {
    /// Their initial values.
    Start,
    /// Copies in the memory of this and other workers.
    Memory,
    /// The checkpoint at this path.
    Checkpoint(String),
}

/// Where a rank goes on from, and how long it took to get there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Restored {
    /// Optimizer updates in the parameters.
    pub step: Step,
    /// What they came from.
    pub from: RestoredFrom,
    /// Time until the ranks were connected.
    pub connect: Duration,
    /// Time from then until data and pieces were in place.
    pub load: Duration,
}

impl Restored {
    /// The beginning: initial values, at no cost.
    #[must_use]
    pub fn start() -> Self {
        let (step, from) = (Step(0), RestoredFrom::Start);
        Self { step, from, connect: Duration::ZERO, load: Duration::ZERO }
    }
}

/// Whose fault a failure is, as far as the rank can tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureCause {
    /// Its own: bad input, full disk, not a number.
    Own,
    /// Another rank did not answer.
    Peer,
    /// It stopped because it was told to.
    Aborted,
    /// The code that ran the job panicked.
    Panic,
}

impl FailureCause {
    /// Whether the job would fail again on other workers.
    #[must_use]
    pub fn is_of_the_job(self) -> bool {
        matches!(self, Self::Own | Self::Panic)
    }
}

/// Why a rank stopped before the end of the job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// Whose fault it is.
    pub cause: FailureCause,
    /// What happened, for people.
    pub message: String,
    /// The rank that did not answer, where that is the cause and it is known.
    #[serde(default)]
    pub peer: Option<Rank>,
}

/// From a worker to the coordinator.
#[derive(Debug, Clone, PartialEq)]
pub enum Report {
    /// Opens the session.
    Hello(Hello),
    /// The worker lives.
    Heartbeat {
        /// Its incarnation.
        incarnation: Incarnation,
        /// What it runs, if anything.
        running: Option<RankState>,
    },
    /// The rank waits for the start.
    JobReady {
        /// The assignment.
        fence: Fence,
        /// Where it goes on from.
        restored: Restored,
    },
    /// How far the rank is.
    Progress {
        /// The assignment.
        fence: Fence,
        /// How far.
        progress: Progress,
    },
    /// The rank's share of a checkpoint is durable.
    PiecesSaved {
        /// The assignment.
        fence: Fence,
        /// What is durable.
        saved: PiecesSaved,
    },
    /// The rank came to the end of the job.
    Finished {
        /// The assignment.
        fence: Fence,
        /// What it has to say about the run.
        summary: serde_json::Value,
    },
    /// The rank stopped before the end of the job.
    Failed {
        /// The assignment.
        fence: Fence,
        /// Why.
        failure: Failure,
    },
    /// The rank stopped after a step together with all others, and keeps its pieces in memory.
    Yielded {
        /// The assignment.
        fence: Fence,
        /// The step.
        step: Step,
    },
    /// What the generation before had reached is reached again.
    CaughtUp {
        /// The assignment.
        fence: Fence,
        /// Steps that were made a second time.
        steps_redone: u64,
        /// Time that this took.
        recompute: Duration,
    },
    /// The worker works on a task.
    TaskRunning {
        /// The claim.
        claim: TaskClaim,
        /// How far it is.
        progress: TaskProgress,
    },
    /// The worker does not work on a task any more.
    TaskEnded {
        /// The claim.
        claim: TaskClaim,
        /// How it ended.
        end: TaskEnd,
    },
}

/// From the coordinator to a worker.
#[derive(Debug, Clone, PartialEq)]
pub enum Directive {
    /// The session is open.
    Welcome {
        /// The incarnation that the coordinator knows.
        incarnation: Incarnation,
    },
    /// Take a rank: connect to the peers, load, report ready.
    Prepare(Prepare),
    /// All ranks are ready: begin.
    Start {
        /// The assignment.
        fence: Fence,
    },
    /// Stop at once; pending collectives end with an error.
    Abort {
        /// The assignment.
        fence: Fence,
        /// Why, for people.
        reason: String,
    },
    /// Save a checkpoint soon.
    Checkpoint {
        /// The assignment.
        fence: Fence,
    },
    /// Finish the step, save, and end the job as finished early.
    Drain {
        /// The assignment.
        fence: Fence,
    },
    /// Stop after the step at hand, together with all other ranks, and keep the pieces in memory: another generation
    /// follows.
    Yield {
        /// The assignment.
        fence: Fence,
        /// Ranks whose workers will have none in the next generation: they hand their pieces to the others.
        leaving: Vec<Rank>,
    },
    /// End the process.
    Shutdown {
        /// Why, for people.
        reason: String,
    },
    /// The end that the worker reported is known; it need not be reported again.
    Acknowledged {
        /// The assignment that ended.
        fence: Fence,
    },
    /// Work on a task.
    RunTask {
        /// The claim, to be shown with all that is said of it.
        claim: TaskClaim,
        /// What there is to do.
        work: TaskWork,
    },
    /// Stop working on a task.
    StopTask {
        /// The claim.
        claim: TaskClaim,
        /// Why, for people.
        reason: String,
    },
    /// The end of a task that the worker reported is known; it need not be reported again.
    TaskAcknowledged {
        /// The claim.
        claim: TaskClaim,
    },
}
