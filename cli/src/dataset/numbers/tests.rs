//! What people read of a dataset.

use muster_data::stats::{AtLeast, Quantiles, TopShare};
use muster_proto::dataset::SplitCounts;

use super::*;

fn week(monday: &str, events: u64, unknown: u64) -> Week {
    Week { monday: monday.to_owned(), events, unknown }
}

fn stats() -> Stats {
    Stats {
        name: "shop".to_owned(),
        users: 1200,
        items: 300,
        events: 45_678,
        density: 0.126_883,
        lengths: Quantiles { min: 1, p25: 4, median: 17, p75: 60, p95: 140, p99: 300, max: 812 },
        at_least: vec![AtLeast { events: 1, users: 1.0 }, AtLeast { events: 2, users: 0.75 }],
        popularity: vec![TopShare { items: 0.01, events: 0.2 }, TopShare { items: 1.0, events: 1.0 }],
        event_types: vec![("view".to_owned(), 45_000), ("buy".to_owned(), 678)],
        hours: Some(vec![1903; 24]),
        weeks: (1..=14).map(|day| week(&format!("2026-01-{day:02}"), 3000 + day, 30 * day)).collect(),
        top_tenth_share: 0.512,
        time_range: Some((1_700_000_000_000, 1_708_000_000_000)),
        splits: SplitCounts { train: 43_278, valid: 1200, test: 1200 },
        partitions: 64,
        partition_skew: 1.31,
        bytes: 1_234_567,
    }
}

fn drift() -> Drift {
    let distance = |psi, jensen_shannon| Some(Distance { psi, jensen_shannon });
    Drift {
        against: "last week".to_owned(),
        popularity: distance(0.271_828, 0.062_5),
        event_types: distance(0.001, 0.000_2),
        hours: None,
        unknown_items: 0.125,
        unknown_events: 0.031,
        weeks: vec![week("2026-01-05", 3000, 93)],
        their_event_types: vec![("view".to_owned(), 9)],
        their_hours: None,
    }
}

#[test]
fn the_table_of_a_dataset() {
    insta::assert_snapshot!(Numbers { stats: stats(), drift: None }.text());
}

#[test]
fn the_table_of_a_dataset_against_another() {
    insta::assert_snapshot!(Numbers { stats: stats(), drift: Some(drift()) }.text());
}
