//! What the core wants done.

use muster_proto::control::{Directive, JobEvent, Registration};
use muster_proto::fence::Stale;
use muster_proto::ids::{JobId, WorkerId};

use crate::event::{RequestId, SessionId};
use crate::refusal::Refusal;

/// One change of the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Write {
    /// The key gets this value.
    Put {
        /// The key.
        key: String,
        /// The value.
        value: Vec<u8>,
    },
    /// The key goes away.
    Delete {
        /// The key.
        key: String,
    },
}

/// An answer to a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// The worker is known.
    Registered(Registration),
    /// The job is queued.
    Submitted(JobId),
    /// It will be done.
    Accepted,
}

/// Why a session is closed by the coordinator.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SessionEnd {
    /// The worker is not known; it should register.
    #[error(
        "{worker} is not known here: it was silent for too long, or the coordinator lost its store; register again"
    )]
    Unknown {
        /// The worker as it called itself.
        worker: WorkerId,
    },
    /// A later life of the worker took its place; this one should end.
    #[error("{worker} was started again elsewhere under the same name; this process is superseded")]
    Superseded {
        /// The worker.
        worker: WorkerId,
    },
    /// The worker opened another session.
    #[error("{worker} opened another session")]
    Replaced {
        /// The worker.
        worker: WorkerId,
    },
}

/// One thing to do. Actions are done in order.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Make these writes durable, all or none, before any later action.
    Persist(Vec<Write>),
    /// Send this to a worker.
    Send {
        /// On this session.
        session: SessionId,
        /// What.
        directive: Directive,
    },
    /// End a session from this side.
    CloseSession {
        /// The session.
        session: SessionId,
        /// Why.
        end: SessionEnd,
    },
    /// Answer a request.
    Reply {
        /// Which.
        request: RequestId,
        /// With what.
        answer: Result<Answer, Refusal>,
    },
    /// Tell those who watch a job.
    Publish {
        /// The job.
        job: JobId,
        /// What happened.
        event: JobEvent,
    },
    /// Note that a claim was refused; nothing changed.
    Refused {
        /// The worker that claimed.
        worker: WorkerId,
        /// Why it was refused.
        stale: Stale,
    },
}
