//! Gates: what a candidate has to show before it takes the champion's place.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::capacity::DurationText;
use crate::config::Problems;
use crate::config::reference::{Section, section};
use crate::units::{self, ByteSize};

crate::documented! {
    /// What a candidate has to show before it takes the champion's place; what is left out is not asked. One whose metrics or
    /// parameters are not numbers is always stopped, as is one for which something that is asked was not measured.
    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    #[serde(deny_unknown_fields, default)]
    pub struct GatesSpec {
        /// The metric of single users that `relative` and `slices` compare, `NDCG@10` for instance; higher is better.
        pub metric: String,
        /// The least that the candidate may have on the holdout, by metric.
        #[serde(skip_serializing_if = "BTreeMap::is_empty")]
        pub at_least: BTreeMap<String, f64>,
        /// The most that the candidate may have on the holdout, by metric.
        #[serde(skip_serializing_if = "BTreeMap::is_empty")]
        pub at_most: BTreeMap<String, f64>,
        /// Against the champion, scored again on the same holdout.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub relative: Option<RelativeSpec>,
        /// Floors of parts of the holdout.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        pub slices: Vec<SliceSpec>,
        /// Whether the model looks like one.
        pub sanity: SanitySpec,
        /// What serving may cost.
        pub budget: BudgetSpec,
        /// A person has to agree.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub approval: Option<ApprovalSpec>,
        /// What is asked of the first model, which has no champion to be compared with: what `at_least` and `at_most` say
        /// (`"absolute"`; there must be something), a person (`"approval"`), or nothing more (`"pass"`).
        pub cold_start: ColdStart,
    }
}

crate::documented! {
    /// Against the champion on the same users: the mean of the differences, user by user, with a bootstrap bound.
    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    #[serde(deny_unknown_fields, default)]
    pub struct RelativeSpec {
        /// `"better"`: passes where the candidate is shown to be better by more than `margin`; `"not_worse"`: where it is
        /// shown not to be worse by `margin`.
        pub rule: Rule,
        /// In units of the metric; over 0 for `"not_worse"`.
        pub margin: f64,
        /// How often a candidate that does not meet the rule may pass: one that is equal or worse under `"better"`, one that is
        /// worse by `margin` under `"not_worse"`.
        pub level: f64,
        /// The true difference, in units of the metric, that is to pass with `power`: a holdout that has too few users for
        /// that stops the candidate and says how many it takes. Absent: any holdout of `min_users` will do, and the verdict
        /// says which difference it would have shown.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub effect: Option<f64>,
        /// How often a candidate with that difference is to pass.
        pub power: f64,
        /// With fewer users the candidate is stopped.
        pub min_users: u64,
        /// Resamples of the bootstrap.
        pub resamples: u32,
        /// Seed of the resamples.
        pub seed: u64,
    }
}

impl Default for RelativeSpec {
    fn default() -> Self {
        Self {
            rule: Rule::Better,
            margin: 0.0,
            level: 0.05,
            effect: None,
            power: 0.8,
            min_users: 1000,
            resamples: 2000,
            seed: 1,
        }
    }
}

/// What a relative gate wants to see.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rule {
    /// The candidate is better.
    #[default]
    Better,
    /// The candidate is not worse by more than the margin.
    NotWorse,
}

crate::documented! {
    /// A floor for each part of the holdout's users.
    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    #[serde(deny_unknown_fields)]
    pub struct SliceSpec {
        /// What users are told apart by: a column of the dataset (of the item that is asked for), `new_users` or `new_items`.
        pub by: String,
        /// The least mean of the metric that any part may have; absent: none.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub floor: Option<f64>,
        /// The largest share of the champion's mean that any part may lose; a part is stopped by it only where it is shown
        /// to lose more. Absent: any.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub max_drop: Option<f64>,
        /// How often a candidate that loses exactly `max_drop` everywhere may be stopped by chance, over all parts.
        #[serde(default = "default_level")]
        pub level: f64,
        /// Parts with fewer users are not judged; the verdict counts them.
        #[serde(default = "default_slice_users")]
        pub min_users: u64,
    }
}

crate::documented! {
    /// Whether the model looks like one. Metrics and parameters that are not numbers always stop it.
    #[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
    #[serde(deny_unknown_fields, default)]
    pub struct SanitySpec {
        /// The longest row of an embedding table, as a multiple of the champion's longest.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub max_norm_ratio: Option<f64>,
        /// The longest row of an embedding table.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub max_norm: Option<f64>,
        /// The least share of all items that is recommended to somebody of the holdout.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub min_coverage: Option<f64>,
        /// How far the mean novelty of what is recommended (bits, -log2 of an item's share of the events) may be from the
        /// champion's, either way.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub max_popularity_drift: Option<f64>,
    }
}

crate::documented! {
    /// What serving may cost.
    #[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
    #[serde(deny_unknown_fields, default)]
    pub struct BudgetSpec {
        /// The model's files.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub max_size: Option<ByteSize>,
        /// The time that 99 of 100 answers took at most, when the model was loaded and asked.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub max_latency: Option<DurationText>,
    }
}

crate::documented! {
    /// A person has to agree.
    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    #[serde(deny_unknown_fields, default)]
    pub struct ApprovalSpec {
        /// How long a person's word counts.
        #[serde(with = "units::duration")]
        pub expires: Duration,
        /// Whether each candidate needs it; otherwise only the first model, where `cold_start = "approval"`.
        pub always: bool,
    }
}

impl Default for ApprovalSpec {
    fn default() -> Self {
        Self { expires: Duration::from_secs(86_400), always: true }
    }
}

/// What is asked of a model that has no champion to be compared with.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ColdStart {
    /// The absolute gates decide, and there is one.
    #[default]
    Absolute,
    /// A person decides.
    Approval,
    /// Nothing is asked in place of the comparison.
    Pass,
}

impl Default for GatesSpec {
    fn default() -> Self {
        let (at_least, at_most, slices) = Default::default();
        Self {
            metric: "NDCG@10".to_owned(),
            at_least,
            at_most,
            relative: None,
            slices,
            sanity: SanitySpec::default(),
            budget: BudgetSpec::default(),
            approval: None,
            cold_start: ColdStart::default(),
        }
    }
}

fn default_level() -> f64 {
    0.05
}

fn default_slice_users() -> u64 {
    100
}

/// The tables of gates below `[gates]`, for a reference page.
pub(super) const SECTIONS: &[Section] = &[
    section::<GatesSpec>("gates"),
    section::<RelativeSpec>("gates.relative"),
    section::<SliceSpec>("gates.slices[]"),
    section::<SanitySpec>("gates.sanity"),
    section::<BudgetSpec>("gates.budget"),
    section::<ApprovalSpec>("gates.approval"),
];

impl GatesSpec {
    pub(super) fn validate(&self, p: &mut Problems) {
        p.check(!self.metric.is_empty(), "metric", || "is empty, name a metric, \"NDCG@10\" for instance");
        for (field, bounds) in [("at_least", &self.at_least), ("at_most", &self.at_most)] {
            for (metric, bound) in bounds {
                p.check(bound.is_finite(), &format!("{field}.{metric}"), || "must be a number");
            }
        }
        for (metric, least) in &self.at_least {
            let most = self.at_most.get(metric);
            p.check(most.is_none_or(|most| least <= most), &format!("at_least.{metric}"), || {
                format!("is over at_most.{metric}, so that no candidate could pass")
            });
        }
        if let Some(relative) = &self.relative {
            p.within("relative", |p| relative.validate(p));
        }
        for (idx, slice) in self.slices.iter().enumerate() {
            p.within(&format!("slices.{idx}"), |p| slice.validate(p));
        }
        p.within("sanity", |p| self.sanity.validate(p));
        let latency = self.budget.max_latency;
        p.check(latency.is_none_or(|most| !most.0.is_zero()), "budget.max_latency", || "is 0");
        p.check(self.budget.max_size.is_none_or(|most| most.bytes() > 0), "budget.max_size", || "is 0");
        if let Some(approval) = &self.approval {
            p.check(!approval.expires.is_zero(), "approval.expires", || "is 0, nobody could be in time");
        }
        self.validate_cold_start(p);
    }

    fn validate_cold_start(&self, p: &mut Problems) {
        let compares = self.relative.is_some() || self.slices.iter().any(|slice| slice.max_drop.is_some());
        let absolute = !self.at_least.is_empty() || !self.at_most.is_empty();
        match self.cold_start {
            ColdStart::Absolute => p.check(!compares || absolute, "cold_start", || {
                "is \"absolute\", but at_least and at_most are empty, so that nothing would be asked of the first model; \
                 set one, or say \"approval\" or \"pass\""
            }),
            ColdStart::Approval => p.check(
                self.approval.is_some(),
                "cold_start",
                || "is \"approval\", but there is no [gates.approval] that says how long a word counts",
            ),
            ColdStart::Pass => {}
        }
    }
}

impl RelativeSpec {
    fn validate(&self, p: &mut Problems) {
        p.check(self.margin >= 0.0 && self.margin.is_finite(), "margin", || "must be a number of at least 0");
        p.check(
            self.rule != Rule::NotWorse || self.margin > 0.0,
            "margin",
            || "must be over 0 where the rule is \"not_worse\": equality cannot be shown with any number of users",
        );
        p.check(self.level > 0.0 && self.level <= 0.5, "level", || "must be over 0 and at most 0.5");
        p.check((0.5..1.0).contains(&self.power), "power", || "must be at least 0.5 and below 1");
        let least = if self.rule == Rule::Better { self.margin } else { -self.margin };
        p.check(self.effect.is_none_or(|effect| effect > least && effect.is_finite()), "effect", || {
            format!("must be over {least}, since the rule does not want to pass less")
        });
        p.check(self.min_users >= 30, "min_users", || "must be at least 30, the bound is no bound below");
        let fewest = (10.0 / self.level).ceil();
        p.check(f64::from(self.resamples) >= fewest || self.level <= 0.0, "resamples", || {
            format!("must be at least {fewest}: of fewer, less than 10 lie beyond the bound")
        });
        p.check(self.resamples <= 100_000, "resamples", || "must be at most 100000");
    }
}

impl SliceSpec {
    fn validate(&self, p: &mut Problems) {
        p.check(!self.by.is_empty(), "by", || "is empty, name a column, \"new_users\" or \"new_items\"");
        p.check(
            self.floor.is_some() || self.max_drop.is_some(),
            "floor",
            || "is absent, and max_drop too: set one of them",
        );
        p.check(self.floor.is_none_or(f64::is_finite), "floor", || "must be a number");
        let is_share = |share: f64| (0.0..1.0).contains(&share);
        p.check(self.max_drop.is_none_or(is_share), "max_drop", || "must be at least 0 and below 1");
        p.check(self.level > 0.0 && self.level <= 0.5, "level", || "must be over 0 and at most 0.5");
        p.check(self.min_users >= 30, "min_users", || "must be at least 30, less says nothing of a part");
    }
}

impl SanitySpec {
    fn validate(&self, p: &mut Problems) {
        let positive = |value: f64| value > 0.0 && value.is_finite();
        for (field, value) in [
            ("max_norm_ratio", self.max_norm_ratio),
            ("max_norm", self.max_norm),
            ("max_popularity_drift", self.max_popularity_drift),
        ] {
            p.check(value.is_none_or(positive), field, || "must be a positive number");
        }
        let coverage = self.min_coverage;
        p.check(
            coverage.is_none_or(|share| (0.0..=1.0).contains(&share)),
            "min_coverage",
            || "must be between 0 and 1",
        );
    }
}
