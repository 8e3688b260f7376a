//! What happens when a candidate has passed its gates, and how the new champion is watched.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::capacity::DurationText;
use crate::config::Problems;
use crate::units;

crate::documented! {
    /// What happens when a candidate has passed: a hook is called, and if that went well the candidate becomes the champion.
    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    #[serde(deny_unknown_fields, default)]
    pub struct PromotionSpec {
        /// Whether a candidate that passed is promoted; otherwise it is kept as a version that a person may promote.
        pub automatic: bool,
        /// The hook that puts a model into service, by its name in the coordinator's own file; absent: none is called.
        /// All schedules of a model have the same: where one is changed, so are the others.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub hook: Option<String>,
        /// How often a hook that failed is called again.
        pub retries: u32,
        /// How long after a failure.
        #[serde(with = "units::duration")]
        pub backoff: Duration,
    }
}

impl Default for PromotionSpec {
    fn default() -> Self {
        Self { automatic: true, hook: None, retries: 2, backoff: Duration::from_secs(30) }
    }
}

crate::documented! {
    /// How a new champion is watched: a figure that the hook's owner reports back, such as a rate of clicks. Where it is too low the
    /// champion before it comes back, by the same hook.
    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    #[serde(deny_unknown_fields)]
    pub struct HealthSpec {
        /// The figure's name; higher is better.
        pub metric: String,
        /// For how long after the promotion.
        #[serde(with = "units::duration")]
        pub window: Duration,
        /// The least mean that it may have.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub at_least: Option<f64>,
        /// The largest share that it may lose against what was reported of the champion before it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub max_drop: Option<f64>,
        /// Reports are judged from so many samples on, before the window's end too.
        #[serde(default = "some_samples")]
        pub min_samples: u64,
        /// What becomes of the champion where fewer were reported by the end: `"keep"` it, or `"roll_back"`.
        #[serde(default)]
        pub missing: Missing,
    }
}

/// What becomes of a champion of which nothing is reported.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Missing {
    /// It stays.
    #[default]
    Keep,
    /// The one before it comes back.
    RollBack,
}

crate::documented! {
    /// What the schedule is to reach; nothing is done where it does not, but it shows.
    #[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
    #[serde(deny_unknown_fields, default)]
    pub struct ObjectiveSpec {
        /// How old the end of the champion's window may be.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub freshness: Option<DurationText>,
    }
}

fn some_samples() -> u64 {
    1000
}

impl PromotionSpec {
    pub(super) fn validate(&self, p: &mut Problems) {
        p.check(self.hook.as_deref() != Some(""), "hook", || "is empty, leave it out for none");
        p.check(self.retries <= 100, "retries", || "is more than 100");
        p.check(self.backoff >= Duration::from_secs(1), "backoff", || "is less than a second");
    }
}

impl HealthSpec {
    pub(super) fn validate(&self, p: &mut Problems) {
        p.check(!self.metric.is_empty(), "metric", || "is empty, name what the hook's owner reports");
        p.check(!self.window.is_zero(), "window", || "is 0, leave out [health] for no watch");
        p.check(self.min_samples > 0, "min_samples", || "is 0, take at least 1");
        p.check(
            self.at_least.is_some() || self.max_drop.is_some(),
            "at_least",
            || "nothing is asked of the figure: give `at_least`, or `max_drop`",
        );
        p.check(self.at_least.is_none_or(f64::is_finite), "at_least", || "is not a number");
        p.check(
            self.max_drop.is_none_or(|drop| (0.0..1.0).contains(&drop)),
            "max_drop",
            || "is a share, 0 or more and under 1",
        );
    }
}

impl ObjectiveSpec {
    pub(super) fn validate(&self, p: &mut Problems) {
        p.check(
            self.freshness.is_none_or(|age| !age.0.is_zero()),
            "freshness",
            || "is 0, leave it out for none",
        );
    }
}
