//! A coordinator that is killed before and after every commit: whoever takes over comes to the same end.

use super::world::{Day, Kill, NIGHTLY, World};

/// Nine nights in which everything happens.
fn nights() -> World {
    let schedule =
        NIGHTLY.replace("cron", "retries = 2\nbackoff = \"30m\"\nconcurrency = { queue = 2 }\ncron");
    let text = format!(
        "{schedule}[window]\nwait = \"30m\"\n[promotion]\nhook = \"deploy\"\n[health]\nmetric = \"ctr\"\nwindow = \"3h\"\n\
         at_least = 0.02\n[retention]\nkeep = 2\n"
    );
    let clicks = |clicks| Day { clicks: Some(clicks), ..Day::default() };
    World::with("2026-06-01T00:00:00Z", &text)
        .plan(1, clicks(0.03))
        .plan(2, Day { is_stopped: true, ..Day::default() })
        .plan(3, Day { failing_jobs: 1, ..clicks(0.04) })
        .plan(4, Day { failing_calls: 2, ..clicks(0.03) })
        .plan(5, clicks(0.01))
        .plan(6, Day { is_empty: true, ..Day::default() })
        .plan(7, Day { failing_calls: 9, ..Day::default() })
        .plan(8, clicks(0.05))
}

/// What anybody can see of it in the end.
fn end(world: &World) -> String {
    let mut told = String::new();
    for run in world.runs() {
        told.push_str(&format!("{} {} {:?}\n", run.logical, run.attempt, run.outcome));
        for transition in &run.transitions {
            told.push_str(&format!("  {} {} {}\n", transition.at, transition.stage, transition.why));
        }
    }
    let model = world.model();
    told.push_str(&format!("{:?}\n{:?}\n{:?}\n", model.aliases, world.history(), model.reported));
    told.push_str(&format!("{:?}", world.schedule()));
    told
}

#[test]
fn a_kill_at_any_commit_changes_no_run_no_champion_and_no_line_of_the_history() {
    let whole = {
        let mut world = nights();
        world.until("2026-06-09T00:00:00Z");
        world
    };
    let expected = end(&whole);
    assert!(whole.commits > 80, "{}", whole.commits);
    for commit in 2..=whole.commits {
        for kill in [Kill::Before(commit), Kill::After(commit)] {
            let mut world = nights();
            world.kill = Some(kill);
            world.until("2026-06-09T00:00:00Z");
            let found = end(&world);
            let differing = found.lines().zip(expected.lines()).find(|(found, expected)| found != expected);
            assert!(found == expected, "{kill:?}: found and expected {differing:#?}");
            assert!(
                world.jobs.values().all(|(_, times)| *times == 1),
                "a job was submitted twice at {kill:?}"
            );
            assert_eq!(world.jobs.len(), whole.jobs.len(), "{kill:?}");
            assert_eq!(world.tasks, whole.tasks, "{kill:?}");
            let twice = world.calls.values().filter(|times| **times > 1).count();
            assert!(twice <= 1, "only the call that was cut is made again at {kill:?}");
            assert_eq!(world.calls.keys().collect::<Vec<_>>(), whole.calls.keys().collect::<Vec<_>>());
        }
    }
}

#[test]
fn of_two_leaders_that_race_for_a_fire_one_has_it() {
    let mut world = World::with("2026-06-01T00:00:00Z", NIGHTLY);
    for _ in 0..5 {
        world.now += jiff::SignedDuration::from_hours(24);
        // The first decides too, and is refused: the lead is another's, which began from the same store.
        let lost = world.machine.tick(world.now);
        assert!(!lost.is_empty());
        world.restore();
        let kept = world.machine.tick(world.now);
        assert_eq!(lost, kept, "both decide alike, so that it would not matter whose came first");
        world.commit(kept).unwrap();
        world.settle();
    }
    assert_eq!(world.runs().len(), 5);
    assert!(world.runs().iter().all(|run| run.attempt == 1));
}
