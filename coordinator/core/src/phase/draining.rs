//! Draining: ranks were told to stop; the job ends when all have, or when they took too long.
//!
//! Meanwhile the blame is found. When a worker dies, its peers often say first that it does not answer; the job's
//! error names the worker that died, not the one that noticed.

use muster_proto::control::FailureCause;
use muster_proto::ids::Rank;
use serde::{Deserialize, Serialize};

use super::{Context, Ended, Phase, Signal, Verdict};
use crate::assignment::{Assignment, RankEnd};
use crate::time::Time;

/// Why the job ends, weakest reason first: of several, the strongest is told, and among equals the first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Blame {
    /// The job changes its workers on purpose.
    Planned(String),
    /// A rank says that another one does not answer.
    Peer(String),
    /// A worker is gone.
    Lost(String),
    /// A rank failed by itself.
    Own(String),
    /// Somebody asked for it.
    Cancelled,
}

impl Blame {
    /// What a rank's failure or loss says about the reason.
    pub(super) fn of(rank: Rank, signal: &Signal) -> Self {
        match signal {
            Signal::Lost { worker, reason } => {
                Self::Lost(format!("{worker} (rank {rank}) was lost: {reason}"))
            }
            Signal::Failed(failure) => {
                let problem = format!("rank {rank} failed: {}", failure.message);
                match failure.cause {
                    FailureCause::Own | FailureCause::Panic => Self::Own(problem),
                    FailureCause::Peer | FailureCause::Aborted => Self::Peer(problem),
                }
            }
            Signal::Ready(_)
            | Signal::Saved(_)
            | Signal::Yielded { .. }
            | Signal::CaughtUp { .. }
            | Signal::Finished { .. } => Self::Peer(format!("rank {rank} stopped")),
        }
    }

    pub(crate) fn reason(&self) -> &str {
        match self {
            Self::Planned(problem) | Self::Peer(problem) | Self::Lost(problem) | Self::Own(problem) => {
                problem
            }
            Self::Cancelled => "the job was cancelled",
        }
    }

    pub(super) fn strength(&self) -> u8 {
        match self {
            Self::Planned(_) => 0,
            Self::Peer(_) => 1,
            Self::Lost(_) => 2,
            Self::Own(_) => 3,
            Self::Cancelled => 4,
        }
    }
}

/// Ranks were told to stop.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Draining {
    pub(crate) assignment: Assignment,
    pub(crate) blame: Blame,
    #[serde(skip)]
    pub(crate) deadline: Time,
}

impl Draining {
    pub(super) fn new(assignment: Assignment, blame: Blame, context: Context<'_>) -> Self {
        let deadline = context.now + context.config.draining_deadline();
        Self { assignment, blame, deadline }
    }

    /// Enters the phase.
    pub(super) fn begin(self) -> Verdict {
        if self.assignment.all_ended() {
            return self.end();
        }
        let reason = self.blame.reason().to_owned();
        Verdict::go(Phase::Draining(self), reason)
    }

    /// Enters the phase because of what a rank did.
    pub(super) fn note(mut self, rank: Rank, signal: Signal) -> Verdict {
        self.record(rank, signal);
        self.begin()
    }

    pub(super) fn on_rank(&mut self, rank: Rank, signal: Signal) -> Verdict {
        if self.assignment.ended.contains_key(&rank) {
            return Verdict::Stay;
        }
        match &signal {
            Signal::Ready(_) | Signal::CaughtUp { .. } => return Verdict::Stay,
            Signal::Saved(saved) => return Verdict::of_saved(saved),
            _ => {}
        }
        if !matches!(signal, Signal::Finished { .. }) {
            let blame = Blame::of(rank, &signal);
            if blame.strength() > self.blame.strength() {
                self.blame = blame;
            }
        }
        self.record(rank, signal);
        if self.assignment.all_ended() { self.end() } else { Verdict::Changed }
    }

    pub(super) fn on_deadline(&self) -> Verdict {
        self.end()
    }

    fn record(&mut self, rank: Rank, signal: Signal) {
        let end = match signal {
            Signal::Lost { .. } => RankEnd::Lost,
            Signal::Failed(failure) => RankEnd::Failed(failure),
            Signal::Yielded { .. } => RankEnd::Yielded,
            Signal::Finished { .. } => RankEnd::Finished { summary: serde_json::Value::Null },
            Signal::Ready(_) | Signal::Saved(_) | Signal::CaughtUp { .. } => return,
        };
        self.assignment.ended.insert(rank, end);
    }

    fn end(&self) -> Verdict {
        match &self.blame {
            Blame::Cancelled => Verdict::go(Phase::Ended(Ended::Cancelled), self.blame.reason()),
            Blame::Planned(error) | Blame::Peer(error) | Blame::Lost(error) | Blame::Own(error) => {
                Verdict::go(Phase::Ended(Ended::Failed { error: error.clone() }), error.clone())
            }
        }
    }
}
