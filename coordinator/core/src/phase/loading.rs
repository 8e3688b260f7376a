//! Loading: ranks connect to each other and load their pieces, until all are ready.

use std::collections::BTreeSet;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use muster_proto::control::{Cohort, RestoredFrom, Submission};
use muster_proto::ids::{Rank, Step};
use serde::{Deserialize, Serialize};

use super::{Blame, Context, Draining, Phase, Recovering, Signal, Training, Verdict};
use crate::assignment::Assignment;
use crate::time::Time;

/// Ranks were told to prepare.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Loading {
    pub(crate) assignment: Assignment,
    /// Ranks that are ready. Not kept in the store: workers say so again when they come back.
    #[serde(skip)]
    pub(crate) ready: BTreeSet<Rank>,
    /// The slowest rank's time until all were connected.
    #[serde(skip)]
    pub(crate) connect: Duration,
    /// What ranks go on from, once one is ready.
    #[serde(skip)]
    pub(crate) from: Option<RestoredFrom>,
    /// The checkpoint that they read, with its step.
    #[serde(skip)]
    pub(crate) checkpoint: Option<(Step, String)>,
    /// What all ranks are told alike, once it was asked for: however many there are, it is made once.
    #[serde(skip)]
    cohort: OnceLock<Arc<Cohort>>,
    #[serde(skip)]
    pub(crate) deadline: Time,
}

impl Loading {
    pub(crate) fn new(assignment: Assignment, context: Context<'_>) -> Self {
        let deadline = context.now + context.config.loading_deadline();
        let (ready, connect, from, checkpoint, cohort) = Default::default();
        Self { assignment, ready, connect, from, checkpoint, cohort, deadline }
    }

    /// What all ranks are told alike.
    ///
    /// `checkpoint` is the one that the job counts on, if it has one; it does not change while ranks load.
    pub(super) fn cohort(&self, submission: &Submission, checkpoint: Option<&str>) -> Arc<Cohort> {
        Arc::clone(self.cohort.get_or_init(|| Arc::new(self.assignment.cohort(submission, checkpoint))))
    }

    pub(super) fn on_rank(&mut self, rank: Rank, signal: Signal, context: Context<'_>) -> Verdict {
        match signal {
            Signal::Ready(restored) => {
                self.ready.insert(rank);
                self.connect = self.connect.max(restored.connect);
                if let RestoredFrom::Checkpoint(path) = &restored.from {
                    self.checkpoint = Some((restored.step, path.clone()));
                }
                self.from = Some(restored.from);
                if self.ready.len() < self.assignment.members.len() {
                    return Verdict::Stay;
                }
                let reason = format!("every rank is ready, at step {}", restored.step);
                Verdict::go(Phase::Training(Training::new(self.assignment.clone())), reason)
            }
            Signal::Saved(_) | Signal::CaughtUp { .. } => Verdict::Stay,
            Signal::Finished { .. } | Signal::Yielded { .. } => {
                let blame = Blame::Own(format!("rank {rank} came to an end before the job began"));
                self.drain(blame, context).note(rank, signal)
            }
            Signal::Failed(ref failure) if failure.cause.is_of_the_job() => {
                self.drain(Blame::of(rank, &signal), context).note(rank, signal)
            }
            Signal::Failed(_) | Signal::Lost { .. } => {
                let blame = Blame::of(rank, &signal);
                Recovering::new(self.assignment.clone(), blame, context).note(rank, &signal)
            }
        }
    }

    pub(super) fn on_cancel(&self, context: Context<'_>) -> Verdict {
        self.drain(Blame::Cancelled, context).begin()
    }

    pub(super) fn on_deadline(&self, context: Context<'_>) -> Verdict {
        let slow = self.assignment.ranks().filter(|(rank, _)| !self.ready.contains(rank));
        let slow: Vec<String> =
            slow.map(|(rank, member)| format!("rank {rank} ({})", member.worker)).collect();
        let deadline = context.config.loading_deadline();
        let problem = format!("{} did not load within {deadline:?}", slow.join(", "));
        self.drain(Blame::Own(problem), context).begin()
    }

    fn drain(&self, blame: Blame, context: Context<'_>) -> Draining {
        Draining::new(self.assignment.clone(), blame, context)
    }
}
