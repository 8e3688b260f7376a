//! The task that owns the machine: its inbox, its clock, and what it has made durable.
//!
//! Its commits bear the same guard as the core's, so that a coordinator that was succeeded decides nothing more. What is wanted is
//! looked at again and again; a coordinator that takes over finds the same wants in the store.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use muster_core::Write;
use muster_core::retrain::machine::{Happened, Machine, PREFIX};
use muster_core::retrain::registry;
use muster_proto::ids::TaskOwner;
use tokio::sync::mpsc;
use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::{Instant, sleep};
use tracing::{info, warn};

use super::clock::Clock;
use super::handle::Message;
use super::hooks::Hooks;
use crate::handle::Inbox as CoreInbox;
use crate::runtime::Error;
use crate::store::{self, Guard, Store};

/// Between two tries of a commit.
const PAUSE: Duration = Duration::from_millis(20);

/// After a folder could not be removed.
const REMOVED_AGAIN: Duration = Duration::from_secs(600);

/// How far the removal of a folder is.
pub(super) enum Removal {
    /// A thread is at it.
    UnderWay(Id),
    /// It went wrong, and is tried again then.
    Again(Instant),
}

/// What a process does beside its task.
pub(super) enum Ended {
    /// A hook was called.
    Call { of: Caller, attempt: u32, end: Result<(), String> },
    /// A folder was removed, or was not there.
    Removed { number: u64, end: Result<(), String> },
}

/// For what a hook is called.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Caller {
    Run(String),
    Owed(u64),
}

/// Owns the machine and sees to what it wants.
pub(crate) struct Driver<S> {
    pub(super) machine: Machine,
    store: Arc<S>,
    guard: Guard,
    /// How long a commit is tried again.
    patience: Duration,
    /// Between two looks at what is wanted.
    pace: Duration,
    pub(super) clock: Clock,
    pub(super) hooks: Arc<Hooks>,
    inbox: mpsc::Receiver<Message>,
    pub(super) core: CoreInbox,
    /// Owners whose tasks were made in this term.
    pub(super) made: BTreeSet<(TaskOwner, u32)>,
    /// Calls and removals that are under way.
    pub(super) under_way: JoinSet<Ended>,
    pub(super) calling: BTreeMap<(Caller, u32), Id>,
    pub(super) removing: BTreeMap<u64, Removal>,
}

/// What a driver is started with, but for its store.
pub(crate) struct Parts {
    pub(crate) guard: Guard,
    pub(crate) failure_detection: Duration,
    pub(crate) clock: Clock,
    pub(crate) hooks: Arc<Hooks>,
    pub(crate) inbox: mpsc::Receiver<Message>,
    pub(crate) core: CoreInbox,
}

impl<S: Store> Driver<S> {
    /// Takes over what the store knows.
    pub(crate) async fn start(store: Arc<S>, parts: Parts) -> Result<Self, Error> {
        let pairs = async |prefix: &str| {
            let pairs = store.range(prefix).await?;
            Ok::<_, store::Error>(pairs.into_iter().map(|(key, entry)| (key, entry.value)))
        };
        let restored = Machine::restore(pairs(PREFIX).await?, pairs(registry::PREFIX).await?);
        let mut machine = restored.map_err(Error::RestoreSchedules)?;
        let Parts { guard, failure_detection, clock, hooks, inbox, core } = parts;
        machine.set_hooks(hooks.names().map(str::to_owned));
        let (made, calling, removing) = Default::default();
        Ok(Self {
            machine,
            store,
            guard,
            patience: failure_detection,
            pace: (failure_detection / 20).clamp(Duration::from_millis(10), Duration::from_millis(500)),
            clock,
            hooks,
            inbox,
            core,
            made,
            under_way: JoinSet::new(),
            calling,
            removing,
        })
    }

    /// Works until it must not any more; why.
    pub(crate) async fn run(&mut self) -> Error {
        let Err(error) = self.work().await;
        error
    }

    async fn work(&mut self) -> Result<Infallible, Error> {
        let mut look = Instant::now();
        loop {
            tokio::select! {
                biased;
                message = self.inbox.recv() => match message {
                    Some(message) => self.answer(message).await?,
                    None => return Err(Error::Lapsed),
                },
                Some(ended) = self.under_way.join_next(), if !self.under_way.is_empty() => {
                    // One that panicked is begun again, since it is still wanted.
                    match ended {
                        Ok(ended) => self.take_in(ended).await?,
                        Err(error) => self.forget(&error),
                    }
                }
                () = tokio::time::sleep_until(look) => {
                    let writes = self.machine.tick(self.clock.now());
                    self.commit(writes).await?;
                    self.carry_out().await?;
                    look = Instant::now() + self.pace;
                }
            }
        }
    }

    async fn answer(&mut self, message: Message) -> Result<(), Error> {
        let now = self.clock.now();
        // Whoever asked may have gone away; then nobody needs the answer.
        match message {
            Message::Command { request, reply } => {
                let by = request.by.clone();
                let answer = match self.machine.command(request, now) {
                    Ok((done, writes)) => {
                        self.commit(writes).await?;
                        info!(by, done = done.message, "schedules or models changed");
                        Ok(done)
                    }
                    Err(refusal) => Err(refusal),
                };
                drop(reply.send(answer));
            }
            Message::Tell { question, reply } => drop(reply.send(self.machine.tell(&question, now))),
        }
        Ok(())
    }

    /// Lets what a broken task was at be begun again.
    fn forget(&mut self, error: &JoinError) {
        warn!(%error, "a call of a hook or the removal of a folder broke");
        self.calling.retain(|_, task| *task != error.id());
        self.removing.retain(|_, removal| !matches!(removal, Removal::UnderWay(task) if *task == error.id()));
    }

    async fn take_in(&mut self, ended: Ended) -> Result<(), Error> {
        let now = self.clock.now();
        let writes = match ended {
            Ended::Call { of, attempt, end } => {
                self.calling.remove(&(of.clone(), attempt));
                if let Err(error) = &end {
                    warn!(?of, attempt, error, "a hook failed");
                }
                match of {
                    Caller::Run(run) => self.machine.happened(&run, Happened::Called { attempt, end }, now),
                    Caller::Owed(number) => self.machine.called(number, attempt, end, now),
                }
            }
            Ended::Removed { number, end } => {
                if let Err(error) = end {
                    warn!(error, again_in = ?REMOVED_AGAIN, "a folder cannot be removed, see to it");
                    self.removing.insert(number, Removal::Again(Instant::now() + REMOVED_AGAIN));
                    self.machine.not_discarded(number, error);
                    return Ok(());
                }
                self.removing.remove(&number);
                self.machine.discarded(number)
            }
        };
        self.commit(writes).await
    }

    /// Makes writes durable, for as long as this coordinator may.
    pub(super) async fn commit(&mut self, writes: Vec<Write>) -> Result<(), Error> {
        if writes.is_empty() {
            return Ok(());
        }
        let begun = Instant::now();
        let writes: Vec<store::Write> = writes.into_iter().map(Into::into).collect();
        while let Err(error) = self.store.commit(vec![self.guard.clone()], writes.clone()).await {
            if !error.is_transient() || begun.elapsed() > self.patience {
                return Err(error.into());
            }
            warn!(%error, "a commit of schedules failed, it is tried again");
            sleep(PAUSE).await;
        }
        Ok(())
    }
}
