//! The phases of a job, one file each.
//!
//! A phase is a struct that holds what that phase needs and nothing else; leaving it drops it. A phase decides,
//! by a [`Verdict`], where the job goes next; [`crate::job`] carries the verdict out, the same way for all.

mod draining;
mod ended;
mod gathering;
mod layout;
mod loading;
mod pieces;
mod planning;
mod recovering;
mod training;

use std::time::Duration;

use muster_proto::control::{
    CancelMode, Cause, Directive, Failure, JobPhase, PiecesSaved, Prepare, Restored, Spent, Submission,
};
use muster_proto::ids::{Rank, Step, WorkerId};
use serde::{Deserialize, Serialize};

pub(crate) use self::draining::{Blame, Draining};
pub(crate) use self::ended::Ended;
pub(crate) use self::gathering::{Candidate, Gathering, Wish, choose};
pub(crate) use self::loading::Loading;
pub use self::planning::{PlanError, plan_of};
pub(crate) use self::planning::{Planning, Worker, plan, seat};
pub(crate) use self::recovering::Recovering;
pub(crate) use self::training::Training;
use crate::assignment::Assignment;
use crate::config::Config;
use crate::time::Time;

/// Where a job is in its life, with what that phase knows. Also what the store keeps of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Phase {
    Gathering(Gathering),
    Loading(Loading),
    Training(Training),
    Draining(Draining),
    Recovering(Recovering),
    Ended(Ended),
}

/// What a rank did, or what became of it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Signal {
    Ready(Restored),
    Saved(PiecesSaved),
    CaughtUp { steps_redone: u64, recompute: Duration },
    Yielded { step: Step },
    Finished { summary: serde_json::Value },
    Failed(Failure),
    Lost { worker: WorkerId, reason: String },
}

/// What follows from it.
#[derive(Debug, PartialEq)]
pub(crate) enum Verdict {
    /// Nothing that must outlive the coordinator.
    Stay,
    /// The phase goes on, but the store must know what changed.
    Changed,
    /// A checkpoint is complete: its manifest is written, after all of its pieces.
    Saved { step: Step, manifest: String },
    /// What an earlier generation had reached is reached again.
    CaughtUp { steps_redone: u64, recompute: Duration },
    /// A new generation is to be opened with those that are left.
    Regroup(Box<Recovering>),
    /// Another phase begins.
    Go(Box<Phase>, String),
}

impl Verdict {
    pub(crate) fn go(phase: Phase, reason: impl Into<String>) -> Self {
        Self::Go(Box::new(phase), reason.into())
    }

    /// What follows from a rank's word on a checkpoint: the one that wrote the manifest did so after all the others.
    fn of_saved(saved: &PiecesSaved) -> Self {
        let saved_as = |manifest: &String| Self::Saved { step: saved.step, manifest: manifest.clone() };
        saved.manifest.as_ref().map_or(Self::Stay, saved_as)
    }
}

/// When something happens, and by which rules.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Context<'a> {
    pub(crate) now: Time,
    pub(crate) config: &'a Config,
}

impl Phase {
    pub(crate) fn name(&self) -> JobPhase {
        match self {
            Self::Gathering(_) => JobPhase::Gathering,
            Self::Loading(_) => JobPhase::Loading,
            Self::Training(_) => JobPhase::Training,
            Self::Draining(_) => JobPhase::Draining,
            Self::Recovering(_) => JobPhase::Recovering,
            Self::Ended(ended) => ended.name(),
        }
    }

    /// Counts time that was spent in this phase.
    pub(crate) fn count(&self, time: Duration, spent: &mut Spent) {
        let has_trained = spent.total() > spent.on(Cause::Queue) + spent.on(Cause::Start);
        match self {
            Self::Gathering(_) if has_trained => spent.add(Cause::Decide, time),
            Self::Gathering(_) => spent.add(Cause::Queue, time),
            Self::Loading(loading) if has_trained => {
                spent.add(Cause::Rendezvous, loading.connect.min(time));
                spent.add(Cause::Reload, time.saturating_sub(loading.connect));
            }
            Self::Loading(_) => spent.add(Cause::Start, time),
            Self::Training(_) => spent.add(Cause::Training, time),
            Self::Recovering(_) => spent.add(Cause::Abort, time),
            Self::Draining(_) => spent.add(Cause::Drain, time),
            Self::Ended(_) => {}
        }
    }

    /// The ranks that the job holds, if it holds any.
    pub(crate) fn assignment(&self) -> Option<&Assignment> {
        match self {
            Self::Loading(phase) => Some(&phase.assignment),
            Self::Training(phase) => Some(&phase.assignment),
            Self::Draining(phase) => Some(&phase.assignment),
            Self::Recovering(phase) => Some(&phase.assignment),
            Self::Gathering(_) | Self::Ended(_) => None,
        }
    }

    /// Notes what a rank did. Nothing is heard from ranks where there are none.
    pub(crate) fn on_rank(&mut self, rank: Rank, signal: Signal, context: Context<'_>) -> Verdict {
        match self {
            Self::Loading(phase) => phase.on_rank(rank, signal, context),
            Self::Training(phase) => phase.on_rank(rank, signal, context),
            Self::Draining(phase) => phase.on_rank(rank, signal),
            Self::Recovering(phase) => phase.on_rank(rank, signal, context),
            Self::Gathering(_) | Self::Ended(_) => Verdict::Stay,
        }
    }

    /// Ends the job early.
    pub(crate) fn on_cancel(&mut self, mode: CancelMode, context: Context<'_>) -> Verdict {
        match self {
            Self::Gathering(_) => Verdict::go(Self::Ended(Ended::Cancelled), "cancelled while it waited"),
            Self::Loading(phase) => phase.on_cancel(context),
            Self::Training(phase) => phase.on_cancel(mode, context),
            Self::Recovering(phase) => phase.on_cancel(context),
            // The job ends already, for a reason of its own.
            Self::Draining(_) | Self::Ended(_) => Verdict::Stay,
        }
    }

    /// When [`Self::on_deadline`] is due, if nothing happens before.
    pub(crate) fn deadline(&self) -> Option<Time> {
        match self {
            Self::Loading(phase) => Some(phase.deadline),
            Self::Draining(phase) => Some(phase.deadline),
            Self::Recovering(phase) => Some(phase.deadline),
            Self::Gathering(_) | Self::Training(_) | Self::Ended(_) => None,
        }
    }

    /// The phase took too long.
    pub(crate) fn on_deadline(&mut self, context: Context<'_>) -> Verdict {
        match self {
            Self::Loading(phase) => phase.on_deadline(context),
            Self::Draining(phase) => phase.on_deadline(),
            Self::Recovering(phase) => phase.on_deadline(context),
            Self::Gathering(_) | Self::Training(_) | Self::Ended(_) => Verdict::Stay,
        }
    }

    /// Sets the clock of a phase that was read from the store: moments of an earlier coordinator mean nothing.
    pub(crate) fn restart_clock(&mut self, context: Context<'_>) {
        match self {
            Self::Loading(phase) => phase.deadline = context.now + context.config.loading_deadline(),
            Self::Draining(phase) => phase.deadline = context.now + context.config.draining_deadline(),
            Self::Recovering(phase) if phase.orderly => {
                phase.deadline = context.now + context.config.loading_deadline();
            }
            Self::Recovering(phase) => phase.deadline = context.now + context.config.draining_deadline(),
            Self::Gathering(_) | Self::Training(_) | Self::Ended(_) => {}
        }
    }

    /// What a rank has to be told in this phase: at its beginning, and again whenever its worker opens a session.
    /// Workers take each of these any number of times.
    ///
    /// `checkpoint` is the one that the job counts on, if it has one.
    pub(crate) fn directive(
        &self,
        submission: &Submission,
        checkpoint: Option<&str>,
        rank: Rank,
    ) -> Option<Directive> {
        let assignment = self.assignment()?;
        let member = assignment.members.get(rank.0 as usize)?;
        let fence = assignment.fence(member);
        match self {
            Self::Loading(phase) => {
                let cohort = phase.cohort(submission, checkpoint);
                Some(Directive::Prepare(Prepare { fence, rank, cohort }))
            }
            Self::Training(phase) if phase.stopping => Some(Directive::Drain { fence }),
            Self::Training(_) => Some(Directive::Start { fence }),
            Self::Draining(phase) => {
                let reason = phase.blame.reason().to_owned();
                Some(Directive::Abort { fence, reason })
            }
            Self::Recovering(phase) if phase.orderly => {
                Some(Directive::Yield { fence, leaving: phase.leaving.clone() })
            }
            Self::Recovering(phase) => {
                let reason = phase.blame.reason().to_owned();
                Some(Directive::Abort { fence, reason })
            }
            Self::Gathering(_) | Self::Ended(_) => None,
        }
    }
}
