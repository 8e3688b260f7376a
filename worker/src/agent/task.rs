//! What a worker does for the coordinator beside jobs: one task at a time, on a thread of its own.
//!
//! Directives go through the fence: what is not about the attempt at hand changes nothing. An end is told again on each new
//! session until the coordinator knows it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use muster_proto::control::{Registration, Report, TaskEnd, TaskProgress, TaskWork};
use muster_proto::fence::{self, TaskClaim};
use muster_proto::ids::Incarnation;
use muster_proto::panic_text;
use serde_json::Value;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep_until};
use tracing::{debug, info, info_span, warn};

use super::config::Error;
use super::runner::JobRunner;
use super::watch::{Watch, overdue};

/// How many times the failure detection a task may take to stop once it was told to: it looks up between two pieces of its
/// work.
const PATIENCE: u32 = 12;

/// A task to do.
#[derive(Debug, Clone)]
pub struct TaskOrder {
    /// Task, attempt and incarnation; goes into the names of whatever is written.
    pub claim: TaskClaim,
    /// What there is to do.
    pub work: TaskWork,
    /// CPU threads to use.
    pub threads: u32,
}

#[derive(Debug, Default)]
struct Shared {
    stopped: AtomicBool,
    done: AtomicU64,
    of: AtomicU64,
}

/// The line between a task's code and its agent.
#[derive(Debug, Clone, Default)]
pub struct TaskControl {
    shared: Arc<Shared>,
}

impl TaskControl {
    /// Whether the task was told to stop. To be asked between two pieces of work, which take seconds at most.
    #[must_use]
    pub fn stopped(&self) -> bool {
        self.shared.stopped.load(Ordering::Acquire)
    }

    /// Says how far the task is; one that says nothing for long counts as hung.
    pub fn progress(&self, progress: TaskProgress) {
        self.shared.done.store(progress.done, Ordering::Relaxed);
        self.shared.of.store(progress.of, Ordering::Relaxed);
    }

    fn told(&self) -> TaskProgress {
        let [done, of] = [&self.shared.done, &self.shared.of].map(|count| count.load(Ordering::Relaxed));
        TaskProgress { done, of }
    }
}

enum State {
    Idle,
    Running(Running),
    /// The end is told again on each new session until the coordinator has acknowledged it.
    Ended {
        claim: TaskClaim,
        end: TaskEnd,
        told: bool,
    },
}

struct Running {
    claim: TaskClaim,
    control: TaskControl,
    ended: oneshot::Receiver<Result<Value, String>>,
    /// When it was first told to stop.
    aborted: Option<Instant>,
    watch: Watch,
}

/// The task of a worker, if it has one.
pub(super) struct Tasks {
    runner: Arc<dyn JobRunner>,
    threads: u32,
    incarnation: Incarnation,
    failure_detection: Duration,
    state: State,
    /// The task to begin when the one at hand has stopped.
    pending: Option<(TaskClaim, TaskWork)>,
}

impl Tasks {
    pub(super) fn new(runner: Arc<dyn JobRunner>, threads: u32, registration: &Registration) -> Self {
        let Registration { incarnation, failure_detection, .. } = *registration;
        Self { runner, threads, incarnation, failure_detection, state: State::Idle, pending: None }
    }

    pub(super) fn is_running(&self) -> bool {
        matches!(self.state, State::Running(_))
    }

    fn claim(&self) -> Option<TaskClaim> {
        match &self.state {
            State::Idle => None,
            State::Running(running) => Some(running.claim),
            State::Ended { claim, .. } => Some(*claim),
        }
    }

    /// A new session has to be told again what the last one may not have delivered.
    pub(super) fn renew(&mut self) {
        if let State::Ended { told, .. } = &mut self.state {
            *told = false;
        }
    }

    /// What the coordinator has not been told yet.
    pub(super) fn untold(&mut self) -> Option<Report> {
        match &mut self.state {
            State::Ended { claim, end, told } if !*told => {
                *told = true;
                Some(Report::TaskEnded { claim: *claim, end: end.clone() })
            }
            _ => None,
        }
    }

    /// How far the task at hand is.
    pub(super) fn progress(&self) -> Option<Report> {
        match &self.state {
            State::Running(Running { claim, control, .. }) => {
                Some(Report::TaskRunning { claim: *claim, progress: control.told() })
            }
            _ => None,
        }
    }

    /// Begins a task, once the one before has stopped.
    pub(super) fn run(&mut self, claim: TaskClaim, work: TaskWork) {
        if let Err(stale) = fence::admit_incarnation(self.incarnation, claim.incarnation) {
            return warn!(task = %claim.task, %stale, "a task was refused");
        }
        match &self.state {
            // It was told before, on an earlier session.
            State::Running(_) | State::Ended { .. } if self.claim() == Some(claim) => {}
            State::Running(_) => {
                self.abort("the coordinator gave this worker another task");
                self.pending = Some((claim, work));
            }
            State::Idle | State::Ended { .. } => self.start(claim, work),
        }
    }

    pub(super) fn stop(&mut self, claim: &TaskClaim, reason: &str) {
        if self.pending.as_ref().is_some_and(|(pending, _)| pending == claim) {
            self.pending = None;
        }
        match fence::admit_task(self.claim().as_ref(), claim) {
            Ok(()) => self.abort(reason),
            Err(stale) => debug!(%stale, "a directive was refused"),
        }
    }

    pub(super) fn acknowledged(&mut self, claim: &TaskClaim) {
        if matches!(self.state, State::Ended { .. })
            && fence::admit_task(self.claim().as_ref(), claim).is_ok()
        {
            self.state = State::Idle;
        }
    }

    /// Stops the task at hand and begins no other.
    pub(super) fn give_up(&mut self, reason: &str) {
        self.pending = None;
        self.abort(reason);
    }

    /// Tells the task at hand to stop, if there is one; from now on it has so long to end, see [`Self::changed`].
    fn abort(&mut self, reason: &str) {
        if let State::Running(running) = &mut self.state {
            if running.aborted.is_none() {
                info!(task = %running.claim.task, attempt = running.claim.attempt, reason, "task is stopped");
            }
            running.aborted.get_or_insert_with(Instant::now);
            running.control.shared.stopped.store(true, Ordering::Release);
        }
    }

    /// Waits until the task at hand ends. Cancel safe; never ready without a task.
    ///
    /// # Errors
    /// [`Error::Stuck`] where it has not ended in time after it was told to; [`Error::Hung`] where it does nothing any more.
    pub(super) async fn changed(&mut self) -> Result<(), Error> {
        loop {
            let State::Running(running) = &mut self.state else { return std::future::pending().await };
            let patience = self.failure_detection * PATIENCE;
            tokio::select! {
                biased;
                ended = &mut running.ended => {
                    let lost = |_| Err("the task's thread ended without a word".to_owned());
                    self.end(ended.unwrap_or_else(lost));
                    return Ok(());
                }
                () = overdue(running.aborted, patience) => return Err(Error::Stuck { patience }),
                () = sleep_until(running.watch.next()) => {
                    let beats = running.aborted.is_none().then(|| running.control.told().done);
                    if let Some(silent) = running.watch.look(beats) {
                        return Err(Error::Hung { silent });
                    }
                }
            }
        }
    }

    fn start(&mut self, claim: TaskClaim, work: TaskWork) {
        let control = TaskControl::default();
        let order = TaskOrder { claim, work, threads: self.threads };
        self.state = match spawn(Arc::clone(&self.runner), order, control.clone()) {
            Ok(ended) => {
                info!(task = %claim.task, attempt = claim.attempt, "task taken");
                let watch = Watch::new(self.failure_detection);
                State::Running(Running { claim, control, ended, aborted: None, watch })
            }
            // Another worker may have a thread left.
            Err(error) => {
                warn!(task = %claim.task, %error, "task could not be taken");
                State::Ended { claim, end: TaskEnd::Stopped, told: false }
            }
        };
    }

    fn end(&mut self, ended: Result<Value, String>) {
        let State::Running(running) = &self.state else { return };
        let (claim, attempt) = (running.claim, running.claim.attempt);
        let end = match ended {
            Ok(result) => {
                info!(task = %claim.task, attempt, "task done");
                TaskEnd::Done(result)
            }
            Err(_) if running.aborted.is_some() => TaskEnd::Stopped,
            Err(error) => {
                warn!(task = %claim.task, attempt, error, "task failed");
                TaskEnd::Failed(error)
            }
        };
        self.state = State::Ended { claim, end, told: false };
        if let Some((claim, work)) = self.pending.take() {
            self.start(claim, work);
        }
    }
}

/// Does a task on a thread of its own; what it ends with arrives on the channel.
fn spawn(
    runner: Arc<dyn JobRunner>,
    order: TaskOrder,
    control: TaskControl,
) -> std::io::Result<oneshot::Receiver<Result<Value, String>>> {
    let (ended, receiver) = oneshot::channel();
    let claim = order.claim;
    let run = move || {
        let _entered = info_span!("task", task = %claim.task, attempt = claim.attempt).entered();
        // The task's state dies with the panic; nothing of it is looked at afterwards.
        let outcome = catch_unwind(AssertUnwindSafe(|| runner.run_task(order, &control)));
        let panicked = |panic: Box<dyn std::any::Any + Send>| {
            Err(format!("the task's code panicked: {}", panic_text(panic.as_ref())))
        };
        // The agent is gone only when the process ends.
        let _ = ended.send(outcome.unwrap_or_else(panicked));
    };
    std::thread::Builder::new().name(claim.task.to_string()).spawn(run)?;
    Ok(receiver)
}

#[cfg(test)]
mod tests;
