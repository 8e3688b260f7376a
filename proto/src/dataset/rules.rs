//! Rules of cleaning that have a table of their own: ranges of columns, and users that are no people.

use serde::{Deserialize, Serialize};

use super::{ColumnsSpec, TimeFormat};
use crate::config::Problems;

crate::documented! {
    /// Rows are dropped whose value of a numeric column is out of bounds; a missing value is in bounds.
    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    pub struct RangeSpec {
        /// The column, by the name it gets.
        pub column: String,
        /// The least value, before `log1p`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub min: Option<f64>,
        /// The greatest value, before `log1p`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub max: Option<f64>,
    }
}

impl RangeSpec {
    /// Whether the bounds hold `value`.
    #[must_use]
    pub fn holds(&self, value: f64) -> bool {
        self.min.is_none_or(|min| value >= min) && self.max.is_none_or(|max| value <= max)
    }

    pub(super) fn validate(&self, problems: &mut Problems) {
        let bounds = [self.min, self.max];
        problems.check(bounds.iter().any(Option::is_some), "min", || "neither min nor max is given");
        problems.check(!bounds.iter().flatten().any(|bound| bound.is_nan()), "min", || "is NaN");
        let is_empty = matches!(bounds, [Some(min), Some(max)] if min > max);
        problems.check(!is_empty, "max", || "is below min");
    }
}

crate::documented! {
    /// Users that are no people, by how fast and how much they act. The rates are looked at first, then the number.
    #[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
    #[serde(default)]
    pub struct BotsSpec {
        /// More events than this in any minute (a time and the 60 s before it, the first instant left out) are a bot's.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub max_per_minute: Option<u32>,
        /// More events than this in any hour, likewise.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub max_per_hour: Option<u32>,
        /// More events of a user than this are a bot's.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub max_events: Option<u32>,
        /// `drop`: all events of such a user; `cut`: of a rate, each event that would be over it, going forward in
        /// time; of the number, all but the latest.
        pub action: BotAction,
    }
}

/// What happens to the events of a bot.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BotAction {
    /// All are dropped.
    #[default]
    Drop,
    /// Those over the bound are dropped.
    Cut,
}

impl BotsSpec {
    /// The bounds of rates: the most events, and the milliseconds in which they may come.
    pub fn rates(&self) -> impl Iterator<Item = (u32, i64)> {
        let rates = [(self.max_per_minute, 60_000), (self.max_per_hour, 3_600_000)];
        rates.into_iter().filter_map(|(most, span)| most.map(|most| (most, span)))
    }

    /// Whether any bound is set.
    #[must_use]
    pub fn is_set(&self) -> bool {
        self.max_events.is_some() || self.rates().next().is_some()
    }

    pub(super) fn validate(&self, problems: &mut Problems, columns: &ColumnsSpec, is_series: bool) {
        let fields = [
            ("max_per_minute", self.max_per_minute, true),
            ("max_per_hour", self.max_per_hour, true),
            ("max_events", self.max_events, false),
        ];
        for (field, most, is_rate) in fields {
            problems.check(most != Some(0), field, || "would drop every event");
            let is_rate = is_rate && most.is_some();
            problems.check(!is_rate || columns.time.is_some(), field, || "a rate asks for `columns.time`");
            problems.check(
                !is_rate || columns.time_format != TimeFormat::Date,
                field,
                || "a rate asks for times of day, `columns.time_format` has days only",
            );
        }
        problems.check(!(is_series && self.is_set()), "max_events", || "a series has no users that act");
    }
}
