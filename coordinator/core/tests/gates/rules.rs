//! Each gate by example.

use muster_core::retrain::gates::{
    Approval, Evidence, Judgement, Measured, Outcome, Slice, UserScore, judge,
};
use std::time::Duration;

use super::{at, evidence, gates, noon, says, users, verdict};
use Outcome::{Passed, Stopped, Waiting};

fn set(model: &mut Measured, metric: &str, value: f64) {
    model.metrics.insert(metric.to_owned(), value);
}

#[test]
fn without_gates_numbers_are_all_that_is_asked() {
    let judgement = judge(&gates(""), &evidence(), noon());
    assert_eq!((judgement.outcome, judgement.verdicts.len()), (Passed, 1));
    for spoil in [
        |e: &mut Evidence| set(&mut e.candidate, "loss", f64::NAN),
        |e: &mut Evidence| e.candidate.non_finite = Some(3),
        |e: &mut Evidence| e.users = users([(0.5, 0.5), (f64::INFINITY, 0.1)]),
    ] {
        let mut spoiled = evidence();
        spoil(&mut spoiled);
        assert_eq!(says(&gates(""), &spoiled, "finite").0, Stopped);
    }
}

#[test]
fn absolute_bounds_are_inclusive_and_stop_what_was_not_measured() {
    let text = |bounds: &str| gates(&format!("[gates.at_least]\n{bounds}"));
    assert_eq!(says(&text("\"NDCG@10\" = 0.2\n"), &evidence(), "at_least.NDCG@10").0, Passed);
    let (outcome, why) = says(&text("\"NDCG@10\" = 0.21\n"), &evidence(), "at_least.NDCG@10");
    assert_eq!((outcome, why.as_str()), (Stopped, "NDCG@10 is 0.20000, asked is at least 0.21"));
    let (outcome, why) = says(&text("\"HR@10\" = 0.0\n"), &evidence(), "at_least.HR@10");
    assert_eq!((outcome, why.as_str()), (Stopped, "HR@10 was not measured"));
    let most = gates("[gates.at_most]\n\"Novelty@10\" = 8.0\n");
    assert_eq!(says(&most, &evidence(), "at_most.Novelty@10").0, Stopped);
}

#[test]
fn a_comparison_wants_enough_users_and_both_models_scored_on_each() {
    let spec = gates("[gates.relative]\nmin_users = 50\n");
    let few = Evidence { users: users([(0.9, 0.1); 49]), ..evidence() };
    assert_eq!(says(&spec, &few, "relative"), (Stopped, "the holdout has 49 users, 50 are asked for".into()));
    let mut unpaired = users([(0.9, 0.1); 60]);
    unpaired[3].champion = None;
    let (outcome, why) = says(&spec, &Evidence { users: unpaired, ..evidence() }, "relative");
    assert!(outcome == Stopped && why.contains("1 users were not scored by both"), "{why}");
    let better =
        Evidence { users: users((0..60).map(|u| (0.5 + f64::from(u % 3) / 9.0, 0.4))), ..evidence() };
    assert_eq!(says(&spec, &better, "relative").0, Passed);
}

#[test]
fn a_model_against_itself_is_not_better_and_not_worse() {
    let same =
        Evidence { users: users((0..200).map(|u| (f64::from(u % 5), f64::from(u % 5)))), ..evidence() };
    let rule = |text: &str| gates(&format!("[gates.relative]\nmin_users = 50\n{text}"));
    assert_eq!(says(&rule(""), &same, "relative").0, Stopped);
    assert_eq!(says(&rule("rule = \"not_worse\"\nmargin = 0.01\n"), &same, "relative").0, Passed);
}

#[test]
fn the_order_of_users_changes_no_figure() {
    let spec =
        gates("[gates.relative]\nmin_users = 50\n[[gates.slices]]\nby = \"new_users\"\nmax_drop = 0.1\n");
    let mut all = sliced();
    let forward = judge(&spec, &all, noon());
    all.users.reverse();
    assert_eq!(judge(&spec, &all, noon()), forward);
}

/// 300 users of whom every third is new, and the candidate loses a fifth on these.
fn sliced() -> Evidence {
    let slices = ["yes", "no"].map(|value| Slice { by: "new_users".into(), value: value.into() });
    let score = |user: u32| {
        let champion = 0.3 + f64::from(user % 7) / 50.0;
        let candidate = if user.is_multiple_of(3) { 0.8 * champion } else { 1.2 * champion };
        let slices = vec![u32::from(!user.is_multiple_of(3))];
        UserScore { user, candidate, champion: Some(champion), slices }
    };
    Evidence { slices: slices.into(), users: (0..300).map(score).collect(), ..evidence() }
}

#[test]
fn a_part_may_not_pay_for_the_others() {
    let rule = |text: &str| gates(&format!("[[gates.slices]]\nby = \"new_users\"\nmin_users = 50\n{text}"));
    let (outcome, why) = says(&rule("max_drop = 0.1\n"), &sliced(), "slices.new_users");
    assert!(outcome == Stopped && why.contains("new_users = yes falls by"), "{why}");
    assert_eq!(says(&rule("max_drop = 0.25\n"), &sliced(), "slices.new_users").0, Passed);
    let (outcome, why) = says(&rule("floor = 0.3\n"), &sliced(), "slices.new_users");
    assert!(outcome == Stopped && why.contains("new_users = yes is 0.2"), "{why}");
    let few = gates("[[gates.slices]]\nby = \"new_users\"\nmin_users = 150\nmax_drop = 0.1\n");
    let judgement = judge(&few, &sliced(), noon());
    let verdict = verdict(&judgement, "slices.new_users");
    assert_eq!(
        (verdict.outcome, verdict.figures["parts"], verdict.figures["parts_with_few_users"]),
        (Passed, 1.0, 1.0)
    );
    assert_eq!(says(&rule("max_drop = 0.1\n"), &evidence(), "slices.new_users").0, Stopped);
}

#[test]
fn a_hundred_parts_that_differ_by_chance_alone_stop_nothing() {
    let slices = (0..100).map(|value| Slice { by: "category".into(), value: value.to_string() }).collect();
    let score = |user: u32| {
        let noise =
            |salt: u64| (muster_proto::checkpoint::mix(u64::from(user) * 2 + salt) % 1000) as f64 / 1000.0;
        UserScore { user, candidate: noise(0), champion: Some(noise(1)), slices: vec![user % 100] }
    };
    let evidence = Evidence { slices, users: (0..6000).map(score).collect(), ..evidence() };
    let spec = gates("[[gates.slices]]\nby = \"category\"\nmin_users = 50\nmax_drop = 0.0\n");
    assert_eq!(says(&spec, &evidence, "slices.category").0, Passed);
}

#[test]
fn sanity_bounds_norms_coverage_and_popularity() {
    let spec = gates(
        "[gates.sanity]\nmax_norm = 10.0\nmax_norm_ratio = 3.0\nmin_coverage = 0.4\nmax_popularity_drift = 0.5\n",
    );
    assert_eq!(judge(&spec, &evidence(), noon()).outcome, Passed);
    let spoiled = |spoil: fn(&mut Measured)| {
        let mut evidence = evidence();
        spoil(&mut evidence.candidate);
        let judgement = judge(&spec, &evidence, noon());
        let stopped = judgement.verdicts.iter().filter(|verdict| verdict.outcome == Stopped);
        stopped.map(|verdict| verdict.gate.clone()).collect::<Vec<_>>()
    };
    assert_eq!(spoiled(|model| model.longest_row = Some(7.0)), ["sanity.max_norm_ratio"]);
    assert_eq!(spoiled(|model| model.longest_row = None), ["sanity.max_norm", "sanity.max_norm_ratio"]);
    assert_eq!(spoiled(|model| set(model, "Coverage@10", 0.1)), ["sanity.min_coverage"]);
    assert_eq!(spoiled(|model| set(model, "Novelty@10", 8.4)), ["sanity.max_popularity_drift"]);
}

#[test]
fn a_budget_stops_what_is_too_large_or_too_slow_or_was_never_asked() {
    let spec = gates("[gates.budget]\nmax_size = \"1 MiB\"\nmax_latency = \"20ms\"\n");
    assert_eq!(says(&spec, &evidence(), "budget.max_latency").1, "the latency of answers was not measured");
    let mut measured = evidence();
    measured.candidate.bytes = Some(1 << 20);
    measured.candidate.latency = Some(Duration::from_millis(21));
    assert_eq!(says(&spec, &measured, "budget.max_size").0, Passed);
    let expected = "99 of 100 answers took at most 21ms, asked is 20ms";
    assert_eq!(says(&spec, &measured, "budget.max_latency"), (Stopped, expected.into()));
}

#[test]
fn a_word_is_of_one_model_and_expires() {
    let spec = gates("[gates.approval]\nexpires = \"6h\"\n");
    let word =
        |time: &str, model: &str| Approval { by: "ana".into(), at: at(time), model_digest: model.into() };
    let with = |approvals: Vec<Approval>| says(&spec, &Evidence { approvals, ..evidence() }, "approval").0;
    assert_eq!(with(vec![]), Waiting);
    assert_eq!(with(vec![word("2026-11-28T11:00:00Z", "old")]), Waiting);
    assert_eq!(with(vec![word("2026-11-28T06:00:00Z", "new")]), Waiting);
    assert_eq!(with(vec![word("2026-11-28T06:00:01Z", "new")]), Passed);
    assert_eq!(with(vec![word("2026-11-28T12:00:01Z", "new")]), Waiting);
}

#[test]
fn the_first_model_meets_the_rule_for_it() {
    let first = Evidence { champion: None, ..evidence() };
    let compare = "[gates.relative]\n[[gates.slices]]\nby = \"new_users\"\nmax_drop = 0.1\n";
    let sliced = Evidence { champion: None, ..sliced() };
    let judgement = judge(&gates(compare), &sliced, noon());
    assert_eq!(judgement.outcome, Passed);
    assert!(verdict(&judgement, "relative").why.contains("nothing is asked in its place"));
    let by_word = "[gates.relative]\n[gates.approval]\nalways = false\n";
    let mut spec = gates(by_word);
    spec.cold_start = muster_proto::schedule::ColdStart::Approval;
    assert_eq!(judge(&spec, &first, noon()).outcome, Waiting);
    let later = Evidence { users: users([(0.9, 0.1); 1000]), ..evidence() };
    assert_eq!(judge(&spec, &later, noon()).outcome, Passed);
}

#[test]
fn the_worst_gate_decides_and_the_judgement_reads_back() {
    let spec = gates("[gates.at_least]\n\"NDCG@10\" = 0.3\n[gates.approval]\n");
    let judgement = judge(&spec, &sliced(), noon());
    assert_eq!(judgement.outcome, Stopped);
    assert_eq!((judgement.candidate.as_str(), judgement.champion.as_deref()), ("new", Some("old")));
    let text = serde_json::to_string(&judgement).unwrap();
    assert_eq!(serde_json::from_str::<Judgement>(&text).unwrap(), judgement);
}
