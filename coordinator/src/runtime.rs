//! The task that owns the core: one inbox, one clock, and the actions done in order.
//!
//! Nothing is said before what it rests on is durable. If the store refuses a write, because another coordinator
//! took over or the disk is full, this one ends at once: its memory is ahead of the store and must not be heard.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use muster_core::{
    Action, Answer, Core, Event, PREFIX, Refusal, RequestId, RestoreError, SessionId, Time, Write,
};
use muster_proto::control::Directive;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use tracing::{debug, info, warn};

use crate::handle::Message;
use crate::metrics::Counters;
use crate::sessions::Sessions;
use crate::store::{self, Guard, Revision, Store};
use crate::watchers::Watchers;

/// Under which a coordinator notes that it leads; every commit is guarded by it.
const LEADER: &str = "leader";

/// Messages taken from the inbox at a time.
const BATCH: usize = 256;

/// Why the runtime ended.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("the coordinator cannot keep its state")]
    Store(#[from] store::Error),
    #[error("the coordinator cannot take over the state it finds")]
    Restore(#[from] RestoreError),
    #[error("the system gives no random numbers: {0}")]
    Random(getrandom::Error),
}

/// Owns the core and carries out what it decides.
pub(crate) struct Runtime<S> {
    core: Core,
    store: S,
    /// Holds as long as no other coordinator took over.
    leader: Guard,
    started: Instant,
    inbox: mpsc::Receiver<Message>,
    sessions: Sessions,
    watchers: Watchers,
    replies: BTreeMap<RequestId, oneshot::Sender<Result<Answer, Refusal>>>,
    next_id: u64,
    counters: Arc<Counters>,
}

impl<S: Store> Runtime<S> {
    /// Takes the lead, and takes over what the store knows.
    pub(crate) async fn start(
        config: muster_core::Config,
        store: S,
        inbox: mpsc::Receiver<Message>,
        counters: Arc<Counters>,
    ) -> Result<Self, Error> {
        let mut seed = [0; 32];
        getrandom::fill(&mut seed).map_err(Error::Random)?;
        let before = store.get(LEADER).await?.map_or(Revision(0), |entry| entry.revision);
        let guard = Guard { key: LEADER.to_owned(), revision: before };
        let lead = Write::Put { key: LEADER.to_owned(), value: std::process::id().to_string().into_bytes() };
        let revision = store.commit(vec![guard], vec![lead]).await?;
        // Read after the lead is taken: an earlier coordinator can write no more.
        let pairs = store.range(PREFIX).await?.into_iter().map(|(key, entry)| (key, entry.value));
        let core = Core::restore(Time::default(), config, seed, pairs)?;
        info!(
            workers = core.workers().len(),
            jobs = core.jobs().len(),
            revision = revision.0,
            "the coordinator leads"
        );
        Ok(Self {
            core,
            store,
            leader: Guard { key: LEADER.to_owned(), revision },
            started: Instant::now(),
            inbox,
            sessions: Sessions::default(),
            watchers: Watchers::default(),
            replies: BTreeMap::new(),
            next_id: 0,
            counters,
        })
    }

    /// Works until the inbox closes, or the store fails.
    pub(crate) async fn run(&mut self) -> Result<(), Error> {
        self.step(Event::Tick).await?;
        let mut batch = Vec::with_capacity(BATCH);
        loop {
            let deadline = self.core.next_deadline().map(|deadline| self.started + deadline.0);
            let received = tokio::select! {
                // Messages first: what workers said before their deadline counts, however late it is read.
                biased;
                received = self.inbox.recv_many(&mut batch, BATCH) => Some(received),
                () = sleep_until(deadline) => None,
            };
            if received == Some(0) {
                return Ok(());
            }
            for message in batch.drain(..) {
                self.on_message(message).await?;
            }
            if deadline.is_some_and(|deadline| deadline <= Instant::now()) {
                self.step(Event::Tick).await?;
            }
        }
    }

    /// Sends all workers home.
    pub(crate) async fn dismiss(&mut self) -> Result<(), Error> {
        self.step(Event::Dismiss { reason: "the cluster ends with its coordinator".to_owned() }).await
    }

    async fn on_message(&mut self, message: Message) -> Result<(), Error> {
        // Whoever asked may have gone away; then nobody needs the answer.
        match message {
            Message::Ask { event, reply } => {
                let request = RequestId(self.new_id());
                self.replies.insert(request, reply);
                let event = event(request);
                self.step(event).await?;
                self.replies.remove(&request);
            }
            Message::Open { hello, link, reply } => {
                let session = SessionId(self.new_id());
                self.sessions.insert(session, link);
                let _ = reply.send(session);
                debug!(worker = %hello.worker, incarnation = hello.incarnation.0, "session opened");
                self.counters.sessions.fetch_add(1, Ordering::Relaxed);
                self.step(Event::SessionOpened { session, hello }).await?;
            }
            Message::Report { session, report } => self.step(Event::Reported { session, report }).await?,
            Message::Closed { session } => {
                self.sessions.remove(session);
                self.step(Event::SessionClosed { session }).await?;
            }
            Message::Jobs { reply } => drop(reply.send(self.core.jobs())),
            Message::Workers { reply } => drop(reply.send(self.core.workers())),
            Message::Watch { job, after, reply } => {
                let watching = self.core.events_after(job, after).map(|events| {
                    let ended = self.core.job(job).is_none_or(|job| job.phase.is_ended());
                    (events, (!ended).then(|| self.watchers.subscribe(job)))
                });
                let _ = reply.send(watching);
            }
        }
        Ok(())
    }

    /// Tells the core what happened, and does what it wants done. What fails to be sent is told to it in turn.
    async fn step(&mut self, event: Event) -> Result<(), Error> {
        let mut events = vec![event];
        while let Some(event) = events.pop() {
            self.counters.events.fetch_add(1, Ordering::Relaxed);
            let now = Time(self.started.elapsed());
            let actions = self.core.step(now, event);
            debug_assert_eq!(self.core.check(), Ok(()), "the core broke its own rules");
            for action in actions {
                if let Some(session) = self.act(action).await? {
                    events.push(Event::SessionClosed { session });
                }
            }
        }
        Ok(())
    }

    /// Does one thing; the session that broke over it, if one did.
    async fn act(&mut self, action: Action) -> Result<Option<SessionId>, Error> {
        match action {
            Action::Persist(writes) => {
                let begun = Instant::now();
                self.store.commit(vec![self.leader.clone()], writes).await?;
                self.counters.committed(begun.elapsed());
            }
            Action::Send { session, directive } => {
                note(&directive);
                if !self.sessions.send(session, directive) {
                    return Ok(Some(session));
                }
            }
            Action::CloseSession { session, end } => {
                info!(session = session.0, %end, "session closed");
                self.sessions.close(session, end);
            }
            Action::Reply { request, answer } => {
                if let Some(reply) = self.replies.remove(&request) {
                    let _ = reply.send(answer);
                }
            }
            Action::Publish { job, event } => {
                self.counters.published(job, &event);
                self.watchers.publish(job, event);
            }
            Action::Refused { worker, stale } => {
                warn!(%worker, %stale, "a claim was refused");
                self.counters.refused.fetch_add(1, Ordering::Relaxed);
            }
        }
        self.counters.open_sessions.store(self.sessions.len() as u64, Ordering::Relaxed);
        Ok(None)
    }

    fn new_id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }
}

async fn sleep_until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

/// Leaves a trace of what a worker is told to do.
fn note(directive: &Directive) {
    let (fence, what) = match directive {
        Directive::Prepare(prepare) => (&prepare.fence, "prepare"),
        Directive::Start { fence } => (fence, "start"),
        Directive::Abort { fence, .. } => (fence, "abort"),
        Directive::Checkpoint { fence } => (fence, "checkpoint"),
        Directive::Drain { fence } => (fence, "drain"),
        Directive::Yield { fence, .. } => (fence, "yield"),
        Directive::Acknowledged { fence } => (fence, "acknowledged"),
        Directive::Welcome { .. } | Directive::Shutdown { .. } => return,
    };
    let (generation, incarnation) = (fence.generation.0, fence.incarnation.0);
    debug!(job = %fence.job, generation, incarnation, directive = what, "directive sent");
}
