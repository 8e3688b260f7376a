//! A job: what was asked for, where it is, and what happened to it.

use muster_proto::control::{EventKind, JobEvent, JobPhase, JobStatus, Progress, Submission};
use muster_proto::ids::{Generation, JobId, Step};
use serde::{Deserialize, Serialize};

use crate::phase::{Ended, Gathering, Phase};

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
    /// The last checkpoint that is complete on all ranks, and its manifest.
    pub(crate) saved: Option<(Step, String)>,
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
}

impl Job {
    pub(crate) fn new(submission: Submission) -> Self {
        let state = State {
            generation: Generation(0),
            numerics: submission.numerics.clone(),
            phase: Phase::Gathering(Gathering::default()),
            saved: None,
            sequence: 0,
            events: Vec::new(),
        };
        Self { submission, state, progress: None }
    }

    pub(crate) fn phase(&self) -> JobPhase {
        self.state.phase.name()
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
            Phase::Gathering(Gathering { reason: Some(reason) }) => {
                EventKind::PhaseChanged { phase: JobPhase::Gathering, reason: reason.to_string() }
            }
            Phase::Training(_) => EventKind::Progress(self.progress.clone()?),
            _ => return None,
        };
        Some(self.event(kind))
    }

    pub(crate) fn status(&self, job: JobId) -> JobStatus {
        let reason = match &self.state.phase {
            Phase::Gathering(gathering) => gathering.reason.as_ref().map(ToString::to_string),
            Phase::Draining(draining) => Some(draining.blame.reason().to_owned()),
            Phase::Ended(Ended::Failed { error }) => Some(error.clone()),
            Phase::Loading(loading) => {
                let (ready, all) = (loading.ready.len(), loading.assignment.members.len());
                Some(format!("{ready} of {all} ranks are ready"))
            }
            Phase::Training(_) | Phase::Ended(_) => None,
        };
        let assignment = self.state.phase.assignment();
        let workers = assignment.map(|held| held.members.iter().map(|member| member.worker).collect());
        JobStatus {
            job,
            name: self.submission.name.clone(),
            phase: self.phase(),
            generation: self.state.generation,
            world_size: self.submission.world_size,
            reason: reason.unwrap_or_default(),
            progress: self.progress.clone(),
            workers: workers.unwrap_or_default(),
            run_dir: self.submission.run_dir.clone(),
        }
    }
}
