//! What becomes of runs, rule by rule.

use muster_core::retrain::RunOutcome;
use muster_core::retrain::command::Command;

use super::at;
use super::world::{Day, NIGHTLY, World, short};

const WATCHED: &str =
    "[promotion]\nhook = \"deploy\"\n[health]\nmetric = \"ctr\"\nwindow = \"4h\"\nat_least = 0.02\n";

fn outcomes(world: &World) -> Vec<String> {
    world.runs().iter().map(short).collect()
}

fn stages(world: &World, run: usize) -> Vec<String> {
    world.runs()[run].transitions.iter().map(|transition| transition.stage.clone()).collect()
}

#[test]
fn each_night_a_run_goes_from_its_window_to_the_champions_place() {
    let mut world = World::with("2026-06-01T00:00:00Z", NIGHTLY);
    world.until("2026-06-03T12:00:00Z");
    assert_eq!(outcomes(&world), ["01 try 1 promoted", "02 try 1 promoted", "03 try 1 promoted"]);
    let way = ["waiting", "preparing", "training", "judging", "promoting", "ended"];
    assert_eq!(stages(&world, 0), way);
    let third = &world.runs()[2];
    assert_eq!(third.window, Some((Some(at("2026-05-04T02:00:00Z")), at("2026-06-03T02:00:00Z"))));
    assert_eq!((third.parent, third.champion, third.version), (Some(2), Some(2), Some(3)));
    assert_eq!(world.model().aliases, [("champion".to_owned(), 3), ("previous".to_owned(), 2)].into());
    let lineage = &world.model().versions[0].model.lineage;
    assert_eq!(lineage.run.as_ref(), Some(&third.run));
    assert_eq!(world.fleet().schedules[0].freshness, Some(10.0 * 3600.0));
}

#[test]
fn a_candidate_that_a_gate_stops_is_kept_as_a_version_and_the_champion_stays() {
    let world = World::with("2026-06-01T00:00:00Z", NIGHTLY);
    let mut world = world.plan(2, Day { is_stopped: true, ..Day::default() });
    world.until("2026-06-02T12:00:00Z");
    assert_eq!(outcomes(&world), ["01 try 1 promoted", "02 try 1 stopped"]);
    assert_eq!(world.model().aliases["champion"], 1);
    assert_eq!(world.model().versions.len(), 2);
    assert!(world.runs()[1].why.contains("at_least.NDCG@10: so it is planned"));
    let health = &world.fleet().schedules[0];
    assert_eq!((health.pass_rate, health.outcomes[&RunOutcome::Stopped]), (Some(0.5), 1));
}

#[test]
fn data_that_is_not_fit_fails_the_run_and_says_by_which_rule() {
    let cases = [
        (Day { is_empty: true, ..Day::default() }, "", "none of 7 files has a row in the window"),
        (Day { rejected: 11, ..Day::default() }, "", "11 of 100 rows of the new files were rejected"),
        (Day { late_by: 86_400_000, ..Day::default() }, "", "there is nothing to judge a candidate on"),
        (
            Day { late_by: 3_600_000, ..Day::default() },
            "[window]\nmax_staleness = \"1h\"\n",
            "more than window.max_staleness before",
        ),
        (Day::default(), "[window]\nmin_rows = 1001\n", "the window has 1000 rows, window.min_rows is 1001"),
    ];
    for (day, rule, why) in cases {
        let mut world = World::with("2026-06-01T00:00:00Z", &format!("{NIGHTLY}{rule}")).plan(1, day);
        world.until("2026-06-01T12:00:00Z");
        let run = &world.runs()[0];
        assert_eq!(run.outcome, Some(RunOutcome::Failed));
        assert!(run.why.contains(why), "{}", run.why);
        assert!(world.jobs.is_empty() && world.model().versions.is_empty());
    }
}

#[test]
fn a_run_that_failed_is_tried_again_with_the_files_that_it_had() {
    let retried = NIGHTLY.replace("cron", "retries = 2\nbackoff = \"1h\"\ncron");
    let world = World::with("2026-06-01T00:00:00Z", &retried);
    let mut world = world.plan(1, Day { failing_jobs: 2, ..Day::default() });
    world.until("2026-06-01T12:00:00Z");
    assert_eq!(outcomes(&world), ["01 try 1 failed", "01 try 2 failed", "01 try 3 promoted"]);
    let began: Vec<String> = world.runs().iter().map(|run| run.transitions[0].at.to_string()).collect();
    assert_eq!(began, ["2026-06-01T02:00:00Z", "2026-06-01T03:00:00Z", "2026-06-01T05:00:00Z"]);
    assert_eq!(world.removed.len(), 2, "what runs without a model leave goes");
}

#[test]
fn a_hook_that_fails_is_called_again_and_where_it_never_works_the_champion_stays() {
    let world = World::with("2026-06-01T00:00:00Z", &format!("{NIGHTLY}[promotion]\nhook = \"deploy\"\n"));
    let mut world = world
        .plan(2, Day { failing_calls: 2, ..Day::default() })
        .plan(3, Day { failing_calls: 9, ..Day::default() });
    world.until("2026-06-03T12:00:00Z");
    assert_eq!(outcomes(&world), ["01 try 1 promoted", "02 try 1 promoted", "03 try 1 failed"]);
    assert_eq!(world.model().aliases["champion"], 2);
    let why = &world.runs()[2].why;
    assert_eq!(why, "the champion stays, the hook failed 3 times: so it is planned");
}

#[test]
fn a_champion_that_does_badly_goes_and_the_one_before_it_comes_back() {
    let mut world = World::with("2026-06-01T00:00:00Z", &format!("{NIGHTLY}{WATCHED}"))
        .plan(1, Day { clicks: Some(0.03), ..Day::default() })
        .plan(2, Day { clicks: Some(0.01), ..Day::default() });
    world.until("2026-06-02T02:00:00Z");
    assert_eq!(outcomes(&world), ["01 try 1 promoted", "02 try 1 rolled back"]);
    assert_eq!(world.model().aliases, [("champion".to_owned(), 1), ("previous".to_owned(), 2)].into());
    assert_eq!(world.runs()[1].transitions[6].why, "ctr is 0.010000, health.at_least is 0.02");
    let calls: Vec<&str> = world.calls.keys().map(|key| key.rsplit('-').next().unwrap()).collect();
    assert_eq!(calls.iter().filter(|stage| **stage == "roll_back").count(), 1);
}

#[test]
fn what_is_not_reported_of_a_champion_is_up_to_its_rule() {
    for (rule, end) in [("keep", "promoted"), ("roll_back", "rolled back")] {
        let schedule = format!("{NIGHTLY}{WATCHED}missing = \"{rule}\"\n");
        let world = World::with("2026-06-01T00:00:00Z", &schedule);
        let mut world = world.plan(1, Day { clicks: Some(0.03), ..Day::default() });
        world.until("2026-06-02T05:30:00Z");
        assert_eq!(stages(&world, 1).last().unwrap(), "watching", "the next fire is not kept waiting");
        assert!(world.schedule().active.len() == 1 && world.schedule().missed.is_empty());
        world.until("2026-06-02T06:00:00Z");
        assert_eq!(short(&world.runs()[1]), format!("02 try 1 {end}"));
    }
}

#[test]
fn the_first_champion_stays_where_there_is_none_to_go_back_to() {
    let world = World::with("2026-06-01T00:00:00Z", &format!("{NIGHTLY}{WATCHED}"));
    let mut world = world.plan(1, Day { clicks: Some(0.001), ..Day::default() });
    world.until("2026-06-01T12:00:00Z");
    assert_eq!(outcomes(&world), ["01 try 1 promoted"]);
    assert!(world.runs()[0].why.ends_with("it stays, there is no champion before it"));
}

#[test]
fn a_run_takes_the_place_of_a_champion_that_is_still_watched() {
    let schedule = format!("{NIGHTLY}{WATCHED}").replace("window = \"4h\"", "window = \"30h\"");
    let mut world = World::with("2026-06-01T00:00:00Z", &schedule);
    world.until("2026-06-02T12:00:00Z");
    assert_eq!(outcomes(&world), ["01 try 1 promoted", "02 try 1 watching"]);
    assert_eq!(world.runs()[0].why, "version 2 took its place");
}

#[test]
fn windows_follow_their_kind() {
    let of = |kind: &str| {
        let schedule = format!("{NIGHTLY}[window]\nkind = \"{kind}\"\nlength = \"10d\"\noffset = \"2h\"\n");
        let world = World::with("2026-06-01T00:00:00Z", &schedule);
        let mut world = world.plan(2, Day { is_stopped: true, ..Day::default() });
        world.until("2026-06-03T12:00:00Z");
        world.runs()[2].window.unwrap()
    };
    let end = at("2026-06-03T00:00:00Z");
    assert_eq!(of("rolling"), (Some(at("2026-05-24T00:00:00Z")), end));
    assert_eq!(of("expanding"), (None, end));
    assert_eq!(of("since_promotion"), (Some(at("2026-06-01T00:00:00Z")), end));
}

#[test]
fn late_data_is_waited_for() {
    let mut world = World::with("2026-06-01T00:00:00Z", &format!("{NIGHTLY}[window]\nwait = \"3h\"\n"));
    world.until("2026-06-01T04:30:00Z");
    assert_eq!(outcomes(&world), ["01 try 1 waiting"]);
    world.until("2026-06-01T05:00:00Z");
    assert_eq!(outcomes(&world), ["01 try 1 promoted"]);
}

#[test]
fn versions_that_the_policy_lets_go_take_their_folders_with_them() {
    let mut world = World::with("2026-06-01T00:00:00Z", &format!("{NIGHTLY}[retention]\nkeep = 1\n"));
    world.until("2026-06-05T12:00:00Z");
    let kept: Vec<u64> = world.model().versions.iter().map(|version| version.number.0).collect();
    assert_eq!(kept, [5, 4, 3], "champion, previous, and one more");
    assert_eq!(world.removed.len(), 2);
    assert!(world.removed.iter().all(|folder| folder.starts_with("/shared/shop/runs/nightly-")));
}

#[test]
fn a_run_that_takes_too_long_fails_and_what_it_began_is_ended() {
    let limited = NIGHTLY.replace("cron", "max_run_time = \"2h\"\ncron");
    let world = World::with(
        "2026-06-01T00:00:00Z",
        &format!("{limited}[gates]\n[gates.approval]\nexpires = \"9h\"\n"),
    );
    let mut world = world.plan(1, Day { waits: true, ..Day::default() });
    world.until("2026-06-01T03:30:00Z");
    assert_eq!(outcomes(&world), ["01 try 1 approving"]);
    world.until("2026-06-01T04:00:00Z");
    assert_eq!(outcomes(&world), ["01 try 1 failed"]);
    assert_eq!(world.schedule().failures, 1);
    let approved = world.ask(Command::Approve { run: world.runs()[0].run.clone() });
    assert!(approved.unwrap_err().to_string().contains("is ended, nobody has to approve it"));
}
