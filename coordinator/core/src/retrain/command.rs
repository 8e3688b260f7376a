//! What people and their tools ask of schedules and models.

use jiff::Timestamp;
use muster_proto::schedule::ScheduleSpec;
use serde::{Deserialize, Serialize};

use super::backfill::Reprocess;

/// A schedule with the files that its runs are made of.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Applied {
    /// The schedule file.
    pub spec: ScheduleSpec,
    /// The dataset file, as TOML.
    pub dataset_toml: String,
    /// The folder that its relative paths start from, as workers see it.
    pub dataset_folder: String,
    /// The job file, as TOML.
    pub job_toml: String,
}

/// A command, and whose it is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// Who asks.
    pub by: String,
    /// For what.
    pub command: Command,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Command {
    /// Makes a schedule, or changes the one of this name; runs that are at work go on as they began.
    Apply {
        /// The schedule.
        schedule: Box<Applied>,
    },
    /// Removes a schedule and cancels its runs; the model's versions stay.
    RemoveSchedule {
        /// The schedule.
        schedule: String,
    },
    /// Nothing fires until it is resumed.
    Pause {
        /// The schedule.
        schedule: String,
    },
    /// It fires again; what was missed is up to its misfire rule.
    Resume {
        /// The schedule.
        schedule: String,
    },
    /// Starts a run at once, whatever the rules say.
    Trigger {
        /// The schedule.
        schedule: String,
        /// What it is for; now where absent.
        #[serde(default)]
        at: Option<Timestamp>,
        /// Whether files that came since an earlier run for the same time count, too.
        #[serde(default)]
        refresh: bool,
    },
    /// Runs the times of the past at which it would have fired.
    Backfill {
        /// The schedule.
        schedule: String,
        /// Not before this.
        from: Timestamp,
        /// Before this.
        to: Timestamp,
        /// What is done again.
        reprocess: Reprocess,
        /// Runs at a time, at most.
        max_active: u32,
        /// Whether the latest come first.
        reverse: bool,
        /// Whether it is only told what would run.
        dry_run: bool,
    },
    /// Ends a run; it is not tried again.
    CancelRun {
        /// The run.
        run: String,
    },
    /// Runs an ended run's time again, with the files that it had.
    Rerun {
        /// The run.
        run: String,
        /// Whether files that came since count, too.
        #[serde(default)]
        refresh: bool,
    },
    /// Agrees to the candidate of a run.
    Approve {
        /// The run.
        run: String,
    },
    /// Makes a version the champion.
    Promote {
        /// The model.
        model: String,
        /// The version.
        version: u64,
        /// The champion that whoever asks has in mind; whichever there is where absent.
        #[serde(default)]
        expected: Option<u64>,
    },
    /// Makes the previous champion the champion again.
    RollBack {
        /// The model.
        model: String,
        /// The champion that is to go; whichever there is where absent.
        #[serde(default)]
        expected: Option<u64>,
    },
    /// Moves, makes or removes a free alias.
    Alias {
        /// The model.
        model: String,
        /// The alias.
        alias: String,
        /// Where it goes; away where absent.
        version: Option<u64>,
        /// Where it is taken to be; wherever it is where absent.
        #[serde(default)]
        expected: Option<u64>,
    },
    /// Adds a remark to a version.
    Note {
        /// The model.
        model: String,
        /// The version.
        version: u64,
        /// The remark.
        text: String,
    },
    /// Sets a label of a version, or takes it away.
    Label {
        /// The model.
        model: String,
        /// The version.
        version: u64,
        /// The label.
        name: String,
        /// Its value; away where absent.
        value: Option<String>,
    },
    /// Removes a version that nothing needs, with its files.
    RemoveVersion {
        /// The model.
        model: String,
        /// The version.
        version: u64,
    },
    /// Reports a figure of the champion in service.
    Metric {
        /// The model.
        model: String,
        /// The version that it was measured of; the champion where absent.
        #[serde(default)]
        version: Option<u64>,
        /// The figure.
        metric: String,
        /// Its mean over the samples.
        value: f64,
        /// How many.
        samples: u64,
    },
}

/// What is asked and changes nothing. A list is answered page by page: an answer holds what a message has room for, the next is
/// asked for with the last of it, and an empty one is the end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Question {
    /// All schedules by name: a page of [`super::view::ScheduleView`].
    Schedules {
        /// Those after this name.
        #[serde(default)]
        after: Option<String>,
    },
    /// A schedule: a [`super::view::ScheduleView`].
    Schedule {
        /// Which.
        schedule: String,
    },
    /// Runs, newest first: a page of [`super::view::RunView`].
    Runs {
        /// Of this schedule; of all where absent.
        schedule: Option<String>,
        /// Those that follow the run that began then and has this id, whether it is still there or not.
        #[serde(default)]
        after: Option<(Timestamp, String)>,
    },
    /// A run: a [`super::view::RunView`].
    Run {
        /// Which.
        run: String,
    },
    /// All models by name: a page of [`super::view::ModelView`].
    Models {
        /// Those after this name.
        #[serde(default)]
        after: Option<String>,
    },
    /// A model: a [`super::view::ModelView`] with a page of its versions, newest first.
    Model {
        /// Which.
        model: String,
        /// Versions that follow this one.
        #[serde(default)]
        after: Option<u64>,
    },
    /// What happened to a model, newest first: a page of [`super::registry::Entry`].
    History {
        /// Which.
        model: String,
        /// Entries that follow the one of this number.
        #[serde(default)]
        after: Option<u64>,
    },
    /// How it all goes: a [`super::view::FleetView`].
    Fleet,
}
