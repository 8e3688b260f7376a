//! Training: ranks make steps, until all came to the end.
//!
//! A lost rank does not end the job: see [`Recovering`].

use muster_proto::control::CancelMode;
use muster_proto::ids::Rank;
use serde::{Deserialize, Serialize};

use super::{Blame, Context, Draining, Ended, Phase, Recovering, Signal, Verdict};
use crate::assignment::{Assignment, RankEnd};

/// Ranks were told to start.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Training {
    pub(crate) assignment: Assignment,
    /// Whether ranks were asked to end early, in order.
    pub(crate) stopping: bool,
}

impl Training {
    pub(crate) fn new(assignment: Assignment) -> Self {
        Self { assignment, stopping: false }
    }

    pub(super) fn on_rank(&mut self, rank: Rank, signal: Signal, context: Context<'_>) -> Verdict {
        match signal {
            Signal::Ready(_) => Verdict::Stay,
            Signal::Saved(saved) => Verdict::of_saved(&saved),
            Signal::CaughtUp { steps_redone, recompute } => Verdict::CaughtUp { steps_redone, recompute },
            Signal::Finished { summary } => self.on_end(rank, RankEnd::Finished { summary }),
            // A rank that came to its end is not needed any more.
            Signal::Lost { .. } if self.assignment.ended.contains_key(&rank) => Verdict::Stay,
            Signal::Failed(ref failure) if failure.cause.is_of_the_job() => {
                let draining = Draining::new(self.assignment.clone(), Blame::of(rank, &signal), context);
                draining.note(rank, signal)
            }
            // Rank 0 finishes last in all that ranks do together: the result is there, and nobody is needed for it.
            Signal::Failed(failure) if self.has_result() => self.on_end(rank, RankEnd::Failed(failure)),
            Signal::Lost { .. } if self.has_result() => self.on_end(rank, RankEnd::Lost),
            Signal::Failed(_) | Signal::Lost { .. } | Signal::Yielded { .. } => {
                let blame = Blame::of(rank, &signal);
                Recovering::new(self.assignment.clone(), blame, context).note(rank, &signal)
            }
        }
    }

    pub(super) fn on_cancel(&mut self, mode: CancelMode, context: Context<'_>) -> Verdict {
        match mode {
            CancelMode::Abort => Draining::new(self.assignment.clone(), Blame::Cancelled, context).begin(),
            CancelMode::Drain if self.stopping => Verdict::Stay,
            CancelMode::Drain => {
                let stopping = Self { stopping: true, ..self.clone() };
                Verdict::go(Phase::Training(stopping), "asked to save and end early")
            }
        }
    }

    fn has_result(&self) -> bool {
        matches!(self.assignment.ended.get(&Rank(0)), Some(RankEnd::Finished { .. }))
    }

    fn on_end(&mut self, rank: Rank, end: RankEnd) -> Verdict {
        // Only rank 0 speaks for the job; what the others say is not kept.
        let end = match end {
            RankEnd::Finished { .. } if rank != Rank(0) => {
                RankEnd::Finished { summary: serde_json::Value::Null }
            }
            end => end,
        };
        self.assignment.ended.insert(rank, end);
        if !self.assignment.all_ended() {
            return Verdict::Changed;
        }
        let summary = match self.assignment.ended.remove(&Rank(0)) {
            Some(RankEnd::Finished { summary }) => summary,
            other => unreachable!("all ranks ended with rank 0's result, yet it ended with {other:?}"),
        };
        Verdict::go(Phase::Ended(Ended::Finished { summary }), "every rank came to the end")
    }
}
