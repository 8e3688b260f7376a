//! Which rows of the logs are dropped, and in which order the rules apply.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::rules::{BotsSpec, RangeSpec};
use super::time::parse_iso8601;
use super::{ColumnKind, ColumnsSpec};
use crate::config::{Problems, unknown_name};
use crate::units::{self, ByteSize};

crate::documented! {
    /// Which rows are dropped. Rules apply in this order, each counted: row by row missing fields, invalid values,
    /// impossible times, ranges; then a user's repeated event ids, duplicates, near duplicates, bots; then k-core,
    /// latest events of a user, short sequences. Rows that the rules on single rows reject are listed in
    /// `quarantine.jsonl` in the dataset's folder.
    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    #[serde(default)]
    pub struct CleaningSpec {
        /// Values that stand for a missing one. A missing user, item or time drops the row; a missing feature is
        /// unknown (categorical) or 0 (numeric).
        pub missing: Vec<String>,
        /// Features (by the name they get) without which a row is dropped.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        pub required: Vec<String>,
        /// A value that cannot be read, a NaN or negative price, a label other than 0 and 1: `error` or `drop`.
        pub on_invalid: OnInvalid,
        /// Whether a file that is broken, torn or without a column ends the preparation; otherwise all of it is left
        /// out and named in the report, and the others count. A file that is not there always ends it.
        pub strict: bool,
        /// A value that is longer is invalid.
        pub max_field: ByteSize,
        /// A row that is longer is invalid, and no more of it than this is ever in memory; not for `parquet`.
        pub max_row: ByteSize,
        /// The most that `quarantine.jsonl` holds; further rows are counted only. `0 B`: no file.
        pub max_quarantine: ByteSize,
        /// Times before this are impossible.
        pub min_time: String,
        /// Times after this are impossible.
        pub max_time: String,
        /// `keep` all; `exact`: same user, item, time and event type; `consecutive`: same item twice in a row;
        /// `repeats`: each item once a user, the first stays.
        pub duplicates: Duplicates,
        /// An event is dropped that comes at most this long after one of the same user, item and event type that
        /// stays. `0s`: none.
        #[serde(with = "units::duration")]
        pub near_duplicates: Duration,
        /// Users with fewer events are dropped, items and users in turn until nothing changes.
        pub min_user_events: u32,
        /// Items with fewer events are dropped, items and users in turn until nothing changes.
        pub min_item_events: u32,
        /// Only a user's latest events are kept, this many.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub max_user_events: Option<u32>,
        /// More distinct items than this are an error, before memory runs out.
        pub max_items: u32,
        /// Bounds of numeric columns.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        pub ranges: Vec<RangeSpec>,
        /// Users that are no people.
        pub bots: BotsSpec,
    }
}

impl Default for CleaningSpec {
    fn default() -> Self {
        Self {
            missing: ["", "NA", "null", "NULL", "None"].map(str::to_owned).into(),
            required: vec![],
            on_invalid: OnInvalid::Error,
            strict: false,
            max_field: ByteSize::from_bytes(64 << 10),
            max_row: ByteSize::from_mib(16),
            max_quarantine: ByteSize::from_mib(64),
            min_time: "1970-01-01".into(),
            max_time: "2100-01-01".into(),
            duplicates: Duplicates::Exact,
            near_duplicates: Duration::ZERO,
            min_user_events: 1,
            min_item_events: 1,
            max_user_events: None,
            max_items: u32::MAX - 1,
            ranges: vec![],
            bots: BotsSpec::default(),
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

    pub(super) fn validate(&self, problems: &mut Problems, columns: &ColumnsSpec, is_series: bool) {
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
        problems.check(self.max_field.bytes() > 0, "max_field", || "would drop every row");
        let rows = 1 << 10..=1 << 30;
        problems.check(rows.contains(&self.max_row.bytes()), "max_row", || "is not in 1 KiB to 1 GiB");
        problems.check(self.max_field <= self.max_row, "max_field", || "is over max_row");
        for (idx, name) in self.required.iter().enumerate() {
            check_column(problems, &format!("required.{idx}"), name, columns, &[]);
        }
        for (idx, range) in self.ranges.iter().enumerate() {
            problems.within(&format!("ranges.{idx}"), |problems| {
                check_column(problems, "column", &range.column, columns, &[ColumnKind::Numeric]);
                range.validate(problems);
            });
        }
        let asks_time = |what: &str| format!("{what} asks for `columns.time`");
        let has_time = columns.time.is_some();
        let near = !self.near_duplicates.is_zero();
        problems.check(!near || has_time, "near_duplicates", || asks_time("a distance in time"));
        problems.check(!near || !is_series, "near_duplicates", || "a series has no items");
        problems.within("bots", |problems| self.bots.validate(problems, columns, is_series));
    }
}

/// A column that rules name is one of the features, by the name it gets; an empty list of kinds is any.
fn check_column(
    problems: &mut Problems,
    field: &str,
    name: &str,
    columns: &ColumnsSpec,
    kinds: &[ColumnKind],
) {
    let features = columns.features();
    let fits = |kind| kinds.is_empty() || kinds.contains(&kind);
    let known: Vec<&str> =
        features.iter().filter(|feature| fits(feature.kind)).map(|feature| feature.name.as_str()).collect();
    let is_known = known
        .iter()
        .any(|known| *known == name || known.strip_suffix('*').is_some_and(|start| name.starts_with(start)));
    let what = if kinds.is_empty() { "feature" } else { "numeric feature" };
    problems.check(is_known, field, || unknown_name(what, name, &known));
}
