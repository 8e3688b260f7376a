//! What holds of every answer.

use std::time::Duration;

use muster_core::pool::{Class, Policy, Problem, Running, Waiting, solve, verify};
use muster_proto::ids::JobId;
use proptest::prelude::*;

fn class() -> impl Strategy<Value = Class> {
    prop::sample::select(&Class::ALL[..])
}

fn team() -> impl Strategy<Value = String> {
    prop::sample::select(vec!["a".to_owned(), "b".to_owned(), "c".to_owned()])
}

fn expected() -> impl Strategy<Value = Option<Duration>> {
    prop::option::of((0..5000_u64).prop_map(Duration::from_secs))
}

fn waiting() -> impl Strategy<Value = Vec<Waiting>> {
    let one = (class(), team(), 1..12_u32, 0..8_u32, (0..60_000_u64, expected()));
    prop::collection::vec(one, 0..30).prop_map(|all| {
        type One = (Class, String, u32, u32, (u64, Option<Duration>));
        let job = |(job, (class, team, min, more, (waited, expected))): (u64, One)| Waiting {
            job: JobId(job),
            class,
            team,
            min,
            max: min + more,
            waited: Duration::from_secs(waited),
            expected,
        };
        (100..).zip(all).map(job).collect()
    })
}

fn running() -> impl Strategy<Value = Vec<Running>> {
    let one = (class(), team(), 1..8_u32, 0..8_u32, 0..5_u32, (0..60_000_u64, 0..5_u32, expected()));
    prop::collection::vec(one, 0..12).prop_map(|all| {
        type One = (Class, String, u32, u32, u32, (u64, u32, Option<Duration>));
        let job = |(job, (class, team, min, extra, leaving, (ran, stopped, expected))): (u64, One)| {
            let held = min + extra;
            // It gives back what it can spare, or all.
            let leaving = if leaving <= extra { leaving } else { held };
            let ran = Duration::from_secs(ran);
            Running {
                job: JobId(job),
                class,
                team,
                held,
                leaving,
                min,
                max: held + 3,
                ran,
                expected,
                stopped,
            }
        };
        (1..).zip(all).map(job).collect()
    })
}

fn policy() -> impl Strategy<Value = Policy> {
    (prop::option::of(0..30_u32), prop::option::of(0.5..4.0_f64)).prop_map(|(quota, weight)| Policy {
        quotas: quota.map(|quota| ("a".to_owned(), quota)).into_iter().collect(),
        weights: weight.map(|weight| ("b".to_owned(), weight)).into_iter().collect(),
        ..Policy::default()
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn an_answer_keeps_every_promise_and_does_not_know_the_order_of_its_question(
        free in 0..40_u32, running in running(), waiting in waiting(), policy in policy(),
    ) {
        let problem = Problem { free, running: &running, waiting: &waiting, policy: &policy };
        let solution = solve(&problem);
        prop_assert_eq!(verify(&problem, &solution), Ok(()), "{:?}", solution);
        let (mut back, mut jobs) = (running.clone(), waiting.clone());
        back.reverse();
        jobs.reverse();
        let turned = Problem { running: &back, waiting: &jobs, ..problem };
        prop_assert_eq!(solve(&turned), solution);
    }

    #[test]
    fn what_was_asked_back_is_not_asked_back_again(
        running in running(), waiting in waiting(), policy in policy(),
    ) {
        let problem = Problem { free: 0, running: &running, waiting: &waiting, policy: &policy };
        let first = solve(&problem);
        let mut later = running.clone();
        for stop in &first.stops {
            let job = later.iter_mut().find(|job| job.job == stop.job).unwrap();
            job.leaving = job.held - stop.keeps;
        }
        let again = solve(&Problem { running: &later, ..problem });
        prop_assert_eq!(again.stops, []);
        prop_assert_eq!(again.waits.len(), first.waits.len());
    }
}
