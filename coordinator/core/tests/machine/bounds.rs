//! What is kept, for how long, and what an answer holds of it.

use muster_core::retrain::command::{Command, Question};
use muster_core::retrain::registry::Entry;
use muster_core::retrain::view::ModelView;

use super::world::{Day, NIGHTLY, World, applied, short};

/// Each candidate waits for a person.
const WAITS: &str = "[gates]\ncold_start = \"pass\"\n[gates.approval]\nexpires = \"200h\"\n";

/// Lets a day pass and approves the candidate that waits then.
fn approved(world: &mut World, day: u32) {
    world.until(&format!("2026-06-{day:02}T12:00:00Z"));
    let run = world.runs().last().unwrap().run.clone();
    world.ask(Command::Approve { run }).unwrap();
}

fn remove(world: &mut World, version: u64) -> Result<String, String> {
    let command = Command::RemoveVersion { model: "shop".to_owned(), version };
    world.ask(command).map(|done| done.message).map_err(|refusal| refusal.to_string())
}

#[test]
fn what_a_run_looks_for_items_in_stays_as_long_as_it_runs() {
    for (rule, is_held) in [("evict_after = 2\n", true), ("", false)] {
        let schedule = format!("{NIGHTLY}{WAITS}[training]\n{rule}");
        let mut world = World::with("2026-06-01T00:00:00Z", &schedule);
        (1..=3).for_each(|day| approved(&mut world, day));
        world.until("2026-06-04T12:00:00Z");
        assert_eq!(short(&world.runs()[3]), "04 try 1 approving");
        let refused = remove(&mut world, 1);
        match is_held {
            true => assert!(refused.unwrap_err().contains("works on it")),
            false => assert_eq!(refused.unwrap(), "version 1 of shop removed"),
        }
        let run = world.runs()[3].run.clone();
        world.ask(Command::CancelRun { run }).unwrap();
        assert_eq!(remove(&mut world, 1).is_ok(), is_held);
    }
}

#[test]
fn a_schedule_that_is_removed_leaves_the_runs_of_versions_that_are_kept_and_no_other() {
    let world = World::with("2026-06-01T00:00:00Z", &format!("{NIGHTLY}{WAITS}"));
    let mut world = world
        .plan(1, Day { is_empty: true, ..Day::default() })
        .plan(3, Day { is_stopped: true, ..Day::default() });
    approved(&mut world, 2);
    world.until("2026-06-04T12:00:00Z");
    assert_eq!(world.runs().len(), 4);
    world.ask(Command::RemoveSchedule { schedule: "nightly".to_owned() }).unwrap();
    world.until("2026-06-04T13:00:00Z");
    let left: Vec<String> = world.runs().iter().map(short).collect();
    assert_eq!(left, ["02 try 1 promoted", "03 try 1 stopped", "04 try 1 cancelled"]);
    for version in [2, 3] {
        remove(&mut world, version).unwrap();
    }
    world.settle();
    assert_eq!(world.runs().len(), 1);
    let keys = world.store.keys().filter(|key| key.starts_with("retrain/run")).count();
    assert_eq!(keys, 2, "{:?}", world.store.keys());
}

#[test]
fn a_run_that_comes_into_service_is_cut_short_by_no_limit_of_time() {
    let limited = NIGHTLY.replace("cron", "max_run_time = \"2h\"\nretries = 1\ncron");
    let rules = "[promotion]\nhook = \"deploy\"\nretries = 3\nbackoff = \"2h\"\n";
    let world = World::with("2026-06-01T00:00:00Z", &format!("{limited}{rules}"));
    let mut world = world.plan(1, Day { failing_calls: 2, ..Day::default() });
    world.until("2026-06-01T05:30:00Z");
    assert_eq!(short(&world.runs()[0]), "01 try 1 promoting");
    assert!(world.schedule().retrying.is_empty());
    world.until("2026-06-01T12:00:00Z");
    let runs: Vec<String> = world.runs().iter().map(short).collect();
    assert_eq!(runs, ["01 try 1 promoted"]);
    assert_eq!(world.schedule().failures, 0);
}

#[test]
fn two_schedules_of_a_model_put_it_into_service_in_one_way() {
    let mut world = World::with("2026-06-01T00:00:00Z", NIGHTLY);
    let other = NIGHTLY.replace("\"nightly\"", "\"weekly\"").replace("/shared/shop", "/shared/weekly");
    let by_hook = format!("{other}[promotion]\nhook = \"deploy\"\n");
    let refused = world.ask(Command::Apply { schedule: applied(&by_hook) }).unwrap_err();
    let expected =
        "promotion.hook: is `deploy`, and schedule nightly puts the same model into service by no hook";
    assert!(refused.to_string().contains(expected), "{refused}");
    world.ask(Command::Apply { schedule: applied(&other) }).unwrap();
}

#[test]
fn a_list_that_is_too_long_for_an_answer_comes_in_pages_with_everything_once() {
    let mut world = World::with("2026-06-01T00:00:00Z", NIGHTLY);
    world.until("2026-06-07T12:00:00Z");
    let all: Vec<u64> = (1..=7).rev().collect();
    for version in 1..=7 {
        for _ in 0..100 {
            let text = "a remark that is as long as may be, ".repeat(110);
            world.ask(Command::Note { model: "shop".to_owned(), version, text }).unwrap();
        }
    }
    let (mut told, mut pages) = (Vec::new(), 0);
    loop {
        let question = Question::Model { model: "shop".to_owned(), after: told.last().copied() };
        let page: ModelView = world.tell(&question);
        assert_eq!(page.n_versions, 7);
        if page.versions.is_empty() {
            break;
        }
        told.extend(page.versions.iter().map(|version| version.number.0));
        pages += 1;
    }
    assert_eq!((told, pages), (all, 4), "two of some 400 kB a page");
    let mut entries: Vec<Entry> = Vec::new();
    loop {
        let after = entries.last().map(|entry| entry.number);
        let page: Vec<Entry> = world.tell(&Question::History { model: "shop".to_owned(), after });
        if page.is_empty() {
            break;
        }
        entries.extend(page);
    }
    let newest = entries[0].number;
    assert!(entries.iter().map(|entry| entry.number).eq((1..=newest).rev()) && newest > 700);
}
