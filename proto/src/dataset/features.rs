//! Columns that are derived from the cleaned log, from what came before an event alone.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{ColumnKind, ColumnsSpec, TimeFormat};
use crate::config::Problems;
use crate::units;

crate::documented! {
    /// Columns that are derived from the cleaned log; jobs name them like any other. None looks at what comes after the
    /// event, and what is learned from the log (quantiles) is learned from training events alone.
    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    #[serde(default)]
    pub struct FeaturesSpec {
        /// Which. Categorical: `time_gap` (whole part of log2(1 + seconds since the user's event before), unknown for
        /// the first), `hour` and `weekday` (UTC, Monday first), `price_bucket`. Numeric: `user_clicks`, `user_buys`,
        /// `item_clicks`, `item_buys` (ln(1 + such events of the user, of the item by anyone, at earlier times)),
        /// `session` (number of the user's session, from 1). Of `group_by = "session"`, a session is the user.
        pub derive: Vec<Derived>,
        /// Types of events that count as clicks; without `columns.event` all events do.
        pub click_events: Vec<String>,
        /// Types of events that count as buys.
        pub buy_events: Vec<String>,
        /// Number of price buckets: equal shares of the training events whose price is known and not 0.
        pub price_buckets: u32,
        /// A user who does nothing for longer begins a new session.
        #[serde(with = "units::duration")]
        pub session_gap: Duration,
    }
}

impl Default for FeaturesSpec {
    fn default() -> Self {
        Self {
            derive: vec![],
            click_events: ["click", "view"].map(str::to_owned).into(),
            buy_events: ["buy", "purchase", "transaction"].map(str::to_owned).into(),
            price_buckets: 10,
            session_gap: Duration::from_secs(1800),
        }
    }
}

/// A column that is derived from the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Derived {
    /// Logarithm of the time since the user's event before.
    TimeGap,
    /// Hour of the day, UTC.
    Hour,
    /// Day of the week, UTC.
    Weekday,
    /// Which share of the training prices the price falls into.
    PriceBucket,
    /// The user's clicks at earlier times.
    UserClicks,
    /// The user's buys at earlier times.
    UserBuys,
    /// The item's clicks at earlier times, by anyone.
    ItemClicks,
    /// The item's buys at earlier times, by anyone.
    ItemBuys,
    /// Number of the user's session.
    Session,
}

impl Derived {
    /// The column's name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::TimeGap => "time_gap",
            Self::Hour => "hour",
            Self::Weekday => "weekday",
            Self::PriceBucket => "price_bucket",
            Self::UserClicks => "user_clicks",
            Self::UserBuys => "user_buys",
            Self::ItemClicks => "item_clicks",
            Self::ItemBuys => "item_buys",
            Self::Session => "session",
        }
    }

    /// What it holds.
    #[must_use]
    pub fn kind(self) -> ColumnKind {
        match self {
            Self::TimeGap | Self::Hour | Self::Weekday | Self::PriceBucket => ColumnKind::Categorical,
            _ => ColumnKind::Numeric,
        }
    }

    /// Whether it counts an item's events over all users.
    #[must_use]
    pub fn is_of_items(self) -> bool {
        matches!(self, Self::ItemClicks | Self::ItemBuys)
    }
}

impl FeaturesSpec {
    /// The derived columns of one kind, in the order in which they are listed.
    pub fn of_kind(&self, kind: ColumnKind) -> impl Iterator<Item = Derived> {
        self.derive.iter().copied().filter(move |derived| derived.kind() == kind)
    }

    pub(super) fn validate(&self, problems: &mut Problems, columns: &ColumnsSpec, is_series: bool) {
        problems.check(!is_series || self.derive.is_empty(), "derive", || "a series has no derived columns");
        for (idx, derived) in self.derive.iter().enumerate() {
            let (field, name) = (format!("derive.{idx}"), derived.name());
            let is_price = *derived == Derived::PriceBucket;
            problems.check(is_price || columns.time.is_some(), &field, || {
                format!("`{name}` asks for `columns.time`")
            });
            problems.check(!is_price || columns.price.is_some(), &field, || {
                format!("`{name}` asks for `columns.price`")
            });
            let is_buys = matches!(derived, Derived::UserBuys | Derived::ItemBuys);
            problems.check(!is_buys || columns.event.is_some(), &field, || {
                format!("`{name}` asks for `columns.event`")
            });
            let in_a_day = matches!(derived, Derived::Hour | Derived::Session);
            problems.check(!in_a_day || columns.time_format != TimeFormat::Date, &field, || {
                format!("`{name}` asks for times of day, `columns.time_format` has days only")
            });
        }
        problems.check((2..=1024).contains(&self.price_buckets), "price_buckets", || {
            format!("{} is not in 2..=1024", self.price_buckets)
        });
        problems.check(!self.session_gap.is_zero(), "session_gap", || "would make each event a session");
        for (field, values) in [("click_events", &self.click_events), ("buy_events", &self.buy_events)] {
            problems.check(!values.is_empty(), field, || "names no type of event");
        }
    }
}
