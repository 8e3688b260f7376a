//! Training: ranks make steps, until all came to the end.
//!
//! Here a lost worker ends the job. Recovery will be a phase beside this one, entered from [`Training::on_rank`]
//! where a rank is lost.

use std::collections::{BTreeMap, BTreeSet};

use muster_proto::control::{CancelMode, PiecesSaved};
use muster_proto::ids::{Rank, Step};
use serde::{Deserialize, Serialize};

use super::{Blame, Context, Draining, Ended, Phase, Signal, Verdict};
use crate::assignment::{Assignment, RankEnd};

/// Checkpoints that may be half reported at a time; the oldest is forgotten, as a newer one will do.
const MAX_OPEN_CHECKPOINTS: usize = 4;

/// Ranks were told to start.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Training {
    pub(crate) assignment: Assignment,
    /// Whether ranks were asked to end early, in order.
    pub(crate) stopping: bool,
    /// Checkpoints that some ranks have reported. Not kept: a checkpoint that was half reported when the
    /// coordinator went is not counted on.
    #[serde(skip)]
    pub(crate) saving: BTreeMap<Step, Saving>,
}

/// A checkpoint that not all ranks have reported.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Saving {
    ranks: BTreeSet<Rank>,
    manifest: Option<String>,
}

impl Training {
    pub(crate) fn new(assignment: Assignment) -> Self {
        Self { assignment, stopping: false, saving: BTreeMap::new() }
    }

    pub(super) fn on_rank(&mut self, rank: Rank, signal: Signal, context: Context<'_>) -> Verdict {
        match signal {
            Signal::Ready => Verdict::Stay,
            Signal::Saved(saved) => self.on_saved(rank, saved),
            Signal::Finished { summary } => self.on_finished(rank, summary),
            // A rank that came to its end is not needed any more.
            Signal::Lost { .. } if self.assignment.ended.contains_key(&rank) => Verdict::Stay,
            Signal::Failed(_) | Signal::Lost { .. } => {
                let draining = Draining::new(self.assignment.clone(), Blame::of(rank, &signal), context);
                draining.note(rank, signal)
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

    fn on_saved(&mut self, rank: Rank, saved: PiecesSaved) -> Verdict {
        let saving = self.saving.entry(saved.step).or_default();
        saving.ranks.insert(rank);
        saving.manifest = saving.manifest.take().or(saved.manifest);
        let complete = saving.ranks.len() == self.assignment.members.len();
        if let (true, Some(manifest)) = (complete, saving.manifest.clone()) {
            // Older ones that are still open will not be needed.
            self.saving.retain(|step, _| *step > saved.step);
            return Verdict::Saved { step: saved.step, manifest };
        }
        if self.saving.len() > MAX_OPEN_CHECKPOINTS {
            self.saving.pop_first();
        }
        Verdict::Stay
    }

    fn on_finished(&mut self, rank: Rank, summary: serde_json::Value) -> Verdict {
        // Only rank 0 speaks for the job; what the others say is not kept.
        let summary = if rank == Rank(0) { summary } else { serde_json::Value::Null };
        self.assignment.ended.insert(rank, RankEnd::Finished { summary });
        if !self.assignment.all_ended() {
            return Verdict::Changed;
        }
        let summary = match self.assignment.ended.remove(&Rank(0)) {
            Some(RankEnd::Finished { summary }) => summary,
            other => unreachable!("all ranks finished, yet rank 0 ended with {other:?}"),
        };
        Verdict::go(Phase::Ended(Ended::Finished { summary }), "every rank came to the end")
    }
}
