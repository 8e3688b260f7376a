//! Which columns of the input are read, and as what.

use serde::{Deserialize, Serialize};

use super::ColumnKind;
use crate::config::Problems;

crate::documented! {
    /// Which columns of the input are read, and as what. Without a header, columns are named 1, 2, 3 and so on.
    #[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
    #[serde(default)]
    pub struct ColumnsSpec {
        /// The user's key.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub user: Option<String>,
        /// The item's key.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub item: Option<String>,
        /// When it happened; without it, the order of the file is the order of events.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub time: Option<String>,
        /// How times are written: `seconds`, `millis` or `micros` since 1970, `unix_auto` (any of these, told apart by
        /// their size: under 1e11 seconds, under 1e14 milliseconds), `iso8601`, or `date`.
        pub time_format: TimeFormat,
        /// The session's key, for `group_by = "session"`.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub session: Option<String>,
        /// Type of the event (view, cart, buy); becomes the categorical column `event`.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub event: Option<String>,
        /// Category of the item in this event; becomes the categorical column `category`.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub category: Option<String>,
        /// The event's own id: of a user's events with the same one, in all files, the first in the log counts.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub event_id: Option<String>,
        /// Rating; becomes the numeric column `rating`.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub rating: Option<String>,
        /// Price, not negative; becomes the numeric column `price`.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub price: Option<String>,
        /// Whether the event is positive, 0 or 1; becomes the numeric column `label`.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub label: Option<String>,
        /// How long the user stayed, not negative; becomes the numeric column `dwell`.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub dwell: Option<String>,
        /// Target of a series; its last value is what the sequence is for.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub target: Option<String>,
        /// More categorical columns, under their own names; `name=column` gives a column another name.
        pub categorical: Vec<String>,
        /// More numeric columns, likewise; of a series, its inputs. `x*` takes all columns that start with x.
        pub numeric: Vec<String>,
        /// Numeric columns (by the name they get) that are replaced by ln(1 + value).
        pub log1p: Vec<String>,
    }
}

/// How times are written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TimeFormat {
    /// Seconds since 1970, whole or with a fraction.
    #[default]
    Seconds,
    /// Milliseconds since 1970.
    Millis,
    /// Microseconds since 1970.
    Micros,
    /// Seconds, milliseconds or microseconds since 1970, told apart by their size.
    UnixAuto,
    /// `2014-04-06T20:21:58.444Z`, also with a space, without seconds, or with an offset.
    #[serde(rename = "iso8601")]
    Iso8601,
    /// `2014-04-06`; events of one day keep the order of the file.
    Date,
}

/// A column of the events that becomes a feature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventFeature {
    /// Its name in the dataset.
    pub name: String,
    /// Its name in the input.
    pub input: String,
    /// What it holds.
    pub kind: ColumnKind,
}

/// The name in the dataset and the column of the input that `name=column`, or `column` alone, stand for.
#[must_use]
pub fn split_name(text: &str) -> (&str, &str) {
    text.split_once('=').unwrap_or((text, text))
}

impl ColumnsSpec {
    /// The features of events in their fixed order: roles first, then the further columns as listed.
    #[must_use]
    pub fn features(&self) -> Vec<EventFeature> {
        use ColumnKind::{Categorical, Numeric};
        let roles = [
            ("event", &self.event, Categorical),
            ("category", &self.category, Categorical),
            ("rating", &self.rating, Numeric),
            ("price", &self.price, Numeric),
            ("label", &self.label, Numeric),
            ("dwell", &self.dwell, Numeric),
        ];
        let of_roles = roles.into_iter().filter_map(|(name, input, kind)| {
            input.as_ref().map(|input| EventFeature { name: name.to_owned(), input: input.clone(), kind })
        });
        let own = |names: &[String], kind| {
            names
                .iter()
                .map(move |text| {
                    let (name, input) = split_name(text);
                    EventFeature { name: name.to_owned(), input: input.to_owned(), kind }
                })
                .collect::<Vec<_>>()
        };
        of_roles.chain(own(&self.categorical, Categorical)).chain(own(&self.numeric, Numeric)).collect()
    }

    pub(super) fn validate(&self, problems: &mut Problems) {
        let features = self.features();
        for (idx, name) in self.log1p.iter().enumerate() {
            let known =
                features.iter().any(|feature| feature.kind == ColumnKind::Numeric && feature.name == *name);
            problems.check(known, &format!("log1p.{idx}"), || format!("there is no numeric column `{name}`"));
        }
    }
}
