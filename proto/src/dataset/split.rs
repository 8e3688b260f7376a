//! What is held out for validation and test, and which items get an id of their own.

use serde::{Deserialize, Serialize};

use super::time::parse_iso8601;
use crate::config::Problems;

crate::documented! {
    /// What is held out for validation and test.
    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    #[serde(default)]
    pub struct SplitSpec {
        /// `leave_one_out` (events): a sequence's last event is test, the one before it validation.
        /// `time` (events): training ends at `valid_from`; a sequence's first event from then on, and before
        /// `test_from`, is validation, its first event from `test_from` on is test, each after the events before it.
        /// `holdout` (series): whole sequences are held out, by a hash of their key.
        pub kind: SplitKind,
        /// Share of sequences (`holdout`), or of events in the order of time (`time` without dates), for validation.
        pub valid: f64,
        /// Share of sequences, or of events, for test.
        pub test: f64,
        /// Where validation begins, a date or time; `time` only, with `test_from`.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub valid_from: Option<String>,
        /// Where test begins.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub test_from: Option<String>,
    }
}

impl Default for SplitSpec {
    fn default() -> Self {
        Self { kind: SplitKind::LeaveOneOut, valid: 0.1, test: 0.1, valid_from: None, test_from: None }
    }
}

/// How events are held out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SplitKind {
    /// The last event is test, the one before it validation, where there are three or more.
    LeaveOneOut,
    /// Whole sequences are held out.
    Holdout,
    /// Training ends at a time that is the same for all.
    Time,
}

impl SplitSpec {
    /// Where validation and test begin, in milliseconds since 1970; none where no dates are given.
    #[must_use]
    pub fn boundaries(&self) -> Option<(i64, i64)> {
        let [valid, test] = [&self.valid_from, &self.test_from].map(|text| parse_iso8601(text.as_deref()?));
        valid.zip(test)
    }

    pub(super) fn validate(&self, problems: &mut Problems, is_series: bool, has_time: bool) {
        let shares = [self.valid, self.test];
        problems.check(
            shares.iter().all(|share| (0.0..1.0).contains(share)),
            "valid",
            || "shares are 0 or more and under 1",
        );
        problems.check(shares.iter().sum::<f64>() < 1.0, "test", || "nothing is left to train on");
        problems.check(
            is_series == (self.kind == SplitKind::Holdout),
            "kind",
            || "`series` takes `holdout`, `events` take `leave_one_out` or `time`",
        );
        let is_time = self.kind == SplitKind::Time;
        problems.check(!is_time || has_time, "kind", || "`time` asks for `columns.time`");
        for (field, text) in [("valid_from", &self.valid_from), ("test_from", &self.test_from)] {
            let Some(text) = text else { continue };
            problems.check(is_time, field, || "is for `kind = \"time\"` only");
            problems.check(parse_iso8601(text).is_some(), field, || {
                format!("`{text}` is not a date or time such as \"2014-04-06\" or \"2014-04-06T20:21:58Z\"")
            });
        }
        match (&self.valid_from, &self.test_from) {
            (Some(_), None) => problems.push("test_from", "is required beside valid_from"),
            (None, Some(_)) => problems.push("valid_from", "is required beside test_from"),
            _ => {}
        }
        let is_ordered = self.boundaries().is_none_or(|(valid, test)| valid <= test);
        problems.check(is_ordered, "test_from", || "is before valid_from");
    }
}

crate::documented! {
    /// Which items get an id of their own.
    #[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
    #[serde(default)]
    pub struct VocabularySpec {
        /// Items with fewer training events share id 0, the unknown item, whose key is empty; it is never what is to be
        /// predicted in validation and test. 0: each item has its own id, and there is no unknown one.
        pub min_train_events: u32,
    }
}
