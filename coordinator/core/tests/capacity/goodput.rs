//! Daly's closed form against the simulation.

use muster_core::capacity::goodput::Failures;
use proptest::prelude::*;

#[test]
fn the_simulation_and_dalys_closed_form_agree_within_a_point_of_goodput() {
    let mut compared = 0;
    for mtbf in [3600.0, 4.0 * 3600.0, 24.0 * 3600.0, 240.0 * 3600.0] {
        for checkpoint in [5.0, 60.0, 300.0] {
            for restart in [30.0, 300.0, 900.0] {
                let failures = Failures { mtbf, checkpoint, restart };
                let interval = failures.interval();
                let work = 400.0 * interval;
                let simulated = work / failures.simulate(work, interval, 400, 7).mean;
                let closed = failures.goodput(interval);
                assert!((simulated - closed).abs() < 0.01, "{failures:?}: {simulated} {closed}");
                compared += 1;
            }
        }
    }
    assert_eq!(compared, 36);
}

#[test]
fn a_run_of_few_checkpoints_takes_what_the_simulation_says_too() {
    let failures = Failures { mtbf: 3600.0, checkpoint: 300.0, restart: 300.0 };
    for parts in [0.3, 1.1, 2.4] {
        let work = parts * failures.interval();
        let interval = failures.interval_of(work);
        assert!((work / interval - f64::from(parts.ceil() as u32)).abs() < 1e-9, "{parts}");
        let simulated = work / failures.simulate(work, interval, 40_000, 7).mean;
        let closed = work / failures.expected(work, interval);
        assert!((simulated - closed).abs() < 0.01, "{parts}: {simulated} {closed}");
    }
}

#[test]
fn a_run_of_very_many_checkpoints_is_simulated_in_part_with_the_spread_of_the_whole() {
    let failures = Failures { mtbf: 7200.0, checkpoint: 20.0, restart: 120.0 };
    let interval = failures.interval();
    let work = 30_000.0 * interval;
    // 100 runs are few enough to be run whole, 4,000 are not.
    let (whole, part) =
        (failures.simulate(work, interval, 100, 7), failures.simulate(work, interval, 4000, 8));
    assert!((part.mean / failures.expected(work, interval) - 1.0).abs() < 1e-3, "{part:?}");
    assert!((part.p50 / whole.p50 - 1.0).abs() < 2e-3, "{part:?} {whole:?}");
    let spread = |of: &muster_core::capacity::goodput::Simulated| of.p90 - of.p50;
    let ratio = spread(&part) / spread(&whole);
    assert!((0.7..1.4).contains(&ratio), "{ratio}: {part:?} {whole:?}");
}

#[test]
fn a_run_of_few_parts_with_very_many_failures_each_has_the_quantiles_of_a_sum_of_waits() {
    // A piece ends after some 1,900 failures, and so is an exponential wait; a hundred of them are a gamma variable.
    let failures = Failures { mtbf: 1000.0, checkpoint: 6500.0, restart: 10.0 };
    let interval = failures.interval();
    let work = 100.0 * interval;
    let simulated = failures.simulate(work, interval, 2000, 3);
    let of = |seconds: f64| seconds / failures.expected(work, interval);
    assert!((of(simulated.mean) - 1.0).abs() < 0.05, "{simulated:?}");
    assert!((simulated.p50 / simulated.mean - 0.997).abs() < 0.01, "{simulated:?}");
    assert!((simulated.p90 / simulated.mean - 1.130).abs() < 0.02, "{simulated:?}");
    assert!((simulated.p99 / simulated.mean - 1.249).abs() < 0.03, "{simulated:?}");
}

#[test]
fn equal_parts_of_a_run_have_as_many_checkpoints_as_parts() {
    let failures = Failures { mtbf: 1e12, checkpoint: 10.0, restart: 60.0 };
    for parts in 1..200_u32 {
        let interval = 1000.1 / f64::from(parts);
        let end = failures.simulate(1000.1, interval, 1, 1).mean;
        assert!((end - 1000.1 - 10.0 * f64::from(parts)).abs() < 1e-6, "{parts}: {end}");
    }
}

#[test]
fn the_values_of_a_published_example_come_out() {
    // Planner notes 5.6: M = 3.1 h, C = 0.05 h, R = 0.25 h, interval 0.524 h.
    let failures = Failures { mtbf: 3.1 * 3600.0, checkpoint: 180.0, restart: 900.0 };
    assert!((failures.interval() / 3600.0 - 0.524).abs() < 0.001, "{}", failures.interval());
    assert!((failures.goodput(failures.interval()) - 0.7666).abs() < 0.0002);
}

#[test]
fn the_same_seed_gives_the_same_quantiles_and_another_does_not() {
    let failures = Failures { mtbf: 3600.0, checkpoint: 20.0, restart: 60.0 };
    let first = failures.simulate(36_000.0, 400.0, 500, 3);
    assert_eq!(first, failures.simulate(36_000.0, 400.0, 500, 3));
    assert_ne!(first, failures.simulate(36_000.0, 400.0, 500, 4));
    assert!(first.p50 <= first.p90 && first.p90 <= first.p99);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn dalys_interval_is_positive_and_no_other_is_better(
        mtbf in 100.0..1e7_f64, share in 1e-4..0.5_f64, restart in 0.0..50.0_f64, other in 0.05..20.0_f64
    ) {
        let failures = Failures { mtbf, checkpoint: mtbf * share, restart };
        let interval = failures.interval();
        prop_assert!(interval > 0.0);
        // The formula is a series: it may miss the optimum by a thousandth of the goodput.
        prop_assert!(failures.goodput(interval) > failures.goodput(interval * other) - 2e-3);
    }
}
