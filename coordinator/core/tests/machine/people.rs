//! What people ask for, and what they are told where it cannot be.

use muster_core::retrain::command::Command;
use muster_core::retrain::{Reprocess, RunOutcome};

use super::at;
use super::world::{Day, NIGHTLY, World, applied, short};

fn apply(world: &mut World, text: &str) -> Result<String, String> {
    let command = Command::Apply { schedule: applied(text) };
    world.ask(command).map(|done| done.message).map_err(|refusal| refusal.to_string())
}

fn of(schedule: &str) -> String {
    schedule.to_owned()
}

#[test]
fn a_schedule_that_cannot_be_is_refused_with_its_field() {
    let mut world = World::new("2026-06-01T00:00:00Z");
    let cases = [
        (NIGHTLY.replace("0 2 * * *", "0 25 * * *"), "cron: cron pattern `0 25 * * *`"),
        (NIGHTLY.replace("0 2 * * *", "0 0 30 2 *"), "never fires"),
        (format!("{NIGHTLY}time_zone = \"Europe/Berlim\"\n"), "did you mean `Europe/Berlin`"),
        (
            format!("{NIGHTLY}[promotion]\nhook = \"ship\"\n"),
            "promotion.hook: the coordinator has no hook `ship`; it has deploy",
        ),
        (NIGHTLY.replace("/shared/shop", "shop"), "workspace: `shop` is no absolute path"),
        (NIGHTLY.replace("\"nightly\"", "\"a/b\""), "schedule \"a/b\" must be"),
    ];
    for (text, expected) in cases {
        let refused = apply(&mut world, &text).unwrap_err();
        assert!(refused.contains(expected), "{refused}");
    }
    assert!(world.store.is_empty());
    assert_eq!(
        apply(&mut world, NIGHTLY).unwrap(),
        "schedule nightly made, it fires at 2026-06-01T02:00:00Z"
    );
    let twin = NIGHTLY.replace("\"nightly\"", "\"twin\"");
    assert!(apply(&mut world, &twin).unwrap_err().contains("is the one of schedule nightly"));
}

#[test]
fn a_schedule_that_changes_goes_on_where_it_was_and_runs_at_work_stay_as_they_began() {
    let mut world = World::with("2026-06-01T00:00:00Z", &format!("{NIGHTLY}[window]\nwait = \"5h\"\n"));
    world.until("2026-06-01T03:00:00Z");
    assert_eq!(
        apply(&mut world, NIGHTLY).unwrap(),
        "schedule nightly changed, it fires at 2026-06-02T02:00:00Z"
    );
    assert_eq!(short(&world.runs()[0]), "01 try 1 waiting");
    world.until("2026-06-02T02:00:00Z");
    assert_eq!(
        world.runs().iter().map(short).collect::<Vec<_>>(),
        ["01 try 1 promoted", "02 try 1 promoted"]
    );
}

#[test]
fn a_paused_schedule_fires_nothing_and_catches_up_as_its_rule_says() {
    let rule = NIGHTLY.replace("cron", "misfire = { catch_up = 2 }\nconcurrency = { queue = 9 }\ncron");
    let mut world = World::with("2026-06-01T00:00:00Z", &rule);
    world.ask(Command::Pause { schedule: of("nightly") }).unwrap();
    world.until("2026-06-05T12:00:00Z");
    assert!(world.runs().is_empty() && world.schedule().next.is_none());
    world.ask(Command::Resume { schedule: of("nightly") }).unwrap();
    world.until("2026-06-05T13:00:00Z");
    assert_eq!(
        world.runs().iter().map(short).collect::<Vec<_>>(),
        ["04 try 1 promoted", "05 try 1 promoted"]
    );
    assert_eq!(world.schedule().missed.len(), 3);
}

#[test]
fn a_candidate_waits_for_a_persons_word_but_not_for_ever() {
    let gated = format!("{NIGHTLY}[gates]\n[gates.approval]\nexpires = \"6h\"\n");
    let waits = Day { waits: true, ..Day::default() };
    let mut world = World::with("2026-06-01T00:00:00Z", &gated).plan(1, waits).plan(2, waits);
    world.until("2026-06-01T05:00:00Z");
    let run = world.runs()[0].run.clone();
    assert_eq!(short(&world.runs()[0]), "01 try 1 approving");
    world.ask(Command::Approve { run }).unwrap();
    assert_eq!(short(&world.runs()[0]), "01 try 1 promoted");
    world.until("2026-06-02T08:00:00Z");
    assert_eq!(short(&world.runs()[1]), "02 try 1 stopped");
    assert_eq!(world.runs()[1].why, "nobody approved it in time");
    let kept = &world.model().versions[1];
    let verdicts = &kept.model.judgement.as_ref().unwrap().verdicts;
    assert!(verdicts.iter().any(|verdict| verdict.why.starts_with("ana approved it")), "{verdicts:?}");
}

#[test]
fn a_model_that_is_not_promoted_by_itself_is_promoted_and_rolled_back_by_people_and_the_hook_hears_of_it() {
    let manual = format!("{NIGHTLY}[promotion]\nautomatic = false\nhook = \"deploy\"\n");
    let mut world = World::with("2026-06-01T00:00:00Z", &manual);
    world.until("2026-06-02T12:00:00Z");
    assert_eq!(world.runs().iter().map(short).collect::<Vec<_>>(), ["01 try 1 kept", "02 try 1 kept"]);
    let promote = |version, expected| Command::Promote { model: of("shop"), version, expected };
    assert_eq!(world.ask(promote(1, None)).unwrap().message, "version 1 is the champion of shop");
    world.settle();
    world.ask(promote(2, Some(1))).unwrap();
    world.settle();
    let refused = world.ask(promote(1, Some(1))).unwrap_err().to_string();
    assert!(refused.contains("champion is at version 2 by now, not at version 1"), "{refused}");
    let back = world.ask(Command::RollBack { model: of("shop"), expected: None }).unwrap();
    assert_eq!(back.message, "version 1 is the champion of shop again, version 2 is not");
    world.settle();
    assert_eq!(world.calls.len(), 3);
    assert!(world.fleet().owed_calls.is_empty());
}

#[test]
fn a_rerun_takes_the_files_of_the_run_before_it_unless_it_is_told_to_look_again() {
    let mut world = World::with("2026-06-01T00:00:00Z", NIGHTLY);
    world.until("2026-06-01T12:00:00Z");
    let run = world.runs()[0].run.clone();
    let pins = |world: &World| {
        let begun = world.store.iter().filter(|(key, _)| key.ends_with("/plan"));
        let begun = begun.map(|(_, value)| serde_json::from_slice::<serde_json::Value>(value).unwrap());
        let mut pins: Vec<_> =
            begun.map(|plan| (plan["attempt"].as_u64().unwrap(), plan["increments"].as_u64())).collect();
        pins.sort_unstable();
        pins
    };
    world.ask(Command::Rerun { run: run.clone(), refresh: false }).unwrap();
    world.settle();
    world.ask(Command::Rerun { run, refresh: true }).unwrap();
    world.settle();
    assert_eq!(pins(&world), [(1, None), (2, Some(7)), (3, None)]);
}

#[test]
fn a_backfill_runs_the_times_that_are_asked_for_and_a_dry_run_only_tells() {
    let mut world = World::with("2026-05-20T00:00:00Z", NIGHTLY);
    world.ask(Command::Pause { schedule: of("nightly") }).unwrap();
    world.now = at("2026-06-01T00:00:00Z");
    let ask = |dry_run| Command::Backfill {
        schedule: of("nightly"),
        from: at("2026-05-20T00:00:00Z"),
        to: at("2026-05-24T00:00:00Z"),
        reprocess: Reprocess::None,
        max_active: 2,
        reverse: true,
        dry_run,
    };
    let told = world.ask(ask(true)).unwrap();
    assert_eq!((told.times.len(), told.message.as_str()), (4, "4 times would run"));
    assert!(world.runs().is_empty());
    world.ask(ask(false)).unwrap();
    assert_eq!(world.runs().len(), 2, "as many as may be at work");
    world.settle();
    let runs: Vec<String> = world.runs().iter().map(short).collect();
    assert_eq!(runs, ["20 try 1 kept", "21 try 1 kept", "22 try 1 kept", "23 try 1 kept"]);
    assert_eq!(world.ask(ask(false)).unwrap().message, "there is nothing to run");
    let later = Command::Backfill {
        schedule: of("nightly"),
        from: at("2026-05-20T00:00:00Z"),
        to: at("2026-07-24T00:00:00Z"),
        reprocess: Reprocess::All,
        max_active: 1,
        reverse: false,
        dry_run: false,
    };
    assert!(
        world.ask(later).unwrap_err().to_string().starts_with("to: 2026-07-24T00:00:00Z is not over yet")
    );
}

#[test]
fn a_retry_whose_time_somebody_ran_meanwhile_keeps_no_later_fire_waiting() {
    let rule = NIGHTLY.replace("cron", "retries = 1\nbackoff = \"2h\"\ncron");
    let world = World::with("2026-06-01T00:00:00Z", &rule);
    let mut world = world.plan(1, Day { failing_jobs: 1, ..Day::default() });
    world.until("2026-06-01T03:00:00Z");
    let run = world.runs()[0].run.clone();
    world.ask(Command::Rerun { run, refresh: false }).unwrap();
    world.until("2026-06-02T12:00:00Z");
    let runs: Vec<String> = world.runs().iter().map(short).collect();
    assert_eq!(runs, ["01 try 1 failed", "01 try 2 promoted", "02 try 1 promoted"]);
    assert!(world.schedule().active.is_empty() && world.schedule().missed.is_empty());
}

#[test]
fn a_fire_whose_time_was_run_before_is_not_run_again() {
    let mut world = World::with("2026-06-01T00:00:00Z", NIGHTLY);
    world.ask(Command::Pause { schedule: of("nightly") }).unwrap();
    world.now = at("2026-06-01T03:00:00Z");
    let fire = Some(at("2026-06-01T02:00:00Z"));
    world.ask(Command::Trigger { schedule: of("nightly"), at: fire, refresh: false }).unwrap();
    world.settle();
    world.ask(Command::Resume { schedule: of("nightly") }).unwrap();
    world.until("2026-06-01T12:00:00Z");
    assert_eq!(world.runs().iter().map(short).collect::<Vec<_>>(), ["01 try 1 promoted"]);
    assert!(world.schedule().missed[0].why.contains("was made for this time before it fired"));
}

#[test]
fn a_run_that_is_cancelled_ends_what_it_began_and_is_not_tried_again() {
    let rule = format!("{}[window]\nwait = \"1h\"\n", NIGHTLY.replace("cron", "retries = 3\ncron"));
    let mut world = World::with("2026-06-01T00:00:00Z", &rule);
    world.until("2026-06-01T02:00:00Z");
    let run = world.runs()[0].run.clone();
    world.ask(Command::CancelRun { run: run.clone() }).unwrap();
    world.until("2026-06-01T12:00:00Z");
    assert_eq!(world.runs().iter().map(short).collect::<Vec<_>>(), ["01 try 1 cancelled"]);
    let again = world.ask(Command::CancelRun { run }).unwrap_err().to_string();
    assert!(again.ends_with("is over: cancelled"), "{again}");
}

#[test]
fn a_schedule_that_is_removed_cancels_its_runs_and_leaves_the_models() {
    let mut world = World::with("2026-06-01T00:00:00Z", &format!("{NIGHTLY}[window]\nwait = \"1h\"\n"));
    world.until("2026-06-02T02:00:00Z");
    world.ask(Command::RemoveSchedule { schedule: of("nightly") }).unwrap();
    world.until("2026-06-05T00:00:00Z");
    let ends: Vec<_> = world.runs().iter().map(|run| run.outcome).collect();
    assert_eq!(ends, [Some(RunOutcome::Promoted), Some(RunOutcome::Cancelled)]);
    assert_eq!(world.model().versions.len(), 1);
    let gone = world.ask(Command::Pause { schedule: of("nightly") }).unwrap_err().to_string();
    assert_eq!(gone, "there is no schedule `nightly`; `muster schedules list` shows what there is");
}

#[test]
fn a_report_that_is_no_figure_is_refused() {
    let mut world = World::with("2026-06-01T00:00:00Z", NIGHTLY);
    let report = |world: &mut World, version, value, samples| {
        let metric = "ctr".to_owned();
        let command = Command::Metric { model: of("shop"), version, metric, value, samples };
        world.ask(command).map(|done| done.message).unwrap_or_else(|refusal| refusal.to_string())
    };
    assert!(report(&mut world, None, 0.1, 1).contains("has no champion"));
    world.until("2026-06-01T12:00:00Z");
    assert!(report(&mut world, None, f64::NAN, 1).starts_with("value: is NaN"));
    assert!(report(&mut world, None, 0.1, 0).starts_with("samples: is 0"));
    assert!(report(&mut world, Some(7), 0.1, 5).contains("model shop has no version 7"));
    report(&mut world, None, 0.1, 100);
    report(&mut world, None, 0.2, 300);
    let (mean, samples) = world.model().reported[&1]["ctr"];
    assert!((mean - 0.175).abs() < 1e-12 && samples == 400);
}
