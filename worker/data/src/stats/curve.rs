//! How unevenly events are spread over items and users.

use serde::Serialize;

/// What the most popular items have of all events.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct TopShare {
    /// Share of the items, the most popular first, in 0..1.
    pub items: f64,
    /// Share of the events that they have, in 0..1.
    pub events: f64,
}

/// How many users have at least so many events.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct AtLeast {
    /// Number of events, a power of two.
    pub events: u32,
    /// Share of users with at least so many, in 0..1.
    pub users: f64,
}

/// Shares of items at which the curve of popularity is told.
const POINTS: [f64; 11] = [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 0.8, 1.0];

/// The curve of popularity; points that stand for the same number of items are told once.
pub(super) fn top_shares(counts: &[u64]) -> Vec<TopShare> {
    let mut sorted: Vec<u64> = counts.to_vec();
    sorted.sort_unstable_by(|a, b| b.cmp(a));
    let total: u64 = sorted.iter().sum();
    let mut curve: Vec<TopShare> = Vec::new();
    let (mut taken, mut sum) = (0, 0);
    for point in POINTS {
        let items = ((sorted.len() as f64 * point).round() as usize).min(sorted.len());
        if items <= taken || total == 0 {
            continue;
        }
        sum += sorted[taken..items].iter().sum::<u64>();
        taken = items;
        let events = sum as f64 / total as f64;
        curve.push(TopShare { items: items as f64 / sorted.len() as f64, events });
    }
    curve
}

/// Shares of users by powers of two, up to the longest.
pub(super) fn at_least(lengths: &[u32]) -> Vec<AtLeast> {
    let longest = lengths.iter().copied().max().unwrap_or(0);
    let powers = (0..32).map(|power| 1_u32 << power).take_while(|events| *events <= longest);
    powers
        .map(|events| {
            let users = lengths.iter().filter(|length| **length >= events).count();
            AtLeast { events, users: users as f64 / lengths.len() as f64 }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_top_of_the_items_is_told_where_it_is_at_least_one() {
        let curve = top_shares(&[1, 7, 1, 1]);
        let points: Vec<(f64, f64)> = curve.iter().map(|point| (point.items, point.events)).collect();
        assert_eq!(points, [(0.25, 0.7), (0.5, 0.8), (0.75, 0.9), (1.0, 1.0)]);
        assert!(top_shares(&[]).is_empty() && top_shares(&[0, 0]).is_empty());
    }

    #[test]
    fn users_are_counted_from_each_power_of_two_on() {
        let shares: Vec<(u32, f64)> =
            at_least(&[1, 2, 3, 9]).iter().map(|point| (point.events, point.users)).collect();
        assert_eq!(shares, [(1, 1.0), (2, 0.75), (4, 0.25), (8, 0.25)]);
        assert!(at_least(&[]).is_empty());
    }
}
