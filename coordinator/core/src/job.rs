//! A job: what was asked for, where it is, and what happened to it.

use std::time::Duration;

use muster_proto::control::{
    Cause, Directive, EventKind, Incident, JobEvent, JobPhase, JobStatus, Progress, RestoredFrom, Spent,
    Straggler, Submission,
};
use muster_proto::ids::{Generation, JobId, Rank, Step, WorldSize};
use muster_proto::measured::Breakdown;
use serde::{Deserialize, Serialize};

use crate::incident::{MAX_INCIDENTS, OpenIncident};
use crate::phase::{Ended, Gathering, Phase, Recovering};
use crate::suspicion::Suspicion;
use crate::time::Time;

/// Events of a job that are kept; the oldest go.
pub const MAX_EVENTS: usize = 256;

/// The part of a job that changes, as the store keeps it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct State {
    /// The last one that was given out; never given out again.
    pub(crate) generation: Generation,
    /// The arithmetic of the first generation, kept for all later ones where the job is reproducible.
    pub(crate) numerics: Option<String>,
    pub(crate) phase: Phase,
    /// The last checkpoint that is complete, and its manifest: what later generations may go on from.
    pub(crate) saved: Option<(Step, String)>,
    /// Ranks that the job should have, where that was changed since it was submitted.
    #[serde(default)]
    pub(crate) scaled: Option<u32>,
    /// So many workers were too few to hold the job's tables, after others were lost.
    #[serde(default)]
    pub(crate) too_few: u32,
    /// Generations in a row that ended without a new step.
    #[serde(default)]
    pub(crate) fruitless: u32,
    /// The last generation that was where the ones before it had been: each of its ranks says so, the first counts.
    #[serde(default)]
    pub(crate) caught_up: Generation,
    /// How often it was stopped at a checkpoint for others.
    #[serde(default)]
    pub(crate) stops: u32,
    /// Ranks that the pool gave it last: what it lost of them it gets back before others start.
    #[serde(default)]
    pub(crate) granted: u32,
    /// Which of its workers do not reach each other, since the last new step.
    #[serde(default)]
    pub(crate) suspicion: Suspicion,
    /// Changes of its workers that are over, oldest first.
    #[serde(default)]
    pub(crate) incidents: Vec<Incident>,
    /// What its time was spent on until the phase at hand.
    #[serde(default)]
    pub(crate) spent: Spent,
    /// The number of the last event that was kept.
    pub(crate) sequence: u64,
    pub(crate) events: Vec<JobEvent>,
}

/// A job.
#[derive(Debug, Clone)]
pub(crate) struct Job {
    pub(crate) submission: Submission,
    pub(crate) state: State,
    pub(crate) progress: Option<Progress>,
    /// The change of its workers that is under way. Not kept: its times mean nothing to another coordinator.
    pub(crate) open: Option<OpenIncident>,
    /// How long the last loss of a worker took to be noticed.
    pub(crate) detected: Duration,
    /// Until when its time is counted. Not kept: the moments of an earlier coordinator mean nothing.
    pub(crate) counted: Time,
}

impl Job {
    pub(crate) fn new(submission: Submission, now: Time) -> Self {
        let state = State {
            generation: Generation(0),
            numerics: submission.numerics.clone(),
            phase: Phase::Gathering(Gathering::default()),
            saved: None,
            scaled: None,
            too_few: 0,
            fruitless: 0,
            caught_up: Generation(0),
            stops: 0,
            granted: 0,
            suspicion: Suspicion::default(),
            incidents: Vec::new(),
            spent: Spent::default(),
            sequence: 0,
            events: Vec::new(),
        };
        Self { submission, state, progress: None, open: None, detected: Duration::ZERO, counted: now }
    }

    /// Ranks that the job should have.
    pub(crate) fn wanted(&self) -> u32 {
        self.state.scaled.unwrap_or(self.submission.world_size.0)
    }

    /// The fewest ranks that it begins with: all at first, unless it says otherwise, and what it can go on with later.
    pub(crate) fn needed(&self) -> u32 {
        match self.state.generation {
            Generation(0) => self.shares().max(self.state.too_few + 1).min(self.wanted()),
            _ => {
                let least = self.submission.min_workers.max(self.state.too_few + 1);
                least.clamp(1, self.wanted().max(1))
            }
        }
    }

    /// Ranks that it holds or has a claim to: what it lost of those that the pool gave it, it gets back before others start.
    pub(crate) fn granted(&self) -> u32 {
        let held = self.state.phase.assignment().map_or(0, |held| held.members.len() as u32);
        if held == 0 { 0 } else { held.max(self.state.granted.min(self.wanted())) }
    }

    /// The fewest ranks that it may be shrunk to for others.
    pub(crate) fn shares(&self) -> u32 {
        let start = self.submission.queueing.start_workers;
        start.map_or(self.wanted(), |start| start.clamp(1, self.wanted().max(1)))
    }

    /// How long it is likely to train on, by what it trained so far; none where nothing is known.
    pub(crate) fn expected(&self, now: Time) -> Option<Duration> {
        let progress = self.progress.as_ref()?;
        let planned = u64::from(progress.epochs) * progress.steps_per_epoch;
        let (done, trained) = (progress.step.0, self.spent(now).on(Cause::Training));
        let left = planned.checked_sub(done)?;
        (done > 0).then(|| Duration::from_secs_f64(trained.as_secs_f64() / done as f64 * left as f64))
    }

    /// How long it has waited since it came, or was stopped.
    pub(crate) fn waited(&self, now: Time) -> Duration {
        now.0.saturating_sub(self.counted.0)
    }

    pub(crate) fn phase(&self) -> JobPhase {
        self.state.phase.name()
    }

    /// What a rank has to be told in the phase at hand.
    pub(crate) fn directive(&self, rank: Rank) -> Option<Directive> {
        let checkpoint = self.state.saved.as_ref().map(|(_, manifest)| manifest.as_str());
        self.state.phase.directive(&self.submission, checkpoint, rank)
    }

    /// Follows a change of workers from stage to stage.
    pub(crate) fn note_transition(&mut self, before: &Phase, now: Time) {
        let time = now.0.saturating_sub(self.counted.0);
        self.counted = now;
        before.count(time, &mut self.state.spent);
        match (before, &self.state.phase) {
            (Phase::Loading(loading), Phase::Training(_)) => {
                if let Some(open) = &mut self.open {
                    open.ready(now, loading.connect, loading.from.clone());
                }
                if self.state.saved.is_none() {
                    self.state.saved.clone_from(&loading.checkpoint);
                }
            }
            (_, Phase::Ended(_)) => self.open = None,
            (_, Phase::Recovering(recovering)) => {
                let recovering = recovering.clone();
                self.open_incident(&recovering, now);
            }
            _ => {}
        }
    }

    /// The change of workers that is under way, from now on where there is none.
    pub(crate) fn open_incident(&mut self, recovering: &Recovering, now: Time) -> &mut OpenIncident {
        let generation = self.state.generation;
        let detect = std::mem::take(&mut self.detected);
        self.state.spent.recount(Cause::Training, Cause::Detect, detect);
        self.open.get_or_insert_with(|| {
            let [abort, decide, rendezvous, reload, recompute] = [Duration::ZERO; 5];
            let noticed = Incident {
                generation,
                reason: recovering.blame.reason().to_owned(),
                planned: recovering.orderly,
                before: recovering.assignment.members.len() as u32,
                after: 0,
                detect,
                abort,
                decide,
                rendezvous,
                reload,
                recompute,
                steps_redone: 0,
                restored_from: RestoredFrom::Start,
            };
            OpenIncident::new(noticed, now)
        })
    }

    /// Ends the change of workers that is under way, if there is one. Each rank says that it is where it had been; only what the
    /// first says counts.
    pub(crate) fn close_incident(
        &mut self,
        now: Time,
        steps_redone: u64,
        recompute: Duration,
    ) -> Option<JobEvent> {
        if self.state.caught_up < self.state.generation {
            self.state.caught_up = self.state.generation;
            self.count(now);
            self.state.spent.recount(Cause::Training, Cause::Recompute, recompute);
        }
        let incident = self.open.take()?.close(steps_redone, recompute);
        if self.state.incidents.len() == MAX_INCIDENTS {
            self.state.incidents.remove(0);
        }
        self.state.incidents.push(incident.clone());
        Some(self.record(EventKind::Incident { incident }))
    }

    /// Counts the time in the phase at hand.
    pub(crate) fn count(&mut self, now: Time) {
        self.state.spent = self.spent(now);
        self.counted = now;
    }

    /// What its time was spent on until `now`.
    pub(crate) fn spent(&self, now: Time) -> Spent {
        let mut spent = self.state.spent.clone();
        self.state.phase.count(now.0.saturating_sub(self.counted.0), &mut spent);
        spent
    }

    /// Numbers an event and keeps it for those who ask later.
    pub(crate) fn record(&mut self, kind: EventKind) -> JobEvent {
        self.state.sequence += 1;
        let event = self.event(kind);
        if self.state.events.len() == MAX_EVENTS {
            self.state.events.remove(0);
        }
        self.state.events.push(event.clone());
        event
    }

    /// An event that is not kept; it bears the number of the one before.
    pub(crate) fn event(&self, kind: EventKind) -> JobEvent {
        JobEvent { sequence: self.state.sequence, generation: self.state.generation, kind }
    }

    /// How things stand, as far as the kept events do not tell.
    pub(crate) fn standing(&self) -> Option<JobEvent> {
        let kind = match &self.state.phase {
            Phase::Gathering(Gathering { reason: Some(reason), .. }) => {
                EventKind::PhaseChanged { phase: JobPhase::Gathering, reason: reason.to_string() }
            }
            Phase::Training(_) => EventKind::Progress(self.progress.clone()?),
            _ => return None,
        };
        Some(self.event(kind))
    }

    pub(crate) fn status(
        &self,
        job: JobId,
        now: Time,
        (straggler, measured): (Option<Straggler>, Vec<Breakdown>),
    ) -> JobStatus {
        let reason = match &self.state.phase {
            Phase::Gathering(gathering) => gathering.reason.as_ref().map(ToString::to_string),
            Phase::Draining(draining) => Some(draining.blame.reason().to_owned()),
            Phase::Recovering(recovering) => Some(recovering.blame.reason().to_owned()),
            Phase::Ended(Ended::Failed { error }) => Some(error.clone()),
            Phase::Loading(loading) => {
                let (ready, all) = (loading.ready.len(), loading.assignment.members.len());
                Some(format!("{ready} of {all} ranks are ready"))
            }
            Phase::Training(training) => Some(training.assignment.layout(&self.submission.tables)),
            Phase::Ended(_) => None,
        };
        let assignment = self.state.phase.assignment();
        let workers = assignment.map(|held| held.members.iter().map(|member| member.worker).collect());
        JobStatus {
            job,
            name: self.submission.name.clone(),
            phase: self.phase(),
            generation: self.state.generation,
            world_size: WorldSize(self.wanted()),
            reason: reason.unwrap_or_default(),
            progress: self.progress.clone(),
            workers: workers.unwrap_or_default(),
            run_dir: self.submission.run_dir.clone(),
            incidents: self.state.incidents.clone(),
            spent: self.spent(now),
            straggler,
            forecast: self.submission.forecast.clone(),
            measured,
            queueing: self.submission.queueing.clone(),
            place: match &self.state.phase {
                Phase::Gathering(gathering) => gathering.place,
                _ => None,
            },
            stops: self.state.stops,
        }
    }
}
