//! Why a request is refused.

use muster_proto::control::JobPhase;
use muster_proto::ids::{JobId, TaskOwner, WorkerId};

/// A request that changes nothing, and why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// No more workers fit.
    #[error("{limit} workers are known already, and no more are taken: raise max_workers")]
    TooManyWorkers {
        /// The bound.
        limit: usize,
    },
    /// No more jobs fit.
    #[error("{limit} jobs wait or run already, and no more are taken: wait, cancel one, or raise max_jobs")]
    TooManyJobs {
        /// The bound.
        limit: usize,
    },
    /// No more tasks fit.
    #[error("{limit} tasks are known already, and no more are taken: wait until others are done")]
    TooManyTasks {
        /// The bound.
        limit: usize,
    },
    /// An owner has no tasks, or none any more.
    #[error("{owner} has no tasks here: it never had, or was not heard of for too long; make them again")]
    UnknownTasks {
        /// The owner as asked for.
        owner: TaskOwner,
    },
    /// A value that cannot be.
    #[error("field `{field}`: {problem}")]
    Invalid {
        /// The field.
        field: &'static str,
        /// What is wrong and what would be right.
        problem: String,
    },
    /// There is no such job.
    #[error("{job} is not known; `muster jobs list` shows those that are")]
    UnknownJob {
        /// The job as asked for.
        job: JobId,
    },
    /// There is no such worker.
    #[error("{worker} is not known; `muster workers list` shows those that are")]
    UnknownWorker {
        /// The worker as asked for.
        worker: WorkerId,
    },
    /// The job is not in a phase in which this can be done.
    #[error("{job} is {phase}: only a job that trains can do this")]
    NotTraining {
        /// The job.
        job: JobId,
        /// Its phase.
        phase: JobPhase,
    },
    /// The job is over.
    #[error("{job} is {phase} already")]
    Ended {
        /// The job.
        job: JobId,
        /// Its phase.
        phase: JobPhase,
    },
}
