//! What people and their tools are told of schedules, runs and models.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::command::Applied;
use super::gates::Judgement;
use super::registry::{Cost, Version};
use super::run::{Kind, Outcome, Stage, Transition};
use muster_proto::control::WindowRead;

/// What came of a command.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Done {
    /// What was done, for people.
    pub message: String,
    /// Runs that were begun, or would be.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub runs: Vec<String>,
    /// Times that will be run, of a backfill.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub times: Vec<Timestamp>,
}

/// A fire that did not run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Missed {
    /// What it was for; the last of several.
    pub logical: Timestamp,
    /// When that was decided.
    pub at: Timestamp,
    /// Why.
    pub why: String,
}

/// A schedule.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ScheduleView {
    /// Its name.
    pub name: String,
    /// The model that it serves.
    pub model: String,
    /// When it fires.
    pub cron: String,
    /// The zone of that.
    pub time_zone: String,
    /// Whether it is paused.
    pub paused: bool,
    /// When it fires next; none where it is paused.
    pub next: Option<Timestamp>,
    /// Runs at work.
    pub active: Vec<String>,
    /// When runs that failed are tried again.
    pub retrying: Vec<Timestamp>,
    /// Times that wait for a run to end.
    pub queued: Vec<Timestamp>,
    /// Times of a backfill that are still to be run.
    pub backfill: Vec<Timestamp>,
    /// Runs in a row that failed in the end.
    pub failures: u32,
    /// Its last run.
    pub last: Option<String>,
    /// The latest fires that did not run, newest first.
    pub missed: Vec<Missed>,
    /// What was applied; only where one schedule was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub applied: Option<Box<Applied>>,
}

/// A run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunView {
    /// Its id.
    pub run: String,
    /// Its schedule.
    pub schedule: String,
    /// The model.
    pub model: String,
    /// What it is for.
    pub logical: Timestamp,
    /// The first is 1.
    pub attempt: u32,
    /// Why there is one.
    pub kind: Kind,
    /// Where it is.
    pub stage: Stage,
    /// How it ended.
    pub outcome: Option<Outcome>,
    /// What it waits for, or why it ended so.
    pub why: String,
    /// All stages so far, each with when it began.
    pub transitions: Vec<Transition>,
    /// The window: begin, where it has one, and end.
    pub window: Option<(Option<Timestamp>, Timestamp)>,
    /// What was read for it.
    pub read: Option<WindowRead>,
    /// The digest of its dataset, and its rows, sequences and items.
    pub dataset: Option<DatasetView>,
    /// The version that it began from.
    pub parent: Option<u64>,
    /// The champion that it was compared with.
    pub champion: Option<u64>,
    /// Its job.
    pub job: Option<u64>,
    /// The version that came of it.
    pub version: Option<u64>,
    /// Metrics of its candidate on the window's test split.
    pub metrics: BTreeMap<String, f64>,
    /// The champion's on the same.
    pub champion_metrics: BTreeMap<String, f64>,
    /// What the gates said.
    pub judgement: Option<Judgement>,
    /// What it took so far.
    pub cost: Cost,
}

/// The dataset of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DatasetView {
    /// Its folder.
    pub folder: String,
    /// The digest of its manifest.
    pub digest: String,
    /// Rows.
    pub rows: u64,
    /// Sequences.
    pub users: u64,
    /// Items.
    pub items: u64,
}

/// A model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ModelView {
    /// Its name.
    pub name: String,
    /// Its aliases.
    pub aliases: BTreeMap<String, u64>,
    /// How many versions it has.
    pub n_versions: u64,
    /// A page of its versions, newest first; where all models were asked for, the newest and those that an alias names, without
    /// their lineage's job.
    pub versions: Vec<Version>,
    /// What was reported of versions in service: by version and metric, the mean and the samples.
    pub reported: BTreeMap<u64, BTreeMap<String, (f64, u64)>>,
}

/// How all schedules go.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct FleetView {
    /// Schedule by schedule.
    pub schedules: Vec<ScheduleHealth>,
    /// Runs at work.
    pub active_runs: u64,
    /// Hook calls that are owed to someone, with what went wrong.
    pub owed_calls: Vec<String>,
    /// Folders that nothing needs and that cannot be removed, with what goes wrong.
    #[serde(default)]
    pub unremoved: Vec<String>,
}

/// How a schedule goes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ScheduleHealth {
    /// Its name.
    pub name: String,
    /// The model.
    pub model: String,
    /// Whether it is paused.
    pub paused: bool,
    /// When it fires next.
    pub next: Option<Timestamp>,
    /// How old the end of the champion's window is, in seconds.
    pub freshness: Option<f64>,
    /// How old it may be, in seconds.
    pub objective: Option<f64>,
    /// Runs by how they ended.
    pub outcomes: BTreeMap<Outcome, u64>,
    /// The share of judged candidates that passed the gates.
    pub pass_rate: Option<f64>,
    /// Mean seconds from a run's begin to its promotion.
    pub to_promotion: Option<f64>,
    /// Mean processor seconds of an ended run.
    pub cpu_seconds: Option<f64>,
    /// Mean worker seconds of an ended run.
    pub worker_seconds: Option<f64>,
    /// Fires that did not run.
    pub missed: u64,
    /// The latest of them, newest first.
    pub latest_missed: Vec<Missed>,
}
