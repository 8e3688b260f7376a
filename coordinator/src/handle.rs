//! How handlers talk to the task that owns the core.

use muster_core::{Answer, Event, Refusal, RequestId, SessionId};
use muster_proto::control::{Hello, JobEvent, JobStatus, Report, WorkerStatus};
use muster_proto::ids::JobId;
use tokio::sync::{broadcast, mpsc, oneshot};

use crate::sessions::Link;

/// Messages that may wait for the core; handlers wait when it is full.
pub(crate) const INBOX: usize = 1024;

/// The coordinator ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the coordinator is shutting down")]
pub(crate) struct Gone;

/// What a watcher gets: the past, and the future if there is one.
pub(crate) type Watching = (Vec<JobEvent>, Option<broadcast::Receiver<JobEvent>>);

/// One message to the task that owns the core.
pub(crate) enum Message {
    /// A request that the core answers; the event is made with the request's id.
    Ask { event: Box<dyn FnOnce(RequestId) -> Event + Send>, reply: oneshot::Sender<Result<Answer, Refusal>> },
    /// A worker opens a session; its id is the answer.
    Open { hello: Hello, link: Link, reply: oneshot::Sender<SessionId> },
    /// A worker said something.
    Report { session: SessionId, report: Report },
    /// A session's connection is gone.
    Closed { session: SessionId },
    /// All jobs.
    Jobs { reply: oneshot::Sender<Vec<JobStatus>> },
    /// All workers.
    Workers { reply: oneshot::Sender<Vec<WorkerStatus>> },
    /// The events of a job after a number; `None` if there is no such job.
    Watch { job: JobId, after: u64, reply: oneshot::Sender<Option<Watching>> },
}

/// Sends messages to the task that owns the core.
#[derive(Clone)]
pub(crate) struct Handle {
    inbox: mpsc::Sender<Message>,
}

impl Handle {
    pub(crate) fn new() -> (Self, mpsc::Receiver<Message>) {
        let (inbox, messages) = mpsc::channel(INBOX);
        (Self { inbox }, messages)
    }

    pub(crate) async fn ask(
        &self,
        event: impl FnOnce(RequestId) -> Event + Send + 'static,
    ) -> Result<Result<Answer, Refusal>, Gone> {
        self.call(|reply| Message::Ask { event: Box::new(event), reply }).await
    }

    pub(crate) async fn open(&self, hello: Hello, link: Link) -> Result<SessionId, Gone> {
        self.call(|reply| Message::Open { hello, link, reply }).await
    }

    pub(crate) async fn jobs(&self) -> Result<Vec<JobStatus>, Gone> {
        self.call(|reply| Message::Jobs { reply }).await
    }

    pub(crate) async fn workers(&self) -> Result<Vec<WorkerStatus>, Gone> {
        self.call(|reply| Message::Workers { reply }).await
    }

    pub(crate) async fn watch(&self, job: JobId, after: u64) -> Result<Option<Watching>, Gone> {
        self.call(|reply| Message::Watch { job, after, reply }).await
    }

    pub(crate) async fn send(&self, message: Message) -> Result<(), Gone> {
        self.inbox.send(message).await.map_err(|_| Gone)
    }

    async fn call<T>(&self, message: impl FnOnce(oneshot::Sender<T>) -> Message) -> Result<T, Gone> {
        let (reply, answer) = oneshot::channel();
        self.send(message(reply)).await?;
        answer.await.map_err(|_| Gone)
    }
}
