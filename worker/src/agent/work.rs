//! What a worker does for the coordinator right now: nothing, a job, or waiting until a job's end is known.
//!
//! All directives go through the fence: what is not about the rank at hand changes nothing.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use muster_proto::control::{Directive, Failure, Prepare, RankState, Registration, Report};
use muster_proto::fence::{self, Fence};
use muster_proto::ids::{Incarnation, WorldSize};
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep_until};
use tracing::{debug, info, warn};

use super::config::{AgentConfig, Error};
use super::control::{self, Remote};
use super::runner::{Assignment, Ending, JobRunner, Outcome, RunError};
use super::task::Tasks;
use super::watch::{Watch, overdue};

/// How many times the failure detection a job may take to stop once it was told to.
const PATIENCE: u32 = 2;

enum State {
    Idle,
    Running(Running),
    /// The end is told again on each new session until the coordinator has acknowledged it.
    Ended {
        fence: Fence,
        report: Report,
        told: bool,
    },
}

struct Running {
    fence: Fence,
    remote: Remote,
    ended: Ending,
    told_ready: bool,
    /// When it was first told to stop.
    aborted: Option<Instant>,
    watch: Watch,
}

/// What a worker does.
pub(super) struct Work {
    config: Arc<AgentConfig>,
    runner: Arc<dyn JobRunner>,
    incarnation: Incarnation,
    failure_detection: Duration,
    state: State,
    /// The rank to take when the one at hand has been given up.
    pending: Option<Prepare>,
    /// What a job said between the last time it was asked and its end.
    last_words: Vec<Report>,
    tasks: Tasks,
}

/// What a directive leads to.
#[derive(Debug, PartialEq)]
pub(super) enum Next {
    /// Go on.
    GoOn,
    /// End the process.
    GoHome(String),
}

impl Work {
    pub(super) fn new(
        config: Arc<AgentConfig>,
        runner: Arc<dyn JobRunner>,
        registration: &Registration,
    ) -> Self {
        let tasks = Tasks::new(Arc::clone(&runner), config.threads, registration);
        Self {
            config,
            runner,
            tasks,
            incarnation: registration.incarnation,
            failure_detection: registration.failure_detection,
            state: State::Idle,
            pending: None,
            last_words: Vec::new(),
        }
    }

    /// The assignment at hand, also while its end is not known to the coordinator.
    pub(super) fn fence(&self) -> Option<Fence> {
        match &self.state {
            State::Idle => None,
            State::Running(running) => Some(running.fence),
            State::Ended { fence, .. } => Some(*fence),
        }
    }

    pub(super) fn is_running(&self) -> bool {
        matches!(self.state, State::Running(_)) || self.tasks.is_running()
    }

    /// A new session has to be told again what the last one may not have delivered.
    pub(super) fn renew(&mut self) {
        match &mut self.state {
            State::Idle => {}
            State::Running(running) => running.told_ready = false,
            State::Ended { told, .. } => *told = false,
        }
        self.tasks.renew();
    }

    /// What the coordinator has not been told yet.
    pub(super) fn untold(&mut self) -> Vec<Report> {
        let mut reports = std::mem::take(&mut self.last_words);
        match &mut self.state {
            State::Running(running) => running.news(&mut reports),
            State::Ended { report, told, .. } if !*told => {
                *told = true;
                reports.push(report.clone());
            }
            State::Idle | State::Ended { .. } => {}
        }
        reports.extend(self.tasks.untold());
        reports
    }

    pub(super) fn heartbeat(&self) -> Report {
        let running = match &self.state {
            State::Running(Running { fence, remote, .. }) => {
                Some(RankState { fence: *fence, stage: remote.stage(), timing: remote.timing() })
            }
            State::Idle | State::Ended { .. } => None,
        };
        Report::Heartbeat { incarnation: self.incarnation, running }
    }

    /// Carries a directive out.
    pub(super) fn follow(&mut self, directive: Directive) -> Next {
        match directive {
            Directive::Welcome { incarnation } => {
                debug!(incarnation = incarnation.0, "session open");
            }
            Directive::Prepare(prepare) => self.prepare(prepare),
            Directive::Start { fence } => self.with(&fence, Remote::start),
            Directive::Checkpoint { fence } => self.with(&fence, Remote::request_checkpoint),
            Directive::Drain { fence } => self.with(&fence, |remote| {
                remote.start();
                remote.request_drain();
            }),
            Directive::Yield { fence, leaving } => self.with(&fence, |remote| {
                remote.start();
                remote.request_yield(leaving);
            }),
            Directive::Abort { fence, reason } => {
                if self.admits(&fence) {
                    info!(job = %fence.job, generation = fence.generation.0, reason, "aborted");
                    self.abort(&reason);
                }
            }
            Directive::Acknowledged { fence } => {
                if matches!(self.state, State::Ended { .. })
                    && fence::admit_held(self.fence().as_ref(), &fence).is_ok()
                {
                    self.state = State::Idle;
                }
            }
            Directive::RunTask { claim, work } => self.tasks.run(claim, work),
            Directive::StopTask { claim, reason } => self.tasks.stop(&claim, &reason),
            Directive::TaskAcknowledged { claim } => self.tasks.acknowledged(&claim),
            Directive::Shutdown { reason } => return Next::GoHome(reason),
        }
        Next::GoOn
    }

    /// Stops the job and the task at hand, if there are any.
    pub(super) fn abort_all(&mut self, reason: &str) {
        self.abort(reason);
        self.tasks.give_up(reason);
    }

    /// How far the task at hand is, if there is one.
    pub(super) fn task_progress(&self) -> Option<Report> {
        self.tasks.progress()
    }

    /// Stops the job at hand, if there is one; from now on it has so long to end, see [`Self::changed`].
    pub(super) fn abort(&mut self, reason: &str) {
        if let State::Running(running) = &mut self.state {
            running.aborted.get_or_insert_with(Instant::now);
            running.remote.abort(reason);
        }
    }

    /// Waits until the job or the task has something to say that cannot wait, or ends. Cancel safe; never ready without
    /// either.
    ///
    /// # Errors
    /// [`Error::Stuck`] where one has not ended in time after it was told to; [`Error::Hung`] where it does nothing any more.
    pub(super) async fn changed(&mut self) -> Result<(), Error> {
        loop {
            let State::Running(running) = &mut self.state else { return self.tasks.changed().await };
            let patience = self.failure_detection * PATIENCE;
            tokio::select! {
                // A job that ended in time and one that said something last are heard first.
                biased;
                ended = &mut running.ended => {
                    self.end(ended);
                    return Ok(());
                }
                () = running.remote.reported() => return Ok(()),
                changed = self.tasks.changed() => return changed,
                () = overdue(running.aborted, patience) => return Err(Error::Stuck { patience }),
                () = sleep_until(running.watch.next()) => {
                    if let Some(silent) = running.watch.look(running.remote.beats()) {
                        return Err(Error::Hung { silent });
                    }
                }
            }
        }
    }

    fn prepare(&mut self, prepare: Prepare) {
        let fence = prepare.fence;
        if let Err(stale) = fence::admit_incarnation(self.incarnation, fence.incarnation) {
            return warn!(job = %fence.job, %stale, "a rank was refused");
        }
        match &self.state {
            // It was told before, on an earlier session.
            State::Running(_) | State::Ended { .. } if self.fence() == Some(fence) => {}
            State::Running(_) => {
                self.abort("the coordinator gave this worker another rank");
                self.pending = Some(prepare);
            }
            State::Idle | State::Ended { .. } => {
                self.tasks.give_up("the coordinator gave this worker a rank");
                self.start(prepare);
            }
        }
    }

    fn start(&mut self, prepare: Prepare) {
        let fence = prepare.fence;
        let (job, generation, rank) = (fence.job, fence.generation.0, prepare.rank.0);
        let (control, remote) = control::pair();
        let started = self
            .assignment(prepare)
            .and_then(|assignment| Arc::clone(&self.runner).start(assignment, control));
        self.state = match started {
            Ok(ended) => {
                info!(%job, generation, rank, "rank taken");
                let watch = Watch::new(self.failure_detection);
                State::Running(Running { fence, remote, ended, told_ready: false, aborted: None, watch })
            }
            Err(error) => {
                warn!(%job, generation, rank, %error, "rank could not be taken");
                let failure = RunError::own(&format!("the worker cannot start the job: {error}")).into();
                State::Ended { fence, report: Report::Failed { fence, failure }, told: false }
            }
        };
    }

    fn assignment(&self, prepare: Prepare) -> std::io::Result<Assignment> {
        let Prepare { fence, rank, cohort } = prepare;
        let cohort = Arc::unwrap_or_clone(cohort);
        Ok(Assignment {
            fence,
            rank,
            world_size: WorldSize(cohort.plan.world_size),
            peers: cohort.peers.to_vec(),
            spec_toml: cohort.spec_toml,
            dataset_dir: PathBuf::from(cohort.dataset_dir),
            run_dir: PathBuf::from(cohort.run_dir),
            plan: cohort.plan,
            collective_token: cohort.collective_token,
            checkpoint: cohort.checkpoint,
            listener: self.config.listener.try_clone()?,
            threads: self.config.threads,
            device: self.config.device,
            failure_detection: self.failure_detection,
        })
    }

    fn with(&self, fence: &Fence, act: impl FnOnce(&Remote)) {
        if let (true, State::Running(running)) = (self.admits(fence), &self.state) {
            act(&running.remote);
        }
    }

    /// Whether a directive is about the rank at hand.
    fn admits(&self, fence: &Fence) -> bool {
        let admitted = fence::admit_held(self.fence().as_ref(), fence);
        admitted.inspect_err(|stale| debug!(%stale, "a directive was refused")).is_ok()
    }

    fn end(&mut self, ended: Result<Result<Outcome, RunError>, oneshot::error::RecvError>) {
        let State::Running(running) = &mut self.state else { return };
        let fence = running.fence;
        // What a job said before it ended is told before its end.
        running.news(&mut self.last_words);
        let lost = |_| Err(RunError::own(&"the job's thread ended without a word"));
        let (job, generation) = (fence.job, fence.generation.0);
        let report = match ended.unwrap_or_else(lost) {
            Ok(Outcome::Finished { summary }) => {
                info!(%job, generation, "rank finished");
                Report::Finished { fence, summary }
            }
            Ok(Outcome::Yielded { step }) => {
                info!(%job, generation, step = step.0, "rank stopped for another generation");
                Report::Yielded { fence, step }
            }
            Err(error) => {
                warn!(%job, generation, cause = ?error.cause, %error, "rank failed");
                Report::Failed { fence, failure: Failure::from(error) }
            }
        };
        self.state = State::Ended { fence, report, told: false };
        if let Some(prepare) = self.pending.take() {
            self.start(prepare);
        }
    }
}

impl Running {
    /// Adds what the job has said since it was last asked.
    fn news(&mut self, reports: &mut Vec<Report>) {
        let fence = self.fence;
        if !self.told_ready
            && let Some(restored) = self.remote.restored()
        {
            self.told_ready = true;
            reports.push(Report::JobReady { fence, restored });
        }
        let said = self.remote.take_reports();
        reports.extend(said.caught_up.map(|(steps_redone, recompute)| Report::CaughtUp {
            fence,
            steps_redone,
            recompute,
        }));
        reports.extend(said.progress.into_iter().map(|progress| Report::Progress { fence, progress }));
        reports.extend(said.saved.into_iter().map(|saved| Report::PiecesSaved { fence, saved }));
    }
}

#[cfg(test)]
mod tests;
