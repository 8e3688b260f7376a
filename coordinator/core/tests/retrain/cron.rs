//! Patterns, and the days on which clocks are changed.

use muster_core::retrain::Cron;
use proptest::prelude::*;

use super::at;

fn fires(pattern: &str, zone: &str, after: &str, count: usize) -> Vec<String> {
    let cron = Cron::new(pattern, zone).unwrap();
    let mut from = at(after);
    let mut next = || {
        from = cron.after(from).unwrap();
        from.to_string()
    };
    (0..count).map(|_| next()).collect()
}

#[test]
fn a_time_of_day_that_spring_leaves_out_fires_at_the_first_moment_after() {
    // On 2027-03-28 clocks in Berlin go from 02:00 to 03:00.
    assert_eq!(
        fires("30 2 * * *", "Europe/Berlin", "2027-03-27T00:00:00Z", 3),
        ["2027-03-27T01:30:00Z", "2027-03-28T01:00:00Z", "2027-03-29T00:30:00Z"]
    );
}

#[test]
fn a_time_of_day_that_comes_twice_in_autumn_fires_the_first_time() {
    // On 2026-10-25 clocks in Berlin go from 03:00 back to 02:00.
    assert_eq!(
        fires("30 2 * * *", "Europe/Berlin", "2026-10-24T12:00:00Z", 2),
        ["2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"]
    );
}

#[test]
fn every_hour_is_every_hour_that_the_clock_shows() {
    assert_eq!(
        fires("0 * * * *", "Europe/Berlin", "2027-03-28T00:00:00Z", 3),
        ["2027-03-28T01:00:00Z", "2027-03-28T02:00:00Z", "2027-03-28T03:00:00Z"]
    );
    assert_eq!(
        fires("0 * * * *", "Europe/Berlin", "2026-10-24T23:30:00Z", 4),
        ["2026-10-25T00:00:00Z", "2026-10-25T01:00:00Z", "2026-10-25T02:00:00Z", "2026-10-25T03:00:00Z"]
    );
}

#[test]
fn a_leap_day_fires_in_leap_years() {
    assert_eq!(
        fires("0 3 29 2 *", "UTC", "2026-01-01T00:00:00Z", 2),
        ["2028-02-29T03:00:00Z", "2032-02-29T03:00:00Z"]
    );
}

#[test]
fn what_is_no_pattern_or_no_zone_is_refused_in_words() {
    let refused = |pattern: &str, zone: &str| Cron::new(pattern, zone).unwrap_err().to_string();
    for broken in ["61 * * * *", "* * *", "every day", "0 0 32 * *", "0 0 * * * *", ""] {
        let words = refused(broken, "UTC");
        assert!(words.contains(&format!("`{broken}`")) && words.contains("30 2 * * MON-FRI"), "{words}");
    }
    assert!(refused("0 0 30 2 *", "UTC").contains("never fires"));
    let unknown = refused("0 0 * * *", "Europe/Berln");
    assert!(unknown.contains("Europe/Berlin"), "{unknown}");
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn fires_are_the_same_read_forwards_and_backwards(
        minute in 0..60_u32, hour in 0..24_u32, steps in prop::option::of(1..40_u32), begin in 0..700_000_i64,
        zone in prop::sample::select(vec!["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata"]),
    ) {
        let pattern = match steps {
            Some(steps) => format!("*/{steps} {hour} * * *"),
            None => format!("{minute} {hour} * * *"),
        };
        let cron = Cron::new(&pattern, zone).unwrap();
        let from = at("2026-01-01T00:00:00Z") + jiff::SignedDuration::from_secs(begin * 97);
        let until = from + jiff::SignedDuration::from_hours(24 * 5);
        let mut forwards = Vec::new();
        let mut next = cron.after(from);
        while let Some(fire) = next.filter(|fire| *fire <= until) {
            forwards.push(fire);
            next = cron.after(fire);
        }
        let (backwards, more) = cron.between(from, until, 4096);
        prop_assert!(!more);
        prop_assert_eq!(forwards, backwards);
    }
}
