//! A span of time that a dataset is about.

use std::fmt;

use muster_proto::dataset::time::format_iso8601_exact;

/// A span of time, its end not included; either end may be open.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Window {
    /// Its first millisecond since 1970.
    pub from: Option<i64>,
    /// The first millisecond after it.
    pub until: Option<i64>,
}

impl Window {
    /// Whether a time, in milliseconds since 1970, is in it.
    #[must_use]
    pub fn holds(&self, time: i64) -> bool {
        self.from.is_none_or(|from| time >= from) && self.until.is_none_or(|until| time < until)
    }

    /// Whether there may be times in it of those from `first` to `last`.
    pub(super) fn meets(&self, (first, last): (i64, i64)) -> bool {
        self.from.is_none_or(|from| last >= from) && self.until.is_none_or(|until| first < until)
    }
}

impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let end = |time: Option<i64>| time.map(format_iso8601_exact).unwrap_or_default();
        write!(f, "{}..{}", end(self.from), end(self.until))
    }
}
