//! Faults on purpose: worker processes of a local cluster are killed and stopped while a job trains.
//!
//! Which worker is struck follows from a seed, when from the run itself: a fault comes some time after the job has got
//! over the one before. Or workers die as machines do, at any time, so that goodput can be measured. Workers that were
//! killed are started again, as a supervisor would.

mod verdict;

use std::collections::VecDeque;
use std::time::Duration;

use muster_core::capacity::random::Stream;
use muster_proto::checkpoint::mix;
use muster_proto::control::{EventKind, Incident, JobPhase, WorkerStatus};
use muster_proto::rpc::JobClient;
use rustix::process::{Pid, Signal, kill_process};
use tokio::time::Instant;

use crate::error::Error;
use crate::progress::Progress;

pub use verdict::Verdict;

/// How long to wait for workers to strike.
const AGAIN: Duration = Duration::from_millis(100);

/// What is done to workers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// One is killed.
    Kill,
    /// Two are killed at once.
    KillTwo,
    /// One is stopped, and goes on much later.
    Pause,
}

impl Fault {
    /// The fault's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Kill => "kill",
            Self::KillTwo => "kill two",
            Self::Pause => "pause",
        }
    }
}

/// A fault that the job has got over.
#[derive(Debug, Clone)]
pub struct Overcome {
    /// The fault.
    pub fault: Fault,
    /// From the fault to the report of the first new step.
    pub recovery: Duration,
    /// What it cost, stage by stage.
    pub incident: Incident,
}

/// When faults come.
#[derive(Debug, Clone, Copy)]
pub enum Pace {
    /// So long after the job has got over the one before.
    After(Duration),
    /// At any time, also while the job gets over one, so long apart on average: a Poisson process of kills, as long as the
    /// job trains.
    Mean(Duration),
}

/// How often, and for how long.
#[derive(Debug, Clone, Copy)]
pub struct Rhythm {
    /// When faults come.
    pub pace: Pace,
    /// How long a stopped worker is stopped.
    pub pause: Duration,
    /// From which victims and order follow.
    pub seed: u64,
}

/// The faults of a run: those to come, and those that are over.
#[derive(Debug)]
pub struct Faults {
    to_come: VecDeque<Fault>,
    rhythm: Rhythm,
    draws: u64,
    /// From which the waits of a Poisson process are drawn.
    waits: Stream,
    due: Option<Instant>,
    struck: Option<(Fault, Instant)>,
    stopped: Vec<(Pid, Instant)>,
    /// Faults that are over, in order.
    pub overcome: Vec<Overcome>,
}

impl Faults {
    /// Plans faults in an order that follows from the seed.
    pub fn new(mut faults: Vec<Fault>, rhythm: Rhythm) -> Self {
        let order = |place: usize| mix(rhythm.seed ^ mix(place as u64));
        let mut places: Vec<usize> = (0..faults.len()).collect();
        places.sort_by_key(|place| order(*place));
        faults.sort();
        let to_come = places.into_iter().map(|place| faults[place]).collect();
        let (due, struck, stopped, overcome) = (None, None, Vec::new(), Vec::new());
        let waits = Stream::new(rhythm.seed, 0);
        Self { to_come, rhythm, draws: 0, waits, due, struck, stopped, overcome }
    }

    /// Faults that were not made, or not got over.
    pub fn left(&self) -> usize {
        match self.rhythm.pace {
            Pace::After(_) => self.to_come.len() + usize::from(self.struck.is_some()),
            Pace::Mean(_) => 0,
        }
    }

    /// When there is something to do next.
    pub fn next(&self) -> Option<Instant> {
        self.stopped.iter().map(|(_, until)| *until).chain(self.due).min()
    }

    /// Follows the job.
    pub fn see(&mut self, event: &EventKind) {
        match event {
            EventKind::PhaseChanged { phase: JobPhase::Training, .. } if self.struck.is_none() => {
                self.plan_next();
            }
            // While the job changes its workers on its own, it is left alone.
            EventKind::PhaseChanged { phase: JobPhase::Recovering, .. } => {
                if let Pace::After(_) = self.rhythm.pace {
                    self.due = None;
                }
            }
            EventKind::Incident { incident } if !incident.planned => {
                if let Some((fault, at)) = self.struck.take() {
                    let (recovery, incident) = (at.elapsed(), incident.clone());
                    self.overcome.push(Overcome { fault, recovery, incident });
                    self.plan_next();
                }
            }
            _ => {}
        }
    }

    /// Says when the next fault is due, where that is not known yet.
    fn plan_next(&mut self) {
        match self.rhythm.pace {
            Pace::After(every) => self.due = (!self.to_come.is_empty()).then(|| Instant::now() + every),
            Pace::Mean(mean) if self.due.is_none() => {
                self.due = Some(Instant::now() + mean.mul_f64(self.waits.exponential()));
            }
            Pace::Mean(_) => {}
        }
    }

    /// Does what is due.
    ///
    /// # Errors
    /// Where the coordinator does not say who works, or the system lets no process be stopped.
    pub async fn act(&mut self, client: &JobClient, progress: &mut dyn Progress) -> Result<(), Error> {
        let now = Instant::now();
        let over: Vec<Pid> =
            self.stopped.extract_if(.., |(_, until)| *until <= now).map(|(process, _)| process).collect();
        for process in over {
            // It may have ended meanwhile.
            let _ = kill_process(process, Signal::CONT);
        }
        if self.due.is_none_or(|due| due > now) {
            return Ok(());
        }
        self.due = None;
        let endless = matches!(self.rhythm.pace, Pace::Mean(_));
        let fault = if endless { Some(Fault::Kill) } else { self.to_come.front().copied() };
        let Some(fault) = fault else { return Ok(()) };
        let workers = client.workers().await?;
        let mut victims: Vec<&WorkerStatus> =
            workers.iter().filter(|worker| worker.connected && worker.assignment.is_some()).collect();
        if victims.is_empty() {
            // All are gone and none has come back yet.
            self.due = Some(now + AGAIN);
            return Ok(());
        }
        self.to_come.pop_front();
        let count = if fault == Fault::KillTwo { 2 } else { 1 };
        for _ in 0..count.min(victims.len()) {
            self.draws += 1;
            let drawn = mix(self.rhythm.seed.wrapping_add(self.draws)) as usize % victims.len();
            let victim = victims.swap_remove(drawn);
            progress.say(&format!("{}: {}", fault.name(), victim.capabilities.name));
            self.strike(fault, process_of(victim)?)?;
        }
        // One that comes while the job gets over another is part of that one.
        self.struck.get_or_insert((fault, now));
        if endless {
            self.plan_next();
        }
        Ok(())
    }

    fn strike(&mut self, fault: Fault, process: Pid) -> Result<(), Error> {
        let signal = if fault == Fault::Pause { Signal::STOP } else { Signal::KILL };
        if fault == Fault::Pause {
            self.stopped.push((process, Instant::now() + self.rhythm.pause));
        }
        kill_process(process, signal)
            .map_err(|error| Error::failed(format!("cannot strike a worker: {error}")))
    }
}

impl Drop for Faults {
    fn drop(&mut self) {
        for (process, _) in &self.stopped {
            // A stopped process would not see that its cluster ends.
            let _ = kill_process(*process, Signal::CONT);
        }
    }
}

/// The process of a worker of this machine: its name ends in the process's id.
fn process_of(worker: &WorkerStatus) -> Result<Pid, Error> {
    let name = &worker.capabilities.name;
    let id = name.rsplit('-').next().and_then(|id| id.parse().ok()).and_then(Pid::from_raw);
    id.ok_or_else(|| Error::failed(format!("the worker {name} was not started by this command")))
}
