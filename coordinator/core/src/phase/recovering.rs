//! Recovering: ranks stop, to go on in a new generation; it opens when all have, or when they took too long.
//!
//! Two ways lead here. A rank is lost, or says that another one does not answer: then the others stop at once, and go
//! on from the last step of which every piece is in somebody's memory, or from a checkpoint. Or the job changes its
//! workers on purpose: then ranks stop after a step, all after the same one, and nothing is done twice.

use muster_proto::control::{Failure, FailureCause};
use muster_proto::ids::Rank;
use serde::{Deserialize, Serialize};

use super::{Blame, Context, Draining, Phase, Signal, Verdict};
use crate::assignment::{Assignment, RankEnd};
use crate::time::Time;

/// Ranks were told to stop, and the job goes on without those that are gone.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Recovering {
    pub(crate) assignment: Assignment,
    pub(crate) blame: Blame,
    /// Whether ranks stop after a step, all after the same one, rather than at once.
    pub(crate) orderly: bool,
    /// Ranks whose workers will have none in the next generation, as far as that is known.
    #[serde(default)]
    pub(crate) leaving: Vec<Rank>,
    /// The most ranks of the next generation, where the pool says so: it gives workers back, or has been given some. With 0 the
    /// job waits again.
    #[serde(default)]
    pub(crate) ranks: Option<u32>,
    #[serde(skip)]
    pub(crate) deadline: Time,
}

impl Recovering {
    pub(super) fn new(assignment: Assignment, blame: Blame, context: Context<'_>) -> Self {
        let deadline = context.now + context.config.draining_deadline();
        Self { assignment, blame, orderly: false, leaving: Vec::new(), ranks: None, deadline }
    }

    /// Lets ranks stop after a step, for `reason`; the workers of the `leaving` ones will have none after that.
    pub(crate) fn orderly(
        assignment: Assignment,
        reason: String,
        leaving: Vec<Rank>,
        context: Context<'_>,
    ) -> Self {
        // A step, and what may lie between two: an evaluation.
        let deadline = context.now + context.config.loading_deadline();
        let blame = Blame::Planned(reason);
        Self { assignment, blame, orderly: true, leaving, ranks: None, deadline }
    }

    /// With no more than so many ranks in the next generation.
    pub(crate) fn with_ranks(self, ranks: u32) -> Self {
        Self { ranks: Some(ranks), ..self }
    }

    /// Ranks that will not be held any more.
    pub(crate) fn giving_back(&self) -> u32 {
        let held = self.assignment.members.len() as u32;
        self.ranks.map_or(self.leaving.len() as u32, |ranks| held.saturating_sub(ranks))
    }

    /// Enters the phase.
    pub(crate) fn begin(self) -> Verdict {
        if self.assignment.all_ended() {
            return Verdict::Regroup(Box::new(self));
        }
        let reason = self.blame.reason().to_owned();
        Verdict::go(Phase::Recovering(self), reason)
    }

    /// Enters the phase because of what a rank did.
    pub(super) fn note(mut self, rank: Rank, signal: &Signal) -> Verdict {
        self.record(rank, signal);
        self.begin()
    }

    pub(super) fn on_rank(&mut self, rank: Rank, signal: Signal, context: Context<'_>) -> Verdict {
        if self.assignment.ended.contains_key(&rank) {
            return Verdict::Stay;
        }
        match &signal {
            Signal::Ready(_) | Signal::CaughtUp { .. } => return Verdict::Stay,
            Signal::Saved(saved) => return Verdict::of_saved(saved),
            Signal::Failed(failure) if failure.cause.is_of_the_job() => {
                let blame = Blame::of(rank, &signal);
                return Draining::new(self.assignment.clone(), blame, context).note(rank, signal);
            }
            Signal::Failed(_) | Signal::Lost { .. } => {
                let blame = Blame::of(rank, &signal);
                if blame.strength() > self.blame.strength() {
                    self.blame = blame;
                }
                if self.orderly {
                    // The others may wait for this one inside of a step that will never end.
                    return self.at_once(context).note(rank, &signal);
                }
            }
            Signal::Yielded { .. } | Signal::Finished { .. } => {}
        }
        self.record(rank, &signal);
        if self.assignment.all_ended() { Verdict::Regroup(Box::new(self.clone())) } else { Verdict::Changed }
    }

    pub(super) fn on_cancel(&self, context: Context<'_>) -> Verdict {
        Draining::new(self.assignment.clone(), Blame::Cancelled, context).begin()
    }

    pub(super) fn on_deadline(&self, context: Context<'_>) -> Verdict {
        if self.orderly {
            return self.at_once(context).begin();
        }
        Verdict::Regroup(Box::new(self.clone()))
    }

    /// The same, but ranks stop wherever they are.
    fn at_once(&self, context: Context<'_>) -> Self {
        Self { ranks: self.ranks, ..Self::new(self.assignment.clone(), self.blame.clone(), context) }
    }

    fn record(&mut self, rank: Rank, signal: &Signal) {
        let end = match signal {
            Signal::Lost { .. } => RankEnd::Lost,
            // Who cannot be reached counts; the words are in the blame, and would be kept once a rank.
            Signal::Failed(failure) => RankEnd::Failed(Failure { message: String::new(), ..failure.clone() }),
            Signal::Yielded { .. } => RankEnd::Yielded,
            Signal::Finished { .. } => RankEnd::Finished { summary: serde_json::Value::Null },
            Signal::Ready(_) | Signal::Saved(_) | Signal::CaughtUp { .. } => return,
        };
        self.assignment.ended.insert(rank, end);
    }

    /// Ranks that stopped and can go on.
    pub(crate) fn survivors(&self) -> impl Iterator<Item = Rank> {
        let alive = |end: &RankEnd| !matches!(end, RankEnd::Lost);
        self.assignment.ended.iter().filter(move |(_, end)| alive(end)).map(|(rank, _)| *rank)
    }

    /// Who said of whom that it cannot be reached; a rank that reaches nobody says it of itself.
    pub(crate) fn accusations(&self) -> impl Iterator<Item = (Rank, Rank)> {
        self.assignment.ended.iter().filter_map(|(rank, end)| match end {
            RankEnd::Failed(failure) if failure.cause == FailureCause::Peer => Some((*rank, failure.peer?)),
            _ => None,
        })
    }
}
