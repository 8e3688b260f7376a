//! All schedules, their runs and the models that come of them, on one store.
//!
//! Pure, like the core beside it: what happened and the time in, the changes of the store out, which are durable before
//! anything is done about them. What is to be done is not told once but follows from where each run is ([`Machine::wanted`]),
//! so that whoever takes over does it again: tasks and jobs that are there already stay as they are, and a hook is told by
//! the run's id that it was called before.
//!
//! Invariants: a run comes into each stage in one commit with what it knew then, so that each transition is logged once; what is
//! told of a stage that a run has left changes nothing; a champion changes in the commit that says so of the run.

mod applied;
mod begin;
mod error;
mod fires;
mod health;
mod judged;
mod keep;
mod models;
mod moves;
mod removal;
mod restore;
mod schedule;
mod steps;
mod told;
mod wanted;

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use muster_proto::ids::JobId;
use serde::de::DeserializeOwned;
use serde_json::Value;

pub use self::error::Refusal;
use self::keep::{Garbage, Owed};
use self::schedule::Scheduled;
pub use self::wanted::{HookCall, HookStage, Wanted};
use super::command::{Command, Request};
use super::registry::Registry;
use super::run::{Outcome, Run, Stage};
use super::view::Done;
use crate::Write;

/// Under which all of the machine's keys lie, but for the models'.
pub const PREFIX: &str = "retrain/";

/// Schedules that there may be.
const MOST_SCHEDULES: usize = 1000;
/// Ended runs that are kept of a schedule, and of all that are gone together; the oldest go.
const KEPT_RUNS: usize = 500;

/// What happened to what was wanted.
#[derive(Debug, Clone, PartialEq)]
pub enum Happened {
    /// A run's task ended.
    Task {
        /// The task's number: which of the run's.
        number: u32,
        /// Its result, or what went wrong.
        end: Result<Value, String>,
    },
    /// A run's job was submitted.
    Submitted {
        /// Its number.
        job: JobId,
    },
    /// A run's job was refused, or ended.
    JobEnded {
        /// What went wrong; none where it was trained.
        error: Option<String>,
        /// Worker seconds that it took.
        worker_seconds: f64,
    },
    /// A hook's call ended.
    Called {
        /// Which attempt.
        attempt: u32,
        /// What went wrong.
        end: Result<(), String>,
    },
    /// All that was begun for a run is ended.
    Cleared,
}

/// Schedules, runs and models.
#[derive(Debug, Default)]
pub struct Machine {
    schedules: BTreeMap<String, Scheduled>,
    runs: BTreeMap<String, Run>,
    models: BTreeMap<String, Registry>,
    /// What was reported of versions in service.
    reported: BTreeMap<String, health::Reported>,
    /// Calls of hooks that are owed for what people did.
    owed: BTreeMap<u64, Owed>,
    /// Folders that may go.
    garbage: BTreeMap<u64, Garbage>,
    /// What went wrong with the latest of those that could not; whoever takes over finds out again.
    unremoved: BTreeMap<u64, String>,
    /// The last number given to a call or a folder.
    last: u64,
    /// The names of hooks that there are.
    hooks: BTreeSet<String>,
}

/// The changes of the store that a step makes.
pub type Writes = Vec<Write>;

impl Machine {
    /// Says which hooks there are; a schedule can name no other.
    pub fn set_hooks(&mut self, hooks: impl IntoIterator<Item = String>) {
        self.hooks = hooks.into_iter().collect();
    }

    /// Sees to all that is due.
    pub fn tick(&mut self, now: Timestamp) -> Writes {
        let mut writes = self.fire(now);
        writes.extend(self.go_on(now));
        writes
    }

    /// Does what a person or a tool asks for; nothing has changed where it is refused.
    ///
    /// # Errors
    /// What is named is not there, or cannot be done as things are.
    pub fn command(&mut self, request: Request, now: Timestamp) -> Result<(Done, Writes), Refusal> {
        let Request { by, command } = request;
        match command {
            Command::Apply { schedule } => self.apply(*schedule, now),
            Command::RemoveSchedule { schedule } => self.remove_schedule(&schedule, now),
            Command::Pause { schedule } => self.set_paused(&schedule, true, now),
            Command::Resume { schedule } => self.set_paused(&schedule, false, now),
            Command::Trigger { schedule, at, refresh } => self.trigger(&schedule, at, refresh, now),
            Command::Backfill { schedule, from, to, reprocess, max_active, reverse, dry_run } => {
                let asked = super::Backfill { from, to, reprocess, reverse };
                self.backfill(&schedule, asked, max_active, dry_run, now)
            }
            Command::CancelRun { run } => self.cancel(&run, &by, now),
            Command::Rerun { run, refresh } => self.rerun(&run, refresh, now),
            Command::Approve { run } => self.approve(&run, &by, now),
            command => self.change_model(command, &by, now),
        }
    }

    /// Takes in what happened to a run; what is not about its stage changes nothing.
    pub fn happened(&mut self, run: &str, happened: Happened, now: Timestamp) -> Writes {
        let Some(stage) = self.runs.get(run).map(|run| run.state.stage.clone()) else { return Vec::new() };
        match (stage, happened) {
            (Stage::Preparing, Happened::Task { number, end }) => self.prepared(run, number, end, now),
            (Stage::Judging, Happened::Task { number, end }) => self.judged(run, number, end, now),
            (Stage::Training, Happened::Submitted { job }) => self.submitted(run, job, now),
            (Stage::Training, Happened::JobEnded { error, worker_seconds }) => {
                self.trained(run, error, worker_seconds, now)
            }
            (Stage::Promoting(call), Happened::Called { attempt, end }) if call.attempt == attempt => {
                self.called_to_promote(run, call, end, now)
            }
            (Stage::RollingBack(call), Happened::Called { attempt, end }) if call.attempt == attempt => {
                self.called_to_roll_back(run, call, end, now)
            }
            (Stage::Cancelling { outcome }, Happened::Cleared) => {
                self.end(run, outcome, "all that was begun for it is ended", now)
            }
            _ => Vec::new(),
        }
    }

    /// Runs of a schedule.
    fn runs_of<'m>(&'m self, schedule: &'m str) -> impl Iterator<Item = &'m Run> {
        self.runs.values().filter(move |run| run.plan.schedule == schedule)
    }

    /// Attempts at the run for a time.
    fn attempts<'m>(&'m self, schedule: &'m str, logical: Timestamp) -> impl Iterator<Item = &'m Run> {
        self.runs_of(schedule).filter(move |run| run.plan.logical == logical)
    }

    /// Runs that are not over.
    fn unended(&self) -> impl Iterator<Item = &Run> {
        self.runs.values().filter(|run| run.outcome().is_none())
    }

    /// Ends a run, and lets its schedule know where it still counted as at work.
    fn end(&mut self, id: &str, outcome: Outcome, why: &str, now: Timestamp) -> Writes {
        let Some(run) = self.runs.get_mut(id) else { return Vec::new() };
        run.enter(Stage::Ended { outcome }, now, why);
        let mut writes = vec![run.put_state()];
        let (schedule, model, version) =
            (run.plan.schedule.clone(), run.model().to_owned(), run.state.version);
        if let Some(registry) = self.models.get_mut(&model) {
            writes.extend(registry.let_go(id));
        }
        writes.extend(self.tell_schedule(id, &schedule, outcome, now));
        if version.is_none() {
            writes.extend(self.drop_folder(id));
        }
        writes.extend(self.retain(&model, &schedule, now));
        writes.extend(self.forget_old_runs(&schedule));
        writes
    }
}

/// The result of a run's task, or why there is none: `what` it is about, and what is missing without it.
fn result_of<T: DeserializeOwned>(
    end: Result<Value, String>,
    (what, missing): (&str, &str),
) -> Result<T, String> {
    let value = end.map_err(|error| format!("no {missing}: {error}"))?;
    serde_json::from_value(value).map_err(|error| {
        format!("what the worker says of the {what} cannot be read ({error}); is it of another version?")
    })
}
