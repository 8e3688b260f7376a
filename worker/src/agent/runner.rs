//! What the agent runs: a job's code, on an OS thread of its own.
//!
//! A panic of the job becomes a failure report; the worker's process lives on.

use std::fmt;
use std::net::TcpListener;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use muster_proto::control::{DeviceKind, Failure, FailureCause, Peer};
use muster_proto::fence::Fence;
use muster_proto::ids::{Rank, Step, WorldSize};
use muster_proto::panic_text;
use muster_proto::sharding::ShardingPlan;
use tokio::sync::oneshot;
use tracing::info_span;

use super::control::Control;
use super::task::{TaskControl, TaskOrder};

/// Trains a job's share on this worker.
pub trait JobRunner: Send + Sync + 'static {
    /// Runs one assignment to its end. Called on a thread of its own.
    ///
    /// # Errors
    /// If the job does not come to its end on this rank.
    fn run(&self, assignment: Assignment, control: Control) -> Result<Outcome, RunError>;

    /// Starts [`Self::run`] and has what it ends with arrive on the channel. A thread of its own by default; a runner
    /// without threads, in a simulation, has its own way.
    ///
    /// # Errors
    /// If the system has no thread left.
    fn start(self: Arc<Self>, assignment: Assignment, control: Control) -> std::io::Result<Ending> {
        spawn(move |assignment, control| self.run(assignment, control), assignment, control)
    }

    /// Does a task, which is no part of a job. Called on a thread of its own. A runner that does none says so, so that
    /// whoever asked is told.
    ///
    /// # Errors
    /// What another worker would meet, too. What comes after the task was told to stop does not count.
    fn run_task(&self, order: TaskOrder, control: &TaskControl) -> Result<serde_json::Value, String> {
        let _ = control;
        Err(format!("the worker that was given {} does no tasks", order.claim.task))
    }
}

/// On which arrives what a job ends with on this rank.
pub type Ending = oneshot::Receiver<Result<Outcome, RunError>>;

/// A rank to take, with all that is needed for it.
pub struct Assignment {
    /// Job, generation and incarnation; goes into whatever this rank writes.
    pub fence: Fence,
    /// The rank to take.
    pub rank: Rank,
    /// Number of ranks.
    pub world_size: WorldSize,
    /// All ranks in order, this one among them.
    pub peers: Vec<Peer>,
    /// The job's spec, TOML.
    pub spec_toml: String,
    /// Where the prepared dataset is.
    pub dataset_dir: PathBuf,
    /// Where the run's files go.
    pub run_dir: PathBuf,
    /// Which rank holds which piece.
    pub plan: ShardingPlan,
    /// A secret that peers of this generation show to each other.
    pub collective_token: [u8; 32],
    /// The checkpoint that the job counts on; `None`: the newest of the run directory, if there is one.
    pub checkpoint: Option<String>,
    /// Where the peers' collectives connect to. It outlives generations: peers of older ones may still knock.
    pub listener: TcpListener,
    /// CPU threads to use.
    pub threads: u32,
    /// What to compute on.
    pub device: DeviceKind,
    /// The knob from which the collectives' deadlines derive.
    pub failure_detection: Duration,
}

/// How a job ended on this rank, if well.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// It came to its end.
    Finished {
        /// What there is to say about the run; rank 0's is the job's.
        summary: serde_json::Value,
    },
    /// It stopped after a step for another generation, and keeps its pieces in memory.
    Yielded {
        /// The step.
        step: Step,
    },
}

/// A job that did not come to its end on this rank.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct RunError {
    /// Whose fault it is.
    pub cause: FailureCause,
    /// What happened, for people.
    pub message: String,
    /// The rank that did not answer, where that is the cause and it is known; this rank's own, where none did.
    pub peer: Option<Rank>,
}

impl RunError {
    /// This rank failed: bad input, a full disk, a loss that is not a number.
    pub fn own(error: &impl fmt::Display) -> Self {
        Self { cause: FailureCause::Own, message: error.to_string(), peer: None }
    }

    /// Another rank did not answer: `peer`, where it is known.
    pub fn peer(error: &impl fmt::Display, peer: Option<Rank>) -> Self {
        Self { cause: FailureCause::Peer, message: error.to_string(), peer }
    }

    /// This rank was told to stop.
    pub fn aborted(error: &impl fmt::Display) -> Self {
        Self { cause: FailureCause::Aborted, message: error.to_string(), peer: None }
    }
}

impl From<RunError> for Failure {
    fn from(error: RunError) -> Self {
        Self { cause: error.cause, message: error.message, peer: error.peer }
    }
}

/// Runs a job on a thread of its own; what it ends with arrives on the channel.
fn spawn(
    job: impl FnOnce(Assignment, Control) -> Result<Outcome, RunError> + Send + 'static,
    assignment: Assignment,
    control: Control,
) -> std::io::Result<Ending> {
    let (ended, receiver) = oneshot::channel();
    let (fence, rank) = (assignment.fence, assignment.rank);
    let run = move || {
        let span = info_span!("job", job = %fence.job, generation = fence.generation.0, rank = rank.0);
        let _entered = span.enter();
        // The job's state dies with the panic; nothing of it is looked at afterwards.
        let outcome = catch_unwind(AssertUnwindSafe(|| job(assignment, control)));
        let outcome = outcome.unwrap_or_else(|panic| {
            let message = format!("the job's code panicked: {}", panic_text(panic.as_ref()));
            Err(RunError { cause: FailureCause::Panic, message, peer: None })
        });
        // The agent is gone only when the process ends.
        let _ = ended.send(outcome);
    };
    std::thread::Builder::new().name(format!("{} rank {rank}", fence.job)).spawn(run)?;
    Ok(receiver)
}
