//! What holds of any schedule, however its runs end and however the clock is read.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use muster_core::retrain::{Cron, Decision, Outcome, Runs, Schedule};
use proptest::prelude::*;

use super::{at, spec};

/// What may happen between two looks.
#[derive(Debug, Clone, Copy)]
enum Happening {
    /// So many minutes pass, or the clock is set back.
    Passes(i64),
    /// A run at work ends.
    Ends(usize, Outcome),
    Pauses,
    Resumes,
    /// The coordinator is succeeded by one that knows what was stored, and the one before it decides once more.
    Succeeds,
}

fn happening() -> impl Strategy<Value = Happening> {
    let outcome = prop::sample::select(vec![Outcome::Succeeded, Outcome::Failed, Outcome::Cancelled]);
    prop_oneof![
        6 => (-90..2000_i64).prop_map(Happening::Passes),
        4 => (0..4_usize, outcome).prop_map(|(run, outcome)| Happening::Ends(run, outcome)),
        1 => Just(Happening::Pauses),
        2 => Just(Happening::Resumes),
        1 => Just(Happening::Succeeds),
    ]
}

fn schedule() -> impl Strategy<Value = String> {
    let cron = prop::sample::select(vec!["0 2 * * *", "*/30 * * * *", "0 */6 * * *", "15 1 * * MON"]);
    let zone = prop::sample::select(vec!["UTC", "Europe/Berlin", "America/Sao_Paulo", "Australia/Lord_Howe"]);
    let concurrency = prop::sample::select(vec![
        "\"allow\"",
        "\"forbid\"",
        "\"replace\"",
        "{ queue = 2 }",
        "\"last_only\"",
    ]);
    let misfire = prop::sample::select(vec!["\"skip\"", "\"run_last\"", "{ catch_up = 3 }"]);
    let deadline = prop::option::of(1..600_u32);
    (cron, zone, concurrency, misfire, deadline, 0..3_u32, 0..90_u32).prop_map(
        |(cron, zone, concurrency, misfire, deadline, retries, jitter)| {
            let deadline = deadline.map_or_else(String::new, |minutes| format!("starting_deadline = \"{minutes}m\"\n"));
            format!(
                "cron = \"{cron}\"\ntime_zone = \"{zone}\"\nconcurrency = {concurrency}\nmisfire = {misfire}\nretries = {retries}\n\
                 jitter = \"{jitter}s\"\npause_after = 4\nmax_run_time = \"40h\"\n{deadline}"
            )
        },
    )
}

/// What was decided about each logical time.
#[derive(Debug, Default)]
struct Told {
    /// Starts, queues and skips, in order.
    about: BTreeMap<Timestamp, Vec<&'static str>>,
    runs: Vec<String>,
}

impl Told {
    fn note(&mut self, decisions: &[Decision]) {
        for decision in decisions {
            let (logical, what) = match decision {
                Decision::Start(attempt) => {
                    self.runs.push(attempt.run.to_string());
                    (attempt.logical, if attempt.attempt == 1 { "start" } else { continue })
                }
                Decision::Queue { logical } => (*logical, "queue"),
                Decision::Skip { logical, .. } => (*logical, "skip"),
                _ => continue,
            };
            self.about.entry(logical).or_default().push(what);
        }
    }
}

fn happen(what: Happening, schedule: &Schedule, runs: &mut Runs, now: &mut Timestamp) -> Vec<Decision> {
    match what {
        Happening::Passes(minutes) => *now += SignedDuration::from_mins(minutes),
        Happening::Ends(run, outcome) => {
            if let Some(attempt) = runs.active.get(run).cloned() {
                return schedule.ended(runs, &attempt.run, outcome, *now);
            }
        }
        Happening::Pauses => runs.paused = true,
        Happening::Resumes => runs.paused = false,
        Happening::Succeeds => {
            // Both read the same, so both say the same: the same ids, of which the store takes each once.
            let (mut one, mut other) = (runs.clone(), runs.clone());
            assert_eq!(schedule.decide(&mut one, *now), schedule.decide(&mut other, *now));
        }
    }
    Vec::new()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 256, ..ProptestConfig::default() })]

    #[test]
    fn each_fire_is_seen_to_once_and_each_run_has_an_id_of_its_own(
        text in schedule(), happenings in prop::collection::vec(happening(), 1..60),
    ) {
        let spec = spec(&text);
        let (cron, schedule) = (Cron::new(&spec.cron, &spec.time_zone).unwrap(), Schedule::new(spec.clone()).unwrap());
        let begun = at("2026-10-20T00:00:00Z");
        let (mut runs, mut now, mut told) = (Runs::new(begun), begun, Told::default());
        for what in happenings {
            told.note(&happen(what, &schedule, &mut runs, &mut now));
            told.note(&schedule.decide(&mut runs, now));
            let parallel = runs.active.len() + runs.retrying.len();
            prop_assert!(parallel <= 1 || spec.concurrency == muster_proto::schedule::Concurrency::Allow);
        }
        let (fires, _) = cron.between(begun, runs.considered, 4096);
        prop_assert!(told.about.keys().eq(&fires), "{:?} {fires:?}", told.about);
        let waiting: Vec<Timestamp> = runs.queued.iter().copied().collect();
        for (logical, what) in &told.about {
            let ends = match what.as_slice() {
                ["start" | "skip"] | ["queue", "start" | "skip"] => true,
                ["queue"] => waiting.contains(logical),
                _ => false,
            };
            prop_assert!(ends, "{logical}: {what:?}");
        }
        let mut ids = told.runs.clone();
        ids.sort();
        ids.dedup();
        prop_assert_eq!(ids.len(), told.runs.len());
    }
}
