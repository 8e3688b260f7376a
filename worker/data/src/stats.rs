//! What a dataset looks like, in numbers: for `muster data stats` and reports.
//!
//! Numbers are of all events, those that are held out too, unless they say otherwise. Memory: one partition, and a few counters
//! an item, user and week.

mod curve;
mod drift;
mod profile;
mod weeks;

use muster_proto::dataset::SplitCounts;
use serde::Serialize;

use crate::store::{Dataset, Error};

pub use curve::{AtLeast, TopShare};
pub use drift::{Distance, Drift, drift};
pub use weeks::Week;

use profile::Profile;

/// A dataset in numbers.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Stats {
    /// Name of the dataset.
    pub name: String,
    /// Number of users, of a series: sequences.
    pub users: u32,
    /// Number of items; 0 for a series.
    pub items: u32,
    /// Number of events, of a series: rows.
    pub events: u64,
    /// Share of all pairs of user and item that have an event, repeats counted; 0 for a series.
    pub density: f64,
    /// Quantiles of the number of events of a user.
    pub lengths: Quantiles,
    /// How users' numbers of events are spread, over powers of two.
    pub at_least: Vec<AtLeast>,
    /// How popular items are: what the top of them have of all events.
    pub popularity: Vec<TopShare>,
    /// Events of each type, the most frequent first; none where the log has no event types.
    pub event_types: Vec<(String, u64)>,
    /// Events of each hour of the day in UTC, `[24]`; none where the log has no times.
    pub hours: Option<Vec<u64>>,
    /// Events of each week that has any, and how many of them are of new items.
    pub weeks: Vec<Week>,
    /// Share of events that the tenth of items with the most training events have among training events.
    pub top_tenth_share: f64,
    /// First and last time in milliseconds since 1970, where the log has times.
    pub time_range: Option<(i64, i64)>,
    /// Events of each part of the split.
    pub splits: SplitCounts,
    /// Number of log partitions.
    pub partitions: u32,
    /// Users of the partition with the most, divided by the mean.
    pub partition_skew: f64,
    /// Size of all files in bytes, without the manifest.
    pub bytes: u64,
}

/// Quantiles: each is a value that occurs (the nearest rank).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Quantiles {
    /// The smallest value.
    pub min: u32,
    /// A quarter is at most this.
    pub p25: u32,
    /// Half are at most this.
    pub median: u32,
    /// Three quarters are at most this.
    pub p75: u32,
    /// 95 % are at most this.
    pub p95: u32,
    /// 99 % are at most this.
    pub p99: u32,
    /// The largest value.
    pub max: u32,
}

/// Reads all partitions, one at a time, and gives the numbers.
///
/// # Errors
/// A file is missing or damaged.
pub fn stats(dataset: &Dataset) -> Result<Stats, Error> {
    let manifest = dataset.manifest();
    let profile = Profile::of(dataset)?;
    let weeks = weeks::new_items(dataset, &profile)?;
    let mut counts = if manifest.items_file.is_some() { dataset.popularity()? } else { vec![] };
    counts.sort_unstable_by(|a, b| b.cmp(a));
    let top: u64 = counts.iter().take(counts.len().div_ceil(10)).sum();
    let pairs = f64::from(manifest.users) * f64::from(manifest.items);
    let most_users = manifest.partitions.iter().map(|partition| partition.users).max().unwrap_or(0);
    let mean_users = f64::from(manifest.users) / manifest.partitions.len().max(1) as f64;
    let files = manifest.vocabularies.iter().chain(&manifest.items_file).map(|file| file.bytes);
    Ok(Stats {
        name: manifest.name.clone(),
        users: manifest.users,
        items: manifest.items,
        events: manifest.events,
        density: ratio(manifest.events as f64, pairs),
        at_least: curve::at_least(&profile.lengths),
        popularity: curve::top_shares(&profile.items),
        event_types: profile.named_types(),
        hours: profile.hours.map(|hours| hours.to_vec()),
        weeks,
        lengths: quantiles(profile.lengths),
        top_tenth_share: ratio(top as f64, counts.iter().sum::<u64>() as f64),
        time_range: manifest.time_range,
        splits: manifest.splits,
        partitions: manifest.partitions.len() as u32,
        partition_skew: ratio(f64::from(most_users), mean_users),
        bytes: files.chain(manifest.partitions.iter().map(|partition| partition.bytes)).sum(),
    })
}

fn ratio(part: f64, whole: f64) -> f64 {
    if whole > 0.0 { part / whole } else { 0.0 }
}

fn quantiles(mut values: Vec<u32>) -> Quantiles {
    values.sort_unstable();
    let at = |percent: usize| match values.len() {
        0 => 0,
        len => values[(len * percent).div_ceil(100).clamp(1, len) - 1],
    };
    Quantiles { min: at(0), p25: at(25), median: at(50), p75: at(75), p95: at(95), p99: at(99), max: at(100) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_values_that_occur() {
        let found = quantiles((1..=100).rev().collect());
        assert_eq!((found.min, found.p25, found.median, found.p99, found.max), (1, 25, 50, 99, 100));
        assert_eq!(
            quantiles(vec![7]),
            Quantiles { min: 7, p25: 7, median: 7, p75: 7, p95: 7, p99: 7, max: 7 }
        );
        assert_eq!(quantiles(vec![]), Quantiles::default());
    }
}
