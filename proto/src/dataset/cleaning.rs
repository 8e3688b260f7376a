//! Which rows of the logs are dropped, and in which order the rules apply.

use serde::{Deserialize, Serialize};

use super::time::parse_iso8601;
use crate::config::Problems;

crate::documented! {
    /// Which rows are dropped. Rules apply in this order, each counted: missing fields, invalid values, impossible
    /// times, duplicates, k-core, latest events of a user, short sequences.
    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    #[serde(default)]
    pub struct CleaningSpec {
        /// Values that stand for a missing one. A missing user, item or time drops the row; a missing feature is
        /// unknown (categorical) or 0 (numeric).
        pub missing: Vec<String>,
        /// A value that cannot be read, a NaN or negative price, a label other than 0 and 1: `error` or `drop`.
        pub on_invalid: OnInvalid,
        /// Times before this are impossible.
        pub min_time: String,
        /// Times after this are impossible.
        pub max_time: String,
        /// `keep` all; `exact`: same user, item, time and event type; `consecutive`: same item twice in a row;
        /// `repeats`: each item once a user, the first stays.
        pub duplicates: Duplicates,
        /// Users with fewer events are dropped, items and users in turn until nothing changes.
        pub min_user_events: u32,
        /// Items with fewer events are dropped, items and users in turn until nothing changes.
        pub min_item_events: u32,
        /// Only a user's latest events are kept, this many.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub max_user_events: Option<u32>,
        /// More distinct items than this are an error, before memory runs out.
        pub max_items: u32,
    }
}

impl Default for CleaningSpec {
    fn default() -> Self {
        Self {
            missing: ["", "NA", "null", "NULL", "None"].map(str::to_owned).into(),
            on_invalid: OnInvalid::Error,
            min_time: "1970-01-01".into(),
            max_time: "2100-01-01".into(),
            duplicates: Duplicates::Exact,
            min_user_events: 1,
            min_item_events: 1,
            max_user_events: None,
            max_items: u32::MAX - 1,
        }
    }
}

/// What happens to a value that cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnInvalid {
    /// Preparation stops and names the file, the line and the column.
    Error,
    /// The row is dropped and counted.
    Drop,
}

/// Which events count as duplicates of an earlier one of the same user.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Duplicates {
    /// None.
    Keep,
    /// Same item, time and event type.
    Exact,
    /// Same item as the event just before it.
    Consecutive,
    /// Same item as any event before it.
    Repeats,
}

impl CleaningSpec {
    /// The bounds of possible times in milliseconds since 1970, both included.
    #[must_use]
    pub fn time_bounds(&self) -> (i64, i64) {
        (parse_iso8601(&self.min_time).unwrap_or(i64::MIN), parse_iso8601(&self.max_time).unwrap_or(i64::MAX))
    }

    pub(super) fn validate(&self, problems: &mut Problems) {
        for (field, text) in [("min_time", &self.min_time), ("max_time", &self.max_time)] {
            problems.check(parse_iso8601(text).is_some(), field, || {
                format!("`{text}` is not a date or time such as \"2014-04-06\" or \"2014-04-06T20:21:58Z\"")
            });
        }
        let (min, max) = self.time_bounds();
        problems.check(min <= max, "max_time", || "is before min_time");
        problems.check(self.max_user_events != Some(0), "max_user_events", || "would drop every event");
        problems.check(self.max_items > 0 && self.max_items < u32::MAX, "max_items", || {
            format!("{} is not in 1..{}", self.max_items, u32::MAX)
        });
    }
}
