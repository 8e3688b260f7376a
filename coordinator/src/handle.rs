//! How handlers talk to the task that owns the core, while this coordinator has one.

use std::fmt;

use muster_core::{Answer, Event, Refusal, RequestId, SessionId};
use muster_proto::control::{Hello, JobEvent, JobStatus, Report, TaskStatus, WorkerStatus};
use muster_proto::ids::{JobId, TaskOwner};
use tokio::sync::{broadcast, mpsc, oneshot, watch};

use crate::retrain;
use crate::sessions::Link;

/// Messages that may wait for the core; handlers wait when it is full.
const INBOX: usize = 1024;

/// There is nobody here who could answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Away {
    /// The core that was asked went away before it answered.
    #[error("the coordinator stopped leading before it answered; it may have done what it was asked for")]
    Gone,
    /// Another coordinator leads.
    #[error("this coordinator does not lead, {url} does: ask there")]
    Follows {
        /// Where it is.
        url: String,
    },
    /// No coordinator leads that this one knows of.
    #[error("no coordinator leads at the moment; this one waits for the store to say who does: ask again")]
    NoLeader,
}

/// What a coordinator is to those who ask it.
#[derive(Debug, Clone)]
pub(crate) enum Role {
    /// It decides.
    Leads(Inbox),
    /// It does not; the URL of who does, if one is known.
    Follows(Option<String>),
}

impl PartialEq for Role {
    /// No two cores are the same.
    fn eq(&self, other: &Self) -> bool {
        matches!((self, other), (Self::Follows(one), Self::Follows(other)) if one == other)
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Leads(_) => f.write_str("leads"),
            Self::Follows(Some(url)) => write!(f, "follows {url}"),
            Self::Follows(None) => f.write_str("waits for a leader"),
        }
    }
}

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
    /// Somebody wants to know something.
    Question(Question),
}

/// What is read of the core and changes nothing.
pub(crate) enum Question {
    /// All jobs.
    Jobs { reply: oneshot::Sender<Vec<JobStatus>> },
    /// All workers.
    Workers { reply: oneshot::Sender<Vec<WorkerStatus>> },
    /// Tasks of an owner, by number.
    Tasks { owner: TaskOwner, numbers: Vec<u32>, reply: oneshot::Sender<Vec<TaskStatus>> },
    /// The events of a job after a number; `None` if there is no such job.
    Watch { job: JobId, after: u64, reply: oneshot::Sender<Option<Watching>> },
}

/// Finds the core, if it is here.
#[derive(Debug, Clone)]
pub(crate) struct Handle {
    role: watch::Receiver<Role>,
}

impl Handle {
    /// A coordinator that follows until it says otherwise.
    pub(crate) fn new() -> (watch::Sender<Role>, Self) {
        let (sender, role) = watch::channel(Role::Follows(None));
        (sender, Self { role })
    }

    /// The core that is here now. A session stays with the core that it was opened with.
    pub(crate) fn inbox(&self) -> Result<Inbox, Away> {
        match &*self.role.borrow() {
            Role::Leads(inbox) => Ok(inbox.clone()),
            Role::Follows(Some(url)) => Err(Away::Follows { url: url.clone() }),
            Role::Follows(None) => Err(Away::NoLeader),
        }
    }

    /// Waits until the role is another one; false if it will never be.
    pub(crate) async fn changed(&mut self) -> bool {
        self.role.changed().await.is_ok()
    }

    pub(crate) async fn ask(
        &self,
        event: impl FnOnce(RequestId) -> Event + Send + 'static,
    ) -> Result<Result<Answer, Refusal>, Away> {
        self.inbox()?.ask(event).await
    }

    pub(crate) async fn jobs(&self) -> Result<Vec<JobStatus>, Away> {
        self.inbox()?.jobs().await
    }

    pub(crate) async fn workers(&self) -> Result<Vec<WorkerStatus>, Away> {
        self.inbox()?.call(|reply| Message::Question(Question::Workers { reply })).await
    }

    pub(crate) async fn tasks(&self, owner: TaskOwner, numbers: Vec<u32>) -> Result<Vec<TaskStatus>, Away> {
        self.inbox()?.tasks(owner, numbers).await
    }

    pub(crate) async fn watch(&self, job: JobId, after: u64) -> Result<Option<Watching>, Away> {
        self.inbox()?.call(|reply| Message::Question(Question::Watch { job, after, reply })).await
    }
}

/// Sends messages to the task that owns the core, and to the one that owns schedules and models beside it.
#[derive(Debug, Clone)]
pub(crate) struct Inbox {
    sender: mpsc::Sender<Message>,
    retrain: retrain::Inbox,
}

impl Inbox {
    pub(crate) fn new() -> (Self, mpsc::Receiver<Message>, mpsc::Receiver<retrain::Message>) {
        let (sender, messages) = mpsc::channel(INBOX);
        let (retrain, of_retrain) = retrain::Inbox::new();
        (Self { sender, retrain }, messages, of_retrain)
    }

    pub(crate) fn retrain(&self) -> &retrain::Inbox {
        &self.retrain
    }

    pub(crate) async fn ask(
        &self,
        event: impl FnOnce(RequestId) -> Event + Send + 'static,
    ) -> Result<Result<Answer, Refusal>, Away> {
        self.call(|reply| Message::Ask { event: Box::new(event), reply }).await
    }

    pub(crate) async fn jobs(&self) -> Result<Vec<JobStatus>, Away> {
        self.call(|reply| Message::Question(Question::Jobs { reply })).await
    }

    pub(crate) async fn tasks(&self, owner: TaskOwner, numbers: Vec<u32>) -> Result<Vec<TaskStatus>, Away> {
        self.call(|reply| Message::Question(Question::Tasks { owner, numbers, reply })).await
    }

    pub(crate) async fn open(&self, hello: Hello, link: Link) -> Result<SessionId, Away> {
        self.call(|reply| Message::Open { hello, link, reply }).await
    }

    pub(crate) async fn send(&self, message: Message) -> Result<(), Away> {
        self.sender.send(message).await.map_err(|_| Away::Gone)
    }

    async fn call<T>(&self, message: impl FnOnce(oneshot::Sender<T>) -> Message) -> Result<T, Away> {
        let (reply, answer) = oneshot::channel();
        self.send(message(reply)).await?;
        answer.await.map_err(|_| Away::Gone)
    }
}
