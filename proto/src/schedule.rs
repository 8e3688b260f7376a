//! Schedules: when a model is trained again, what becomes of fires that meet a run, a pause or an outage, and which of the
//! models that come of it are used.

mod gates;
mod promotion;
mod retention;
mod training;
mod window;

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::capacity::DurationText;
use crate::config::reference::{Section, section};
use crate::config::{Problems, Spec};
use crate::units;

pub use self::gates::{
    ApprovalSpec, BudgetSpec, ColdStart, GatesSpec, RelativeSpec, Rule, SanitySpec, SliceSpec,
};
pub use self::promotion::{HealthSpec, Missing, ObjectiveSpec, PromotionSpec};
pub use self::retention::RetentionSpec;
pub use self::training::{From as BeginFrom, TrainingSpec};
pub use self::window::{DataWindowSpec, WindowKind};

crate::documented! {
    /// A schedule file: when a model is trained again.
    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    #[serde(deny_unknown_fields)]
    pub struct ScheduleSpec {
        /// Its name; the ids of its runs are made from it.
        pub name: String,
        /// The model that its runs make versions of; several schedules may serve one model.
        pub model: String,
        /// The dataset file of its runs, whose inputs are looked for anew by each; relative to this file. The split is by time and
        /// set by `window`, whatever the dataset file says.
        pub dataset: String,
        /// The job file of its runs, relative to this file.
        pub job: String,
        /// A folder of the schedule's own that all workers and the coordinator see under this name, where its data and its
        /// runs are kept.
        pub workspace: String,
        /// When it fires: minute, hour, day of month, month, day of week, as in `"30 2 * * MON-FRI"`; or `@daily` and its like.
        ///
        /// A time of day that the change to summer time leaves out fires at the first moment after it, one that comes
        /// twice in autumn fires the first time; `*` and `*/n` go by the clock on the wall and fire in both hours.
        pub cron: String,
        /// The time zone of `cron`, by its IANA name.
        #[serde(default = "utc")]
        pub time_zone: String,
        /// Each fire is put off by up to so much, always by the same for the same time, so that many schedules do not start
        /// at once.
        #[serde(default, with = "units::duration")]
        pub jitter: Duration,
        /// What becomes of a fire while a run of this schedule is at work: `"allow"` it, `"forbid"` (it is skipped), `"replace"`
        /// (the run is cancelled), `{ queue = 3 }` (up to three wait), or `"last_only"` (the latest waits).
        #[serde(default)]
        pub concurrency: Concurrency,
        /// What becomes of fires that nobody could see to, for instance while the schedule was paused: `"skip"`, `"run_last"`, or
        /// `{ catch_up = 5 }` (the latest five, in order).
        #[serde(default)]
        pub misfire: Misfire,
        /// A fire that could not start for so long is skipped, whatever `misfire` says.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub starting_deadline: Option<DurationText>,
        /// A run that takes longer is cancelled and has failed; the time in which it comes into service does not count.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub max_run_time: Option<DurationText>,
        /// How often a run that failed is tried again.
        #[serde(default)]
        pub retries: u32,
        /// How long after a failure; twice as long after each further one, 24 h at most.
        #[serde(default = "five_minutes", with = "units::duration")]
        pub backoff: Duration,
        /// After so many runs in a row that failed in the end the schedule pauses; never where absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub pause_after: Option<u32>,
        /// Which data a run is about.
        #[serde(default)]
        pub window: DataWindowSpec,
        /// How a run trains.
        #[serde(default)]
        pub training: TrainingSpec,
        /// What a candidate has to show before it takes the champion's place; absent: nothing but numbers.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub gates: Option<GatesSpec>,
        /// What happens when it has shown it.
        #[serde(default)]
        pub promotion: PromotionSpec,
        /// How a new champion is watched; absent: it is not.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub health: Option<HealthSpec>,
        /// What is to be reached.
        #[serde(default)]
        pub objective: ObjectiveSpec,
        /// Which versions of the model are kept; absent: all.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub retention: Option<RetentionSpec>,
    }
}

/// What becomes of a fire while a run is at work.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Concurrency {
    /// It runs too.
    Allow,
    /// It is skipped.
    #[default]
    Forbid,
    /// The run is cancelled for it.
    Replace,
    /// So many wait.
    Queue(u32),
    /// Only the latest waits.
    LastOnly,
}

/// What becomes of fires that were missed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Misfire {
    /// They are skipped.
    Skip,
    /// The latest runs, the others are skipped.
    #[default]
    RunLast,
    /// So many of the latest run, in order.
    CatchUp(u32),
}

impl ScheduleSpec {
    /// The tables of a schedule file, for its reference page.
    #[must_use]
    pub fn sections() -> Vec<Section> {
        let before =
            [section::<Self>(""), section::<DataWindowSpec>("window"), section::<TrainingSpec>("training")];
        let after = [
            section::<PromotionSpec>("promotion"),
            section::<HealthSpec>("health"),
            section::<ObjectiveSpec>("objective"),
            section::<RetentionSpec>("retention"),
        ];
        before.into_iter().chain(gates::SECTIONS.iter().copied()).chain(after).collect()
    }
}

fn utc() -> String {
    "UTC".to_owned()
}

fn five_minutes() -> Duration {
    Duration::from_secs(300)
}

impl Spec for ScheduleSpec {
    fn validate(&self, p: &mut Problems) {
        for (field, text) in [
            ("name", &self.name),
            ("model", &self.model),
            ("dataset", &self.dataset),
            ("job", &self.job),
            ("workspace", &self.workspace),
        ] {
            p.check(!text.is_empty(), field, || "is empty");
        }
        p.check(!self.cron.trim().is_empty(), "cron", || "is empty, give for instance \"30 2 * * *\"");
        p.check(self.jitter <= Duration::from_secs(86_400), "jitter", || "is more than a day");
        p.check(self.concurrency != Concurrency::Queue(0), "concurrency", || "queues none, say \"forbid\"");
        p.check(self.misfire != Misfire::CatchUp(0), "misfire", || "catches up with none, say \"skip\"");
        p.check(self.retries <= 100, "retries", || "is more than 100");
        p.check(self.backoff >= Duration::from_secs(1), "backoff", || "is less than a second");
        p.check(self.pause_after != Some(0), "pause_after", || "is 0, leave it out for never");
        for (field, limit) in
            [("starting_deadline", self.starting_deadline), ("max_run_time", self.max_run_time)]
        {
            p.check(limit.is_none_or(|limit| !limit.0.is_zero()), field, || "is 0, leave it out for none");
        }
        p.within("window", |p| self.window.validate(p));
        p.within("training", |p| self.training.validate(p));
        if let Some(gates) = &self.gates {
            p.within("gates", |p| gates.validate(p));
        }
        p.within("promotion", |p| self.promotion.validate(p));
        if let Some(health) = &self.health {
            p.within("health", |p| health.validate(p));
        }
        p.within("objective", |p| self.objective.validate(p));
        if let Some(retention) = &self.retention {
            p.within("retention", |p| retention.validate(p));
        }
    }
}

#[cfg(test)]
mod tests;
