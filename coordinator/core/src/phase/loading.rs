//! Loading: ranks connect to each other and load their pieces, until all are ready.

use std::collections::BTreeSet;

use muster_proto::ids::Rank;
use serde::{Deserialize, Serialize};

use super::{Blame, Context, Draining, Phase, Signal, Training, Verdict};
use crate::assignment::Assignment;
use crate::time::Time;

/// Ranks were told to prepare.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Loading {
    pub(crate) assignment: Assignment,
    /// Ranks that are ready. Not kept in the store: workers say so again when they come back.
    #[serde(skip)]
    pub(crate) ready: BTreeSet<Rank>,
    #[serde(skip)]
    pub(crate) deadline: Time,
}

impl Loading {
    pub(crate) fn new(assignment: Assignment, context: Context<'_>) -> Self {
        let deadline = context.now + context.config.loading_deadline();
        Self { assignment, ready: BTreeSet::new(), deadline }
    }

    pub(super) fn on_rank(&mut self, rank: Rank, signal: Signal, context: Context<'_>) -> Verdict {
        match signal {
            Signal::Ready => {
                self.ready.insert(rank);
                if self.ready.len() < self.assignment.members.len() {
                    return Verdict::Stay;
                }
                let reason = "every rank is ready";
                Verdict::go(Phase::Training(Training::new(self.assignment.clone())), reason)
            }
            Signal::Saved(_) => Verdict::Stay,
            Signal::Finished { .. } => {
                let blame = Blame::Own(format!("rank {rank} came to an end before the job began"));
                self.drain(blame, context).note(rank, signal)
            }
            Signal::Failed(_) | Signal::Lost { .. } => {
                self.drain(Blame::of(rank, &signal), context).note(rank, signal)
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
