//! Each rule by an example.

use std::time::Duration;

use muster_core::pool::{
    Blocked, Class, Policy, Problem, Running, Solution, Start, Stop, Waiting, solve, verify,
};
use muster_proto::ids::JobId;

fn waits(job: u64, class: Class, min: u32, max: u32) -> Waiting {
    Waiting { job: JobId(job), class, team: "a".into(), min, max, waited: Duration::ZERO, expected: None }
}

fn runs(job: u64, class: Class, held: u32, min: u32) -> Running {
    let (job, team, ran) = (JobId(job), "a".into(), Duration::from_secs(100));
    Running { job, class, team, held, leaving: 0, min, max: held, ran, expected: None, stopped: 0 }
}

fn solved(free: u32, running: &[Running], waiting: &[Waiting], policy: &Policy) -> Solution {
    let problem = Problem { free, running, waiting, policy };
    let solution = solve(&problem);
    assert_eq!(verify(&problem, &solution), Ok(()), "{solution:?}");
    solution
}

fn reason(solution: &Solution, job: u64) -> String {
    solution.waits.iter().find(|wait| wait.job == JobId(job)).unwrap().why.to_string()
}

#[test]
fn a_job_starts_with_its_minimum_or_not_at_all_and_a_smaller_one_passes_it() {
    let waiting = [waits(1, Class::Scheduled, 8, 8), waits(2, Class::Scheduled, 2, 2)];
    let running = [runs(9, Class::Scheduled, 4, 4)];
    let solution = solved(4, &running, &waiting, &Policy::default());
    assert_eq!(solution.starts, [Start { job: JobId(2), workers: 2 }]);
    assert_eq!(reason(&solution, 1), "needs 8 workers, 4 are free");
}

#[test]
fn for_one_that_was_first_for_long_workers_are_kept() {
    let mut large = waits(1, Class::Scheduled, 8, 8);
    large.waited = Policy::default().patience;
    let solution = solved(
        4,
        &[runs(9, Class::Scheduled, 4, 4)],
        &[large, waits(2, Class::Scheduled, 2, 2)],
        &Policy::default(),
    );
    assert_eq!(solution.starts, []);
    assert_eq!(reason(&solution, 2), "free workers are kept for job-1, which has waited longer");
}

#[test]
fn a_higher_class_takes_what_others_can_spare_before_it_stops_the_latest_of_a_lower_one() {
    let spared = solved(
        1,
        &[runs(8, Class::Backfill, 6, 2), runs(9, Class::Scheduled, 4, 4)],
        &[waits(20, Class::Manual, 4, 4)],
        &Policy::default(),
    );
    assert_eq!(spared.stops, [Stop { job: JobId(8), keeps: 3, for_job: JobId(20) }]);
    let mut late = runs(9, Class::Backfill, 4, 4);
    late.ran = Duration::from_secs(5);
    let stopped = solved(
        0,
        &[runs(8, Class::Backfill, 4, 4), late],
        &[waits(20, Class::Manual, 3, 4)],
        &Policy::default(),
    );
    assert_eq!(stopped.stops, [Stop { job: JobId(9), keeps: 0, for_job: JobId(20) }]);
    assert_eq!(reason(&stopped, 20), "needs 3 workers, 0 are kept for it and others are being given back");
}

#[test]
fn nobody_is_stopped_for_an_equal_nor_more_than_three_times_nor_in_vain() {
    let equal = [runs(8, Class::Scheduled, 4, 4)];
    let solution = solved(0, &equal, &[waits(20, Class::Scheduled, 4, 4)], &Policy::default());
    assert_eq!(solution.stops, []);
    let mut often = runs(8, Class::Backfill, 4, 4);
    often.stopped = 3;
    let solution = solved(0, &[often], &[waits(20, Class::Manual, 4, 4)], &Policy::default());
    assert_eq!(solution.stops, []);
    let some = [runs(8, Class::Backfill, 4, 4), runs(9, Class::Manual, 4, 4)];
    let solution = solved(0, &some, &[waits(20, Class::Manual, 6, 6)], &Policy::default());
    assert_eq!(solution.stops, []);
}

#[test]
fn what_is_promised_is_not_taken_twice() {
    let mut leaves = runs(8, Class::Backfill, 4, 4);
    leaves.leaving = 4;
    let running = [leaves, runs(9, Class::Backfill, 4, 4)];
    let waiting = [waits(20, Class::Manual, 3, 4), waits(21, Class::Manual, 2, 2)];
    let solution = solved(0, &running, &waiting, &Policy::default());
    assert_eq!(solution.stops, [Stop { job: JobId(9), keeps: 0, for_job: JobId(21) }]);
    assert!(matches!(solution.waits[0].why, Blocked::Promised { min: 3, kept: 0 }));
}

#[test]
fn a_quota_holds_one_team_back_and_not_the_next() {
    let policy = Policy { quotas: [("a".to_owned(), 4)].into(), ..Policy::default() };
    let mut other = waits(2, Class::Backfill, 2, 2);
    other.team = "b".into();
    let running = [runs(9, Class::Manual, 3, 3)];
    let solution = solved(8, &running, &[waits(1, Class::Manual, 2, 2), other], &policy);
    assert_eq!(solution.starts, [Start { job: JobId(2), workers: 2 }]);
    assert_eq!(reason(&solution, 1), "needs 2 workers, but team a holds 3 of the 4 that it may");
}

#[test]
fn teams_take_turns_by_what_they_hold_for_their_weight() {
    let of = |job, team: &str| Waiting { team: team.into(), ..waits(job, Class::Scheduled, 2, 2) };
    let waiting = [of(1, "a"), of(2, "a"), of(3, "a"), of(4, "b"), of(5, "b"), of(6, "b")];
    let starts = |policy: &Policy| {
        let solution = solved(8, &[], &waiting, policy);
        solution.starts.iter().map(|start| start.job.0).collect::<Vec<_>>()
    };
    assert_eq!(starts(&Policy::default()), [1, 4, 2, 5]);
    let heavy = Policy { weights: [("a".to_owned(), 3.0)].into(), ..Policy::default() };
    assert_eq!(starts(&heavy), [1, 4, 2, 3]);
}

#[test]
fn what_nobody_waits_for_grows_jobs_to_their_maximum_and_nothing_grows_beside_a_queue() {
    let mut small = runs(9, Class::Scheduled, 2, 2);
    small.max = 5;
    let solution =
        solved(6, std::slice::from_ref(&small), &[waits(1, Class::Manual, 1, 4)], &Policy::default());
    assert_eq!(solution.starts, [Start { job: JobId(1), workers: 4 }]);
    assert_eq!(solution.grows, [Start { job: JobId(9), workers: 4 }]);
    let queue = [waits(1, Class::Manual, 1, 4), waits(2, Class::Manual, 8, 8)];
    let solution = solved(6, &[small], &queue, &Policy::default());
    assert_eq!(
        (solution.starts.as_slice(), solution.grows.as_slice()),
        (&[Start { job: JobId(1), workers: 1 }][..], &[][..])
    );
}

#[test]
fn a_job_rises_by_waiting_and_one_that_is_too_large_is_told_so() {
    let mut old = waits(2, Class::Backfill, 2, 2);
    old.waited = Duration::from_secs(13 * 3600);
    let solution = solved(2, &[], &[old.clone(), waits(1, Class::Scheduled, 2, 2)], &Policy::default());
    assert_eq!(solution.starts, [Start { job: JobId(2), workers: 2 }]);
    let solution = solved(2, &[], &[waits(1, Class::Manual, 3, 3)], &Policy::default());
    assert_eq!(reason(&solution, 1), "needs 3 workers, the pool has 2");
}

#[test]
fn one_that_is_likely_to_end_in_time_may_use_what_is_kept_and_one_that_is_not_may_not() {
    let mut large = waits(1, Class::Scheduled, 8, 8);
    large.waited = Policy::default().patience;
    let mut runs = runs(9, Class::Scheduled, 6, 6);
    runs.expected = Some(Duration::from_secs(100));
    let with = |seconds| Waiting {
        expected: Some(Duration::from_secs(seconds)),
        ..waits(2, Class::Scheduled, 2, 2)
    };
    let starts = |free, job: Waiting| {
        solved(free, std::slice::from_ref(&runs), &[large.clone(), job], &Policy::default()).starts
    };
    assert_eq!(starts(2, with(90)), [Start { job: JobId(2), workers: 2 }]);
    assert_eq!(starts(2, with(110)), []);
    // Of ten workers the large one leaves two.
    assert_eq!(starts(4, with(110)), [Start { job: JobId(2), workers: 2 }]);
}
