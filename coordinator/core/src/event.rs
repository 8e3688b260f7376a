//! What the core is told.

use muster_proto::control::{CancelMode, Capabilities, Hello, Report, Submission, TaskWork};
use muster_proto::ids::{JobId, TaskOwner, WorkerId};

/// Names a caller that waits for an answer; chosen by the shell, unique while it runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub u64);

/// Names a worker's session; chosen by the shell, unique while it runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(pub u64);

/// One thing that happened outside.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// Somebody wants to become a worker. Answered.
    Register {
        /// Who asks.
        request: RequestId,
        /// What it is and has.
        capabilities: Capabilities,
    },
    /// A worker opened a session, first or again.
    SessionOpened {
        /// The session.
        session: SessionId,
        /// What the worker said first.
        hello: Hello,
    },
    /// A session's connection is gone.
    SessionClosed {
        /// The session.
        session: SessionId,
    },
    /// A worker said something.
    Reported {
        /// On this session.
        session: SessionId,
        /// What it said.
        report: Report,
    },
    /// A client queues a job. Answered.
    Submit {
        /// Who asks.
        request: RequestId,
        /// The job.
        submission: Box<Submission>,
    },
    /// A client ends a job early. Answered.
    Cancel {
        /// Who asks.
        request: RequestId,
        /// The job.
        job: JobId,
        /// How.
        mode: CancelMode,
    },
    /// A client changes how many ranks a job should have. Answered.
    Scale {
        /// Who asks.
        request: RequestId,
        /// The job.
        job: JobId,
        /// As many as it should have.
        workers: u32,
    },
    /// A client says whether a worker gets ranks. Answered.
    Cordon {
        /// Who asks.
        request: RequestId,
        /// The worker.
        worker: WorkerId,
        /// Whether it gets no more.
        cordoned: bool,
        /// Whether it also gives up the one that it holds.
        drain: bool,
    },
    /// A client wants a checkpoint of a job soon. Answered.
    Checkpoint {
        /// Who asks.
        request: RequestId,
        /// The job.
        job: JobId,
    },
    /// Somebody has tasks to be done, by number. Answered; those that are there already stay as they are.
    CreateTasks {
        /// Who asks.
        request: RequestId,
        /// Whom they are for.
        owner: TaskOwner,
        /// The tasks.
        tasks: Vec<(u32, TaskWork)>,
    },
    /// An owner shows that it still waits for its tasks. Answered.
    HoldTasks {
        /// Who asks.
        request: RequestId,
        /// The owner.
        owner: TaskOwner,
    },
    /// An owner needs its tasks no more, done or not. Answered.
    ReleaseTasks {
        /// Who asks.
        request: RequestId,
        /// The owner.
        owner: TaskOwner,
    },
    /// The cluster ends with this coordinator: workers are sent home.
    Dismiss {
        /// Why, for people.
        reason: String,
    },
    /// Time has passed.
    Tick,
}
