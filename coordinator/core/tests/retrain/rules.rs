//! Concurrency, misfires, deadlines, retries and pauses, each by an example.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use muster_core::retrain::{Backfill, Cron, Decision, Known, Outcome, Reprocess, RunId, Runs};

use super::{at, schedule};

const DAILY: &str = "cron = \"0 2 * * *\"\n";

/// What was decided, in short.
fn told(decisions: &[Decision]) -> Vec<String> {
    let day = |time: &Timestamp| time.strftime("%d").to_string();
    let tell = |decision: &Decision| match decision {
        Decision::Start(attempt) => format!("start {} try {}", day(&attempt.logical), attempt.attempt),
        Decision::Queue { logical } => format!("queue {}", day(logical)),
        Decision::Skip { logical, reason } => format!("skip {}: {reason}", day(logical)),
        Decision::Forget { .. } => "forget".to_owned(),
        Decision::Cancel { timed_out, .. } => format!("cancel {timed_out}"),
        Decision::Retry(attempt) => format!("retry {} at {}", attempt.attempt, attempt.at),
        Decision::Pause { failures } => format!("pause after {failures}"),
    };
    decisions.iter().map(tell).collect()
}

fn begun() -> Runs {
    Runs::new(at("2026-06-01T00:00:00Z"))
}

fn run_of(day: &str, attempt: u32) -> RunId {
    RunId::new("nightly", at(&format!("2026-06-{day}T02:00:00Z")), attempt)
}

#[test]
fn a_fire_starts_one_run_and_looking_again_or_setting_the_clock_back_starts_none() {
    let (schedule, mut runs) = (schedule(DAILY), begun());
    assert_eq!(told(&schedule.decide(&mut runs, at("2026-06-01T01:59:59Z"))), [""; 0]);
    assert_eq!(told(&schedule.decide(&mut runs, at("2026-06-01T02:00:00Z"))), ["start 01 try 1"]);
    for later in ["2026-06-01T02:00:00Z", "2026-06-01T01:00:00Z", "2026-06-01T02:00:30Z"] {
        assert_eq!(told(&schedule.decide(&mut runs, at(later))), [""; 0]);
    }
}

#[test]
fn each_concurrency_rule_does_what_it_says() {
    let cases = [
        ("\"allow\"", vec!["start 02 try 1", "start 03 try 1"]),
        ("\"forbid\"", vec!["skip 02: run RUN was still at work", "skip 03: run RUN was still at work"]),
        ("\"replace\"", vec!["cancel false", "start 02 try 1", "cancel false", "start 03 try 1"]),
        ("{ queue = 1 }", vec!["queue 02", "skip 03: as many as may wait were waiting"]),
        ("\"last_only\"", vec!["queue 02", "skip 02: a later one waits in its place", "queue 03"]),
    ];
    for (rule, expected) in cases {
        let schedule = schedule(&format!("{DAILY}concurrency = {rule}\n"));
        let mut runs = begun();
        schedule.decide(&mut runs, at("2026-06-01T02:00:00Z"));
        let mut decisions = schedule.decide(&mut runs, at("2026-06-02T02:00:00Z"));
        decisions.extend(schedule.decide(&mut runs, at("2026-06-03T02:00:00Z")));
        let run = run_of("01", 1).to_string();
        let expected: Vec<String> = expected.iter().map(|line| line.replace("RUN", &run)).collect();
        assert_eq!(told(&decisions), expected, "{rule}");
    }
}

#[test]
fn what_waits_starts_when_the_run_before_it_has_ended() {
    let schedule = schedule(&format!("{DAILY}concurrency = {{ queue = 2 }}\n"));
    let mut runs = begun();
    for day in ["01", "02", "03"] {
        schedule.decide(&mut runs, at(&format!("2026-06-{day}T02:00:00Z")));
    }
    let now = at("2026-06-03T09:00:00Z");
    let mut ended = |day| told(&schedule.ended(&mut runs, &run_of(day, 1), Outcome::Succeeded, now));
    assert_eq!(ended("01"), ["start 02 try 1"]);
    assert_eq!(ended("01"), [""; 0], "it has ended before");
    assert_eq!(ended("02"), ["start 03 try 1"]);
}

#[test]
fn after_200_missed_fires_a_resumed_schedule_does_what_its_misfire_rule_says() {
    let cases = [("\"skip\"", 200, 0), ("\"run_last\"", 199, 1), ("{ catch_up = 5 }", 195, 5)];
    for (rule, skipped, started) in cases {
        let schedule =
            schedule(&format!("cron = \"0 * * * *\"\nmisfire = {rule}\nconcurrency = \"allow\"\n"));
        let mut runs = begun();
        runs.paused = true;
        let now = runs.considered + SignedDuration::from_hours(200) + SignedDuration::from_mins(30);
        assert_eq!(schedule.decide(&mut runs, now), []);
        runs.paused = false;
        let decisions = schedule.decide(&mut runs, now);
        let starts = decisions.iter().filter(|decision| matches!(decision, Decision::Start(_))).count();
        assert_eq!((decisions.len() - starts, starts), (skipped, started), "{rule}");
        assert_eq!(schedule.decide(&mut runs, now), [], "{rule}");
    }
}

#[test]
fn on_time_fires_run_beside_missed_ones_that_are_passed_over() {
    let schedule = schedule("cron = \"*/10 * * * *\"\n");
    let mut runs = begun();
    let decisions = schedule.decide(&mut runs, at("2026-06-01T00:30:20Z"));
    assert_eq!(decisions.len(), 3);
    assert!(
        matches!(&decisions[2], Decision::Start(attempt) if attempt.logical == at("2026-06-01T00:30:00Z"))
    );
}

#[test]
fn a_starting_deadline_goes_before_the_misfire_rule() {
    let schedule = schedule(&format!("{DAILY}starting_deadline = \"1h\"\nmisfire = {{ catch_up = 9 }}\n"));
    let mut runs = begun();
    let decisions = schedule.decide(&mut runs, at("2026-06-03T02:30:00Z"));
    let late = "it could not start within its starting deadline";
    assert_eq!(
        told(&decisions),
        [format!("skip 01: {late}"), format!("skip 02: {late}"), "start 03 try 1".into()]
    );
}

#[test]
fn a_minutely_schedule_that_nobody_looked_at_for_a_year_forgets_what_is_too_long_ago() {
    let schedule = schedule("cron = \"* * * * *\"\n");
    let mut runs = begun();
    let decisions = schedule.decide(&mut runs, at("2027-06-01T00:00:30Z"));
    assert!(matches!(decisions[0], Decision::Forget { .. }), "{:?}", decisions[0]);
    assert!(decisions.len() < 5000);
    assert_eq!(decisions.iter().filter(|decision| matches!(decision, Decision::Start(_))).count(), 1);
    assert_eq!(runs.considered, at("2027-06-01T00:00:00Z"));
}

#[test]
fn a_failed_run_is_tried_again_ever_later_and_the_schedule_pauses_after_enough() {
    let text = format!("{DAILY}retries = 2\nbackoff = \"10m\"\npause_after = 2\nconcurrency = \"forbid\"\n");
    let (schedule, mut runs) = (schedule(&text), begun());
    schedule.decide(&mut runs, at("2026-06-01T02:00:00Z"));
    let fail = |runs: &mut Runs, attempt, now| {
        told(&schedule.ended(runs, &run_of("01", attempt), Outcome::Failed, at(now)))
    };
    assert_eq!(fail(&mut runs, 1, "2026-06-01T03:00:00Z"), ["retry 2 at 2026-06-01T03:10:00Z"]);
    assert_eq!(told(&schedule.decide(&mut runs, at("2026-06-01T03:10:00Z"))), ["start 01 try 2"]);
    assert_eq!(fail(&mut runs, 2, "2026-06-01T04:00:00Z"), ["retry 3 at 2026-06-01T04:20:00Z"]);
    assert_eq!(told(&schedule.decide(&mut runs, at("2026-06-01T04:30:00Z"))), ["start 01 try 3"]);
    assert_eq!(fail(&mut runs, 3, "2026-06-01T05:00:00Z"), [""; 0]);
    schedule.decide(&mut runs, at("2026-06-02T02:00:00Z"));
    for (attempt, hour) in [(1, "03"), (2, "05"), (3, "08")] {
        let now = at(&format!("2026-06-02T{hour}:00:00Z"));
        schedule.decide(&mut runs, now);
        let told = told(&schedule.ended(&mut runs, &run_of("02", attempt), Outcome::Failed, now));
        assert_eq!(told.contains(&"pause after 2".to_owned()), attempt == 3, "{told:?}");
    }
    assert_eq!(schedule.decide(&mut runs, at("2026-06-09T02:00:00Z")), []);
}

#[test]
fn a_run_that_takes_too_long_is_cancelled_and_counts_as_failed() {
    let (schedule, mut runs) = (schedule(&format!("{DAILY}max_run_time = \"3h\"\nretries = 1\n")), begun());
    schedule.decide(&mut runs, at("2026-06-01T02:00:00Z"));
    assert_eq!(schedule.decide(&mut runs, at("2026-06-01T04:59:59Z")), []);
    let decisions = schedule.decide(&mut runs, at("2026-06-01T05:00:00Z"));
    assert_eq!(told(&decisions), ["cancel true", "retry 2 at 2026-06-01T05:05:00Z"]);
}

#[test]
fn jitter_puts_fires_off_by_the_same_each_time_and_never_out_of_order() {
    let schedule = schedule("cron = \"0 * * * *\"\njitter = \"20m\"\nconcurrency = \"allow\"\n");
    let starts = || {
        let mut runs = begun();
        let mut starts = Vec::new();
        for minute in 0..60 * 24 {
            let now = begun().considered + SignedDuration::from_mins(minute);
            let decisions = schedule.decide(&mut runs, now);
            starts.extend(decisions.iter().filter_map(|decision| match decision {
                Decision::Start(attempt) => Some((attempt.logical, now)),
                _ => None,
            }));
        }
        starts
    };
    let first = starts();
    assert_eq!(first, starts());
    assert!(first.len() >= 22 && first.is_sorted());
    let put_off: Vec<i64> =
        first.iter().map(|(logical, now)| now.as_second() - logical.as_second()).collect();
    assert!(put_off.iter().all(|seconds| (0..=1260).contains(seconds)), "{put_off:?}");
    assert!(put_off.iter().max() > put_off.iter().min(), "{put_off:?}");
}

#[test]
fn a_backfill_runs_what_is_asked_in_the_order_that_is_asked() {
    let cron = Cron::new("0 2 * * *", "UTC").unwrap();
    let day = |day: &str| at(&format!("2026-06-{day}T02:00:00Z"));
    let known = BTreeMap::from([
        (day("02"), Known::Ended(Outcome::Failed)),
        (day("03"), Known::Ended(Outcome::Succeeded)),
        (day("04"), Known::Active),
    ]);
    let planned = |reprocess, reverse| {
        let (from, to) = (at("2026-06-01T00:00:00Z"), at("2026-06-06T02:00:00Z"));
        let (times, more) = Backfill { from, to, reprocess, reverse }.plan(&cron, &known);
        assert!(!more);
        times.iter().map(|time| time.strftime("%d").to_string()).collect::<Vec<_>>()
    };
    assert_eq!(planned(Reprocess::None, false), ["01", "05"]);
    assert_eq!(planned(Reprocess::Failed, true), ["05", "02", "01"]);
    assert_eq!(planned(Reprocess::All, false), ["01", "02", "03", "05"]);
}

#[test]
fn a_trigger_starts_a_run_of_its_own_once() {
    let (schedule, mut runs) = (schedule(DAILY), begun());
    let now = at("2026-06-01T12:00:00Z");
    assert!(matches!(schedule.trigger(&mut runs, (now, 1), now), Some(Decision::Start(_))));
    assert_eq!(schedule.trigger(&mut runs, (now, 1), now + Duration::from_secs(5)), None);
}
