//! The life of a worker: registered, session after session, and its end.

use std::sync::Arc;
use std::time::Duration;

use muster_proto::control::{Hello, Registration};
use muster_proto::ids::WorkerId;
use muster_proto::rpc::{self, Target};
use muster_proto::wire;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};
use tonic::{Code, Status};
use tracing::{info, warn};

use super::backoff::Backoff;
use super::config::{AgentConfig, Error};
use super::link::Link;
use super::runner::JobRunner;
use super::work::{Next, Work};

/// Pulses in a failure detection: how often news that can wait go out.
const PULSES: u32 = 25;

/// Pulses between heartbeats, so that four may be lost before the worker counts as lost.
const PULSES_A_HEARTBEAT: u32 = 5;

/// Why a session is over, other than by the coordinator's word.
enum Break {
    /// It broke; another one may be had.
    Session(Status),
    /// The job cannot be stopped, and with it nothing is of use any more.
    Work(Error),
}

impl From<Status> for Break {
    fn from(status: Status) -> Self {
        Self::Session(status)
    }
}

/// A registered worker.
pub(super) struct Life {
    config: Arc<AgentConfig>,
    runner: Arc<dyn JobRunner>,
    target: Target,
    registration: Registration,
    work: Work,
    link: Option<Link>,
    /// Since when no session is open.
    away_since: Instant,
}

impl Life {
    /// Registers with the coordinator.
    pub(super) async fn begin(
        config: Arc<AgentConfig>,
        runner: Arc<dyn JobRunner>,
        target: Target,
    ) -> Result<Self, Error> {
        let registration = register(&config, &target).await?;
        let target = Target { deadline: registration.failure_detection, ..target };
        let work = Work::new(Arc::clone(&config), Arc::clone(&runner), &registration);
        Ok(Self { config, runner, target, registration, work, link: None, away_since: Instant::now() })
    }

    pub(super) fn worker(&self) -> WorkerId {
        self.registration.worker
    }

    /// Works, session after session, until the coordinator sends the worker home.
    pub(super) async fn live(&mut self) -> Result<(), Error> {
        let longest = self.failure_detection() / 5;
        let mut backoff = Backoff::new(longest);
        loop {
            let status = match self.session().await {
                Ok(reason) => {
                    info!(reason, "sent home");
                    return self.end(&reason).await;
                }
                Err(Break::Session(status)) => status,
                Err(Break::Work(error)) => return Err(error),
            };
            if self.link.take().is_some() {
                backoff = Backoff::new(longest);
                self.away_since = Instant::now();
            }
            match status.code() {
                Code::NotFound => self.begin_again(status.message()).await?,
                Code::AlreadyExists => {
                    self.give_up("another process took this worker's name").await?;
                    return Err(Error::Superseded(status.message().to_owned()));
                }
                Code::Unauthenticated | Code::InvalidArgument | Code::Unimplemented => {
                    self.give_up("the coordinator refuses this worker").await?;
                    return Err(Error::Refused(rpc::Error::from_status(&self.target.url, &status)));
                }
                _ => warn!(%status, "no session with the coordinator, the job goes on"),
            }
            self.check_orphaned()?;
            self.pause(backoff.next()).await?;
        }
    }

    /// Ends in order: the job is stopped, and its end told.
    pub(super) async fn end(&mut self, reason: &str) -> Result<(), Error> {
        self.give_up(reason).await?;
        if let Some(link) = self.link.take() {
            // If it does not get through, the coordinator finds the worker lost.
            let _ = link.send(self.work.untold());
            link.finish(self.failure_detection() / 5).await;
        }
        Ok(())
    }

    /// Opens a session and keeps it until it breaks; why the worker is sent home, if it is.
    async fn session(&mut self) -> Result<String, Break> {
        let Registration { worker, incarnation, failure_detection } = self.registration;
        let hello = Hello { worker, incarnation, running: self.work.fence() };
        let link = self.link.insert(Link::open(&self.target, hello).await?);
        self.work.renew();
        let mut pulses = 0;
        let mut pulse = interval(failure_detection / PULSES);
        pulse.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                directive = link.next() => match self.work.follow(directive?) {
                    Next::GoOn => {}
                    Next::GoHome(reason) => return Ok(reason),
                },
                changed = self.work.changed() => changed.map_err(Break::Work)?,
                _ = pulse.tick() => {
                    if pulses % PULSES_A_HEARTBEAT == 0 {
                        link.send([self.work.heartbeat()].into_iter().chain(self.work.task_progress()))?;
                    }
                    pulses = (pulses + 1) % PULSES_A_HEARTBEAT;
                }
            }
            link.send(self.work.untold())?;
        }
    }

    /// The coordinator does not know this worker: what it ran is not its any more.
    async fn begin_again(&mut self, reason: &str) -> Result<(), Error> {
        warn!(reason, "not known to the coordinator, registering again");
        self.give_up(reason).await?;
        self.registration = register(&self.config, &self.target).await?;
        self.work = Work::new(Arc::clone(&self.config), Arc::clone(&self.runner), &self.registration);
        self.away_since = Instant::now();
        Ok(())
    }

    /// Stops the job at hand and waits until it has.
    async fn give_up(&mut self, reason: &str) -> Result<(), Error> {
        self.work.abort_all(reason);
        let patience = self.failure_detection() * 2;
        let stopped = async {
            while self.work.is_running() {
                self.work.changed().await?;
            }
            Ok(())
        };
        timeout(patience, stopped).await.map_err(|_| Error::Stuck { patience })?
    }

    /// Nobody is waited for without end: not when there is nothing left to do.
    fn check_orphaned(&self) -> Result<(), Error> {
        let away = self.away_since.elapsed();
        if self.work.is_running() || away < self.failure_detection() * 120 {
            return Ok(());
        }
        Err(Error::Orphaned { away })
    }

    /// Waits, and takes note of what the job does meanwhile.
    async fn pause(&mut self, pause: Duration) -> Result<(), Error> {
        let over = sleep(pause);
        tokio::pin!(over);
        loop {
            tokio::select! {
                () = &mut over => return Ok(()),
                changed = self.work.changed() => changed?,
            }
        }
    }

    fn failure_detection(&self) -> Duration {
        self.registration.failure_detection
    }
}

/// Registers, for as long as the configuration says; refusals that stay are not tried again.
async fn register(config: &AgentConfig, target: &Target) -> Result<Registration, Error> {
    let capabilities = config.capabilities()?;
    let begun = Instant::now();
    let mut backoff = Backoff::new(Duration::from_secs(1).min(config.register_deadline));
    loop {
        let left = config.register_deadline.saturating_sub(begun.elapsed());
        let target = Target { deadline: left.min(target.deadline), ..target.clone() };
        let request = wire::RegisterRequest { capabilities: Some(capabilities.clone().into()) };
        let error = match try_register(&target, request).await {
            Ok(registration) => {
                let (worker, incarnation) = (registration.worker, registration.incarnation.0);
                info!(%worker, incarnation, "registered");
                return Ok(registration);
            }
            Err(error) => error,
        };
        if !error.is_retryable() {
            return Err(Error::Refused(error));
        }
        let pause = backoff.next();
        if begun.elapsed() + pause >= config.register_deadline {
            return Err(Error::Register { waited: begun.elapsed(), source: error });
        }
        sleep(pause).await;
    }
}

async fn try_register(target: &Target, request: wire::RegisterRequest) -> Result<Registration, rpc::Error> {
    let mut client = target.worker_client().await?;
    let response = client.register(target.request(request)).await;
    let response = response.map_err(|status| rpc::Error::from_status(&target.url, &status))?;
    Ok(response.into_inner().try_into()?)
}
