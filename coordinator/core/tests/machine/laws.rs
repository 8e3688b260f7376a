//! What holds of any schedule and policy, whatever fails, whoever asks for what, and whenever a coordinator is killed.

use std::collections::BTreeSet;

use jiff::SignedDuration;
use muster_core::retrain::command::Command;
use proptest::prelude::*;

use super::world::{Day, Kill, NIGHTLY, World};

#[derive(Debug, Clone)]
enum Happening {
    /// So many hours pass, each looked at or all at once.
    Passes(i64, bool),
    Pauses,
    Resumes,
    Triggers,
    CancelsSomething,
    ApprovesSomething,
    RollsBack,
    PromotesOldest,
    /// The next commit but so many is lost, or the coordinator dies after it.
    IsKilled(usize, bool),
}

fn happening() -> impl Strategy<Value = Happening> {
    prop_oneof![
        8 => (1..40_i64, any::<bool>()).prop_map(|(hours, at_once)| Happening::Passes(hours, at_once)),
        1 => Just(Happening::Pauses),
        2 => Just(Happening::Resumes),
        1 => Just(Happening::Triggers),
        1 => Just(Happening::CancelsSomething),
        2 => Just(Happening::ApprovesSomething),
        1 => Just(Happening::RollsBack),
        1 => Just(Happening::PromotesOldest),
        3 => (1..9_usize, any::<bool>()).prop_map(|(after, before)| Happening::IsKilled(after, before)),
    ]
}

fn day() -> impl Strategy<Value = Day> {
    let rare = || prop::bool::weighted(0.2);
    (
        rare(),
        prop::sample::select(vec![0, 0, 0, 100_000_000]),
        0..20_u64,
        0..3_u32,
        rare(),
        rare(),
        0..5_u32,
        prop::option::of(prop::sample::select(vec![0.01, 0.02, 0.03])),
    )
        .prop_map(
            |(is_empty, late_by, rejected, failing_jobs, is_stopped, waits, failing_calls, clicks)| Day {
                is_empty,
                late_by,
                rejected,
                failing_jobs,
                is_stopped,
                waits,
                failing_calls,
                clicks,
            },
        )
}

fn schedule() -> impl Strategy<Value = String> {
    let concurrency = prop::sample::select(vec![
        "\"allow\"",
        "\"forbid\"",
        "\"replace\"",
        "{ queue = 2 }",
        "\"last_only\"",
    ]);
    let misfire = prop::sample::select(vec!["\"skip\"", "\"run_last\"", "{ catch_up = 3 }"]);
    let missing = prop::sample::select(vec!["keep", "roll_back"]);
    let hook = prop::sample::select(vec!["", "hook = \"deploy\"\n"]);
    (concurrency, misfire, 0..3_u32, 0..5_u32, missing, hook, 0..40_u32, 0..3_u32).prop_map(
        |(concurrency, misfire, retries, wait, missing, hook, health, keep)| {
            let top = format!("concurrency = {concurrency}\nmisfire = {misfire}\nretries = {retries}\nmax_run_time = \"20h\"\ncron");
            let health = match health {
                0..10 => String::new(),
                hours => format!(
                    "[health]\nmetric = \"ctr\"\nwindow = \"{hours}h\"\nat_least = 0.02\nmissing = \"{missing}\"\n"
                ),
            };
            format!(
                "{}[window]\nwait = \"{wait}h\"\n[gates]\n[gates.approval]\nexpires = \"5h\"\nalways = false\n[promotion]\n\
                 backoff = \"40m\"\n{hook}{health}[retention]\nkeep = {keep}\n",
                NIGHTLY.replace("cron", &top)
            )
        },
    )
}

fn happen(world: &mut World, what: &Happening) {
    let name = || "nightly".to_owned();
    let model = || "shop".to_owned();
    match *what {
        Happening::Passes(hours, true) => world.now += SignedDuration::from_hours(hours),
        Happening::Passes(hours, false) => {
            for _ in 0..hours {
                world.now += SignedDuration::from_hours(1);
                world.settle();
            }
        }
        Happening::IsKilled(after, before) => {
            let commit = world.commits + after;
            world.kill = Some(if before { Kill::Before(commit) } else { Kill::After(commit) });
        }
        Happening::Pauses => drop(world.ask(Command::Pause { schedule: name() })),
        Happening::Resumes => drop(world.ask(Command::Resume { schedule: name() })),
        Happening::Triggers => {
            drop(world.ask(Command::Trigger { schedule: name(), at: None, refresh: false }));
        }
        Happening::RollsBack => drop(world.ask(Command::RollBack { model: model(), expected: None })),
        Happening::PromotesOldest => {
            let oldest = world.model().versions.last().map(|version| version.number.0);
            let Some(version) = oldest else { return };
            drop(world.ask(Command::Promote { model: model(), version, expected: None }));
        }
        Happening::CancelsSomething | Happening::ApprovesSomething => {
            let runs = world.runs();
            let Some(run) = runs.iter().rev().find(|run| run.outcome.is_none()) else { return };
            let run = run.run.clone();
            let command = match what {
                Happening::CancelsSomething => Command::CancelRun { run },
                _ => Command::Approve { run },
            };
            drop(world.ask(command));
        }
    }
    world.settle();
}

fn check(world: &mut World) -> Result<(), TestCaseError> {
    let runs = world.runs();
    let ids: BTreeSet<(String, u32)> =
        runs.iter().map(|run| (run.logical.to_string(), run.attempt)).collect();
    prop_assert_eq!(ids.len(), runs.len(), "a time has two runs of one attempt");
    for run in &runs {
        let mut stages = run.transitions.iter();
        prop_assert_eq!(&stages.next().unwrap().stage, "waiting");
        prop_assert!(run.transitions.windows(2).all(|pair| pair[0].at <= pair[1].at));
        let ends = run.transitions.iter().filter(|transition| transition.stage == "ended").count();
        prop_assert_eq!(ends, usize::from(run.outcome.is_some()), "a run ends once: {:?}", run.transitions);
    }
    let model = world.model();
    let versions: BTreeSet<u64> = model.versions.iter().map(|version| version.number.0).collect();
    for (alias, version) in &model.aliases {
        prop_assert!(versions.contains(version), "{alias} names {version}, which is gone");
    }
    for run in runs.iter().filter(|run| run.outcome.is_none()) {
        for needed in [run.parent, run.champion, run.version].into_iter().flatten() {
            prop_assert!(versions.contains(&needed), "run {} needs {needed}, which is gone", run.run);
        }
    }
    prop_assert!(world.jobs.values().all(|(_, times)| *times == 1));
    // What is in the store is all that there is.
    let told = |world: &World| (world.runs(), world.model(), world.schedule(), world.fleet());
    let before = told(world);
    world.restore();
    prop_assert!(before == told(world), "another coordinator knows something else");
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn whatever_happens_runs_end_once_champions_are_there_and_the_store_knows_it_all(
        schedule in schedule(),
        days in prop::collection::vec(day(), 30),
        happenings in prop::collection::vec(happening(), 1..25),
    ) {
        let mut world = World::with("2026-06-01T00:00:00Z", &schedule);
        for (number, day) in days.into_iter().enumerate() {
            world.days.insert(number as i8 + 1, day);
        }
        for what in &happenings {
            happen(&mut world, what);
            check(&mut world)?;
        }
        drop(world.ask(Command::Pause { schedule: "nightly".to_owned() }));
        for _ in 0..400 {
            world.now += SignedDuration::from_hours(1);
            world.settle();
        }
        let left: Vec<String> = world.runs().iter().filter(|run| run.outcome.is_none()).map(super::world::short).collect();
        prop_assert!(left.is_empty(), "runs that never end: {left:?}");
        check(&mut world)?;
    }
}
