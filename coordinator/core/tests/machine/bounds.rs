//! What is kept, for how long, and what an answer holds of it.

use muster_core::retrain::command::{Command, Question};
use muster_core::retrain::registry::Entry;
use muster_core::retrain::view::ModelView;

use super::at;
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
fn of_all_schedules_that_are_removed_the_newest_runs_are_kept_and_those_of_versions() {
    let mut world = World::with("2026-06-01T00:00:00Z", NIGHTLY);
    world.until("2026-06-01T12:00:00Z");
    let mut world = world.plan(2, Day { is_empty: true, ..Day::default() });
    world.until("2026-06-03T00:00:00Z");
    for (name, folder) in [("nightly", "/shared/shop"), ("weekly", "/shared/weekly")] {
        let text = NIGHTLY.replace("nightly", name).replace("/shared/shop", folder);
        world.ask(Command::Apply { schedule: applied(&text) }).unwrap();
        for second in 0..260 {
            let at = Some(at("2026-06-02T03:00:00Z") + std::time::Duration::from_secs(second));
            world.ask(Command::Trigger { schedule: name.to_owned(), at, refresh: false }).unwrap();
            world.settle();
        }
        world.ask(Command::RemoveSchedule { schedule: name.to_owned() }).unwrap();
        world.until("2026-06-03T06:00:00Z");
    }
    let runs = world.runs();
    let first: Vec<String> = runs.iter().map(short).take(1).collect();
    assert_eq!((first, runs.len()), (vec!["01 try 1 promoted".to_owned()], 501));
    assert_eq!(runs.iter().filter(|run| run.schedule == "weekly").count(), 260);
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
    // A change is one for both.
    let changed = format!("{NIGHTLY}[promotion]\nhook = \"deploy\"\n");
    let done = world.ask(Command::Apply { schedule: applied(&changed) }).unwrap();
    assert!(done.message.contains("changed, and with it the hook of weekly"), "{}", done.message);
    world.restore();
    world.ask(Command::Apply { schedule: applied(&by_hook) }).unwrap();
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
