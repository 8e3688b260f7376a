//! The task that owns the core: one inbox, one clock, and the actions done in order.
//!
//! Nothing is said before what it rests on is durable. If the store refuses a write, because another coordinator
//! took over or the disk is full, this one ends at once: its memory is ahead of the store and must not be heard.
//! A store that does not answer is asked again for as long as the lead lasts: the same writes under the same guard
//! are the same whether they come once or twice.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use muster_core::{
    Action, Answer, Core, Event, PREFIX, Refusal, RequestId, RestoreError, SessionId, Time, Write,
};
use muster_proto::control::Directive;
use muster_proto::fence::TaskClaim;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep};
use tracing::{debug, info, warn};

use crate::handle::{Message, Question};
use crate::lead::Lead;
use crate::metrics::Counters;
use crate::sessions::Sessions;
use crate::store::{self, MIGRATING, Store};
use crate::watchers::Watchers;

/// Messages taken from the inbox at a time.
const BATCH: usize = 1024;

/// Between two tries of a commit.
const PAUSE: Duration = Duration::from_millis(20);

/// Why the runtime ended.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("the coordinator cannot keep its state")]
    Store(#[from] store::Error),
    #[error("the coordinator cannot take over the state it finds")]
    Restore(#[from] RestoreError),
    #[error("the coordinator cannot take over the schedules and models it finds")]
    RestoreSchedules(#[source] RestoreError),
    #[error("the store holds a copy that was not finished: migrate again, to an empty one")]
    Unfinished,
    #[error("the system gives no random numbers: {0}")]
    Random(getrandom::Error),
    #[error("the lease of this coordinator has run out")]
    Lapsed,
}

impl Error {
    /// Whether it ends a term only: the next one may go well, here or elsewhere.
    pub(crate) fn is_end_of_term(&self) -> bool {
        match self {
            Self::Store(store::Error::Conflict { .. }) | Self::Lapsed => true,
            Self::Store(error) => error.is_transient(),
            Self::Restore(_) | Self::RestoreSchedules(_) | Self::Unfinished | Self::Random(_) => false,
        }
    }
}

/// Owns the core and carries out what it decides.
pub(crate) struct Runtime<S> {
    core: Core,
    store: Arc<S>,
    /// Holds as long as no other coordinator took over.
    lead: Lead,
    /// How long a commit is tried again.
    patience: Duration,
    started: Instant,
    inbox: mpsc::Receiver<Message>,
    sessions: Sessions,
    watchers: Watchers,
    replies: BTreeMap<RequestId, oneshot::Sender<Result<Answer, Refusal>>>,
    next_id: u64,
    counters: Arc<Counters>,
}

impl<S: Store> Runtime<S> {
    /// Takes over what the store knows.
    pub(crate) async fn start(
        config: muster_core::Config,
        store: Arc<S>,
        lead: Lead,
        inbox: mpsc::Receiver<Message>,
        counters: Arc<Counters>,
    ) -> Result<Self, Error> {
        let mut seed = [0; 32];
        getrandom::fill(&mut seed).map_err(Error::Random)?;
        // Read after the lead is taken: an earlier coordinator can write no more.
        if store.get(MIGRATING).await?.is_some() {
            return Err(Error::Unfinished);
        }
        let pairs = store.range(PREFIX).await?.into_iter().map(|(key, entry)| (key, entry.value));
        let patience = config.failure_detection;
        let core = Core::restore(Time::default(), config, seed, pairs)?;
        let revision = lead.guard().revision.0;
        info!(
            workers = core.workers().len(),
            jobs = core.jobs(Time::default()).len(),
            revision,
            "the coordinator leads"
        );
        Ok(Self {
            core,
            store,
            lead,
            patience,
            started: Instant::now(),
            inbox,
            sessions: Sessions::default(),
            watchers: Watchers::default(),
            replies: BTreeMap::new(),
            next_id: 0,
            counters,
        })
    }

    /// Completes when the lead is over.
    pub(crate) fn lapsed(&self) -> impl Future<Output = ()> + Send + use<S> {
        self.lead.lapsed()
    }

    /// Ends the core; the lead is left.
    pub(crate) fn into_lead(self) -> Lead {
        self.counters.open_sessions.store(0, Ordering::Relaxed);
        self.lead
    }

    /// Works until it must not any more; why.
    pub(crate) async fn run(&mut self) -> Error {
        let Err(error) = self.work().await;
        error
    }

    async fn work(&mut self) -> Result<Infallible, Error> {
        self.step(vec![Event::Tick]).await?;
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
                // Nobody finds this core any more.
                return Err(Error::Lapsed);
            }
            let mut events = Vec::with_capacity(batch.len() + 1);
            for message in batch.drain(..) {
                match self.event(message) {
                    Ok(event) => events.push(event),
                    Err(question) => {
                        // Whoever asks sees what was said before, once it is durable.
                        self.step(std::mem::take(&mut events)).await?;
                        self.answer(question);
                    }
                }
            }
            if deadline.is_some_and(|deadline| deadline <= Instant::now()) {
                events.push(Event::Tick);
            }
            self.step(events).await?;
        }
    }

    /// Sends all workers home.
    pub(crate) async fn dismiss(&mut self) -> Result<(), Error> {
        self.step(vec![Event::Dismiss { reason: "the cluster ends with its coordinator".to_owned() }]).await
    }

    /// What a message tells the core; a question comes back.
    fn event(&mut self, message: Message) -> Result<Event, Question> {
        Ok(match message {
            Message::Ask { event, reply } => {
                let request = RequestId(self.new_id());
                self.replies.insert(request, reply);
                event(request)
            }
            Message::Open { hello, link, reply } => {
                let session = SessionId(self.new_id());
                self.sessions.insert(session, link);
                // Whoever opened it may have gone away; then its end is the next that is heard.
                let _ = reply.send(session);
                debug!(worker = %hello.worker, incarnation = hello.incarnation.0, "session opened");
                self.counters.sessions.fetch_add(1, Ordering::Relaxed);
                Event::SessionOpened { session, hello }
            }
            Message::Report { session, report } => Event::Reported { session, report },
            Message::Closed { session } => {
                self.sessions.remove(session);
                Event::SessionClosed { session }
            }
            Message::Question(question) => return Err(question),
        })
    }

    /// Answers a question. Whoever asked may have gone away; then nobody needs the answer.
    fn answer(&mut self, question: Question) {
        match question {
            Question::Jobs { reply } => drop(reply.send(self.core.jobs(self.now()))),
            Question::Workers { reply } => drop(reply.send(self.core.workers())),
            Question::Tasks { owner, numbers, reply } => {
                drop(reply.send(self.core.tasks(owner, &numbers)));
            }
            Question::Watch { job, after, reply } => {
                let watching = self.core.events_after(job, after).map(|events| {
                    let ended = self.core.job(job, self.now()).is_none_or(|job| job.phase.is_ended());
                    (events, (!ended).then(|| self.watchers.subscribe(job)))
                });
                let _ = reply.send(watching);
            }
        }
    }

    /// Tells the core what happened, and does what it wants done. What fails to be sent is told to it in turn.
    ///
    /// All that happened at once is one write to the store: with thousands of workers that say the same, the store is
    /// what takes time.
    async fn step(&mut self, mut events: Vec<Event>) -> Result<(), Error> {
        while !events.is_empty() {
            self.counters.events.fetch_add(events.len() as u64, Ordering::Relaxed);
            self.check_lead()?;
            let now = self.now();
            let actions = self.core.step_all(now, events.drain(..));
            debug_assert_eq!(self.core.check(), Ok(()), "the core broke its own rules");
            for action in actions {
                if let Some(session) = self.act(action).await? {
                    events.push(Event::SessionClosed { session });
                }
            }
        }
        // A request is answered in the step that it came in.
        self.replies.clear();
        Ok(())
    }

    /// Does one thing; the session that broke over it, if one did.
    async fn act(&mut self, action: Action) -> Result<Option<SessionId>, Error> {
        self.check_lead()?;
        match action {
            Action::Persist(writes) => self.persist(writes).await?,
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

    /// Makes writes durable, for as long as this coordinator may.
    async fn persist(&mut self, writes: Vec<Write>) -> Result<(), Error> {
        let begun = Instant::now();
        let writes: Vec<store::Write> = writes.into_iter().map(Into::into).collect();
        while let Err(error) = self.store.commit(vec![self.lead.guard().clone()], writes.clone()).await {
            if !error.is_transient() || begun.elapsed() > self.patience {
                return Err(error.into());
            }
            self.check_lead()?;
            warn!(%error, "a commit failed, it is tried again");
            sleep(PAUSE).await;
        }
        self.counters.committed(begun.elapsed());
        Ok(())
    }

    /// What is done without the lead could contradict what its successor does.
    fn check_lead(&self) -> Result<(), Error> {
        if self.lead.holds() { Ok(()) } else { Err(Error::Lapsed) }
    }

    fn now(&self) -> Time {
        Time(self.started.elapsed())
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
        Directive::RunTask { claim, .. } => return note_task(claim, "run"),
        Directive::StopTask { claim, .. } => return note_task(claim, "stop"),
        Directive::TaskAcknowledged { claim } => return note_task(claim, "acknowledged"),
        Directive::Welcome { .. } | Directive::Shutdown { .. } => return,
    };
    let (generation, incarnation) = (fence.generation.0, fence.incarnation.0);
    debug!(job = %fence.job, generation, incarnation, directive = what, "directive sent");
}

fn note_task(claim: &TaskClaim, what: &str) {
    let (attempt, incarnation) = (claim.attempt, claim.incarnation.0);
    debug!(task = %claim.task, attempt, incarnation, directive = what, "task directive sent");
}
