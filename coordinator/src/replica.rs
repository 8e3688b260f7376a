//! One coordinator among those that share a store: it follows, campaigns, leads, and steps down.
//!
//! A coordinator whose lease ran out stops deciding at once and closes its sessions: its workers go on with what they
//! do, and open sessions with whoever leads next. What it knew and had not written down is told again by them.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};
use tracing::{info, warn};

use crate::config::with_source as chain;
use crate::handle::{Inbox, Role};
use crate::lead::{self, Candidate, LEADER, Lead};
use crate::metrics::Counters;
use crate::retrain::{Clock, Driver, Hooks, Parts};
use crate::runtime::{self, Runtime};
use crate::store::Store;

/// How a term ended.
enum End {
    /// The process is told to end.
    Shutdown,
    /// Somebody else may lead now.
    Lapsed,
    /// The core's task ended.
    Failed(runtime::Error),
}

/// A coordinator of a store.
pub(crate) struct Replica<S> {
    pub(crate) config: muster_core::Config,
    pub(crate) store: Arc<S>,
    pub(crate) candidate: Candidate,
    pub(crate) role: watch::Sender<Role>,
    pub(crate) counters: Arc<Counters>,
    /// Whether workers are sent home when this coordinator is told to end.
    pub(crate) shutdown_workers: bool,
    /// The time that schedules go by.
    pub(crate) clock: Clock,
    /// What puts models into service.
    pub(crate) hooks: Arc<Hooks>,
}

/// What leads: the core, and beside it the schedules and models.
pub(crate) struct Term<S> {
    runtime: Runtime<S>,
    driver: Driver<S>,
}

impl<S: Store> Replica<S> {
    /// Makes sure that the store is there, and leads at once where nobody else could.
    pub(crate) async fn begin(&self) -> Result<Option<Term<S>>, runtime::Error> {
        if !S::SHARED {
            let lead = lead::seize(&self.store, &self.candidate.url).await?;
            return self.take_over(lead).await.map(Some);
        }
        let begun = Instant::now();
        loop {
            match self.store.get(LEADER).await {
                Ok(_) => return Ok(None),
                Err(error) if error.is_transient() && begun.elapsed() < self.patience() => {
                    sleep(self.pause()).await;
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Leads whenever it can, until `shutdown` resolves.
    pub(crate) async fn run(
        &self,
        mut first: Option<Term<S>>,
        shutdown: impl Future<Output = ()>,
    ) -> Result<(), runtime::Error> {
        tokio::pin!(shutdown);
        loop {
            let term = match first.take() {
                Some(term) => term,
                None => tokio::select! {
                    won = self.win() => won?,
                    () = &mut shutdown => return Ok(()),
                },
            };
            match self.reign(term, shutdown.as_mut()).await {
                (End::Shutdown, outcome) => return outcome,
                (End::Lapsed, _) => warn!("the lease could not be kept, this coordinator steps down"),
                (End::Failed(error), _) if S::SHARED && error.is_end_of_term() => {
                    warn!(error = %chain(&error), "this coordinator steps down");
                }
                (End::Failed(error), _) => return Err(error),
            }
            sleep(self.pause()).await;
        }
    }

    /// Follows until nobody leads, and then is who does.
    async fn win(&self) -> Result<Term<S>, runtime::Error> {
        let mut leaders = self.store.watch(LEADER);
        let mut wait = self.candidate.ttl;
        loop {
            let leader = match timeout(wait, leaders.next()).await {
                Ok(keys) => keys.into_iter().find(|(key, _)| key == LEADER).map(|(_, entry)| entry),
                // A leader that came and went between two looks of the watch is no change to it.
                Err(_) => match self.store.get(LEADER).await {
                    Ok(leader) => leader,
                    Err(_) => continue,
                },
            };
            wait = self.candidate.ttl;
            if let Some(leader) = leader {
                let url = lead::url_in(&leader.value);
                self.follow(url.filter(|url| *url != self.candidate.url));
                continue;
            }
            self.follow(None);
            match self.stand().await {
                Ok(Some(term)) => return Ok(term),
                Ok(None) => {}
                Err(error) if error.is_end_of_term() => {
                    warn!(error = %chain(&error), "a campaign failed, it is tried again");
                    wait = self.pause();
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Stands for the lead once.
    async fn stand(&self) -> Result<Option<Term<S>>, runtime::Error> {
        match lead::campaign(&self.store, &self.candidate).await? {
            Ok(lead) => self.take_over(lead).await.map(Some),
            Err(leader) => {
                info!(leader, "another coordinator was faster");
                Ok(None)
            }
        }
    }

    async fn take_over(&self, lead: Lead) -> Result<Term<S>, runtime::Error> {
        let (inbox, messages, of_retrain) = Inbox::new();
        let store = Arc::clone(&self.store);
        let parts = Parts {
            guard: lead.guard().clone(),
            failure_detection: self.config.failure_detection,
            clock: self.clock.clone(),
            hooks: Arc::clone(&self.hooks),
            inbox: of_retrain,
            core: inbox.clone(),
        };
        let runtime =
            Runtime::start(self.config.clone(), store, lead, messages, Arc::clone(&self.counters)).await?;
        let driver = Driver::start(Arc::clone(&self.store), parts).await?;
        self.counters.leads.store(1, Ordering::Relaxed);
        self.counters.terms.fetch_add(1, Ordering::Relaxed);
        self.role.send_replace(Role::Leads(inbox));
        Ok(Term { runtime, driver })
    }

    /// Leads until the end of the term.
    async fn reign(
        &self,
        Term { mut runtime, mut driver }: Term<S>,
        mut shutdown: Pin<&mut impl Future<Output = ()>>,
    ) -> (End, Result<(), runtime::Error>) {
        let lapsed = runtime.lapsed();
        let end = tokio::select! {
            biased;
            () = lapsed => End::Lapsed,
            () = &mut shutdown => End::Shutdown,
            error = runtime.run() => End::Failed(error),
            error = driver.run() => End::Failed(error),
        };
        // What is under way for it ends; the next leader begins it again.
        drop(driver);
        let mut outcome = Ok(());
        if matches!(end, End::Shutdown) {
            info!("the coordinator ends");
            if self.shutdown_workers {
                outcome = runtime.dismiss().await;
            }
        }
        self.follow(None);
        // Closes sessions and streams, before anybody else is let lead.
        let lead = runtime.into_lead();
        lead.give_up(&self.store).await;
        (end, outcome)
    }

    fn follow(&self, leader: Option<String>) {
        self.counters.leads.store(0, Ordering::Relaxed);
        let role = Role::Follows(leader);
        self.role.send_if_modified(|before| {
            let news = *before != role;
            if news {
                info!(%role, "this coordinator does not lead");
                *before = role;
            }
            news
        });
    }

    /// How long the store is waited for at the start; a cluster's processes are started together.
    fn patience(&self) -> Duration {
        self.config.failure_detection * 6
    }

    fn pause(&self) -> Duration {
        self.config.failure_detection / 50
    }
}
