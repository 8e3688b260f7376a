//! Week by week: how many events there are, and how many are of items that nothing before tells of.
//!
//! Weeks begin on Monday at midnight UTC.

use std::collections::BTreeMap;

use muster_proto::dataset::time::format_iso8601;
use serde::Serialize;

use super::profile::Profile;
use crate::store::{Dataset, Error};

const DAY_MS: i64 = 86_400_000;

/// A week that has events.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Week {
    /// Its Monday, as `2014-04-07`.
    pub monday: String,
    /// Its events.
    pub events: u64,
    /// How many of them are of unknown items: items of no earlier week, or, of two datasets, items that the other lacks. Items
    /// that share one id, for being rare, are unknown too.
    pub unknown: u64,
}

impl Week {
    /// Share of the events that are of unknown items, in 0..1.
    #[must_use]
    pub fn unknown_share(&self) -> f64 {
        if self.events == 0 { 0.0 } else { self.unknown as f64 / self.events as f64 }
    }
}

/// The number of a week since that of 1970-01-01, a Thursday.
pub(super) fn week_of(time: i64) -> i64 {
    (time.div_euclid(DAY_MS) + 3).div_euclid(7)
}

/// The weeks with events, and of each those for which `is_unknown(item, week)`.
pub(super) fn by_week(dataset: &Dataset, is_unknown: impl Fn(u32, i64) -> bool) -> Result<Vec<Week>, Error> {
    let manifest = dataset.manifest();
    let mut weeks: BTreeMap<i64, (u64, u64)> = BTreeMap::new();
    if manifest.time_range.is_none() {
        return Ok(vec![]);
    }
    for index in 0..manifest.partitions.len() as u32 {
        let partition = dataset.load(index)?;
        for (time, item) in partition.times.iter().zip(&partition.items) {
            let week = week_of(*time);
            let counts = weeks.entry(week).or_default();
            counts.0 += 1;
            let shares_an_id = manifest.unknown_item && *item == 0;
            counts.1 += u64::from(shares_an_id || is_unknown(*item, week));
        }
    }
    let told = |(week, (events, unknown)): (i64, (u64, u64))| {
        let monday: String = format_iso8601((week * 7 - 3) * DAY_MS).chars().take(10).collect();
        Week { monday, events, unknown }
    };
    Ok(weeks.into_iter().map(told).collect())
}

/// The weeks with events, and of each those of items that no earlier week has.
pub(super) fn new_items(dataset: &Dataset, profile: &Profile) -> Result<Vec<Week>, Error> {
    by_week(dataset, |item, week| profile.first_week[item as usize] == week)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weeks_begin_on_monday() {
        // 1969-12-29 and 1970-01-05 are Mondays.
        assert_eq!(week_of(-3 * DAY_MS), 0);
        assert_eq!(week_of(-3 * DAY_MS - 1), -1);
        assert_eq!((week_of(4 * DAY_MS - 1), week_of(4 * DAY_MS)), (0, 1));
    }
}
