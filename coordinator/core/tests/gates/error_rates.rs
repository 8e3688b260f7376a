//! How often the relative gate is wrong, over a thousand simulated pairs of models each: the level and the power that a
//! schedule file states are those that come out.

use muster_core::retrain::gates::{Evidence, Outcome, UserScore, judge};
use muster_proto::checkpoint::mix;
use muster_proto::schedule::GatesSpec;

use super::{evidence, gates, noon, users};

const PAIRS: u64 = 1000;
const USERS: u64 = 400;

/// Users for whom the target is in the champion's list of ten.
const HIT: f64 = 0.3;
/// Users who get the same list from both models.
const SAME: f64 = 0.6;

/// A number in [0, 1) for a purpose of a user in a pair.
fn uniform(pair: u64, user: u64, purpose: u64) -> f64 {
    (mix(mix(pair * 16 + purpose).wrapping_add(user)) >> 11) as f64 / (1_u64 << 53) as f64
}

/// NDCG of a target at place `0..10`.
fn gain(place: u32) -> f64 {
    1.0 / (f64::from(place) + 2.0).log2()
}

/// Mean and mean square of the gain of a hit, whose place may be any of the ten.
fn gains() -> (f64, f64) {
    let mean = |power: i32| (0..10).map(|place| gain(place).powi(power)).sum::<f64>() / 10.0;
    (mean(1), mean(2))
}

fn score(hit: f64, place: f64, share: f64) -> f64 {
    if hit < share { gain((place * 10.0) as u32) } else { 0.0 }
}

/// A pair of models of which the candidate's true mean NDCG@10 is higher by `better`.
fn pair(number: u64, better: f64) -> Vec<UserScore> {
    let share = HIT + better / ((1.0 - SAME) * gains().0);
    users((0..USERS).map(|user| {
        let draw = |purpose| uniform(number, user, purpose);
        let champion = score(draw(0), draw(1), HIT);
        let candidate = if draw(2) < SAME { champion } else { score(draw(3), draw(4), share) };
        (candidate, champion)
    }))
}

/// Standard deviation of the difference of a user between two equal models.
fn deviation() -> f64 {
    let (mean, square) = gains();
    ((1.0 - SAME) * 2.0 * (HIT * square - (HIT * mean).powi(2))).sqrt()
}

/// How many of the pairs pass, of candidates that are better by `better`.
fn passes(spec: &GatesSpec, better: f64, series: u64) -> u64 {
    let pass = |number: u64| {
        let users = pair(series * PAIRS + number, better);
        judge(spec, &Evidence { users, ..evidence() }, noon()).outcome == Outcome::Passed
    };
    (0..PAIRS).map(|number| u64::from(pass(number))).sum()
}

/// Three standard deviations of how many of the pairs pass that do so with this chance.
fn noise(chance: f64) -> f64 {
    3.0 * (PAIRS as f64 * chance * (1.0 - chance)).sqrt()
}

fn relative(text: &str) -> GatesSpec {
    gates(&format!("[gates.relative]\nmin_users = 400\nresamples = 400\n{text}"))
}

/// The true difference over what the gate refutes that passes with the power: z(0.95) + z(0.8) standard errors.
fn detectable() -> f64 {
    (1.644_854 + 0.841_621) * deviation() / (USERS as f64).sqrt()
}

#[test]
fn a_candidate_that_is_no_better_passes_no_more_often_than_the_level() {
    for (level, series) in [(0.05, 1), (0.1, 2)] {
        let spec = relative(&format!("level = {level}\n"));
        let (equal, worse) = (passes(&spec, 0.0, series), passes(&spec, -0.01, series));
        let most = PAIRS as f64 * level;
        assert!(equal as f64 <= most + noise(level), "{equal} of {PAIRS} equal candidates pass at {level}");
        assert!(equal as f64 >= most - noise(level), "{equal} of {PAIRS}: the gate is stricter than {level}");
        assert!((worse as f64) < most / 2.0, "{worse} of {PAIRS} worse candidates pass at {level}");
    }
}

#[test]
fn a_candidate_that_is_better_by_the_stated_effect_passes_with_the_stated_power() {
    let passed = passes(&relative(""), detectable(), 3);
    assert!(passed as f64 >= 0.8 * PAIRS as f64 - noise(0.8), "{passed} of {PAIRS} pass");
    let passed = passes(&relative(""), 1.5 * detectable(), 4);
    assert!(passed as f64 >= 0.95 * PAIRS as f64, "{passed} of {PAIRS} that are better by half more pass");
}

#[test]
fn a_candidate_that_is_worse_by_the_margin_passes_not_worse_no_more_often_than_the_level() {
    let margin = detectable();
    let spec = relative(&format!("rule = \"not_worse\"\nmargin = {margin}\n"));
    let (worse, equal) = (passes(&spec, -margin, 5), passes(&spec, 0.0, 6));
    assert!(
        worse as f64 <= 0.05 * PAIRS as f64 + noise(0.05),
        "{worse} of {PAIRS} pass that are worse by the margin"
    );
    assert!(equal as f64 >= 0.8 * PAIRS as f64 - noise(0.8), "{equal} of {PAIRS} equal ones pass");
}

#[test]
fn a_holdout_that_is_too_small_for_the_effect_says_how_many_users_it_takes() {
    let spec = relative(&format!("effect = {}\n", detectable() / 2.0));
    let judgement = judge(&spec, &Evidence { users: pair(7, 0.0), ..evidence() }, noon());
    let verdict = super::verdict(&judgement, "relative");
    assert_eq!(verdict.outcome, Outcome::Stopped);
    // Half of the effect takes four times the users, but for how well their spread is known.
    let needed = verdict.figures["users_needed"];
    assert!((1100.0..2300.0).contains(&needed), "{needed} users: {}", verdict.why);
    let enough = relative(&format!("effect = {}\n", detectable() * 1.3));
    let judgement = judge(&enough, &Evidence { users: pair(7, 0.0), ..evidence() }, noon());
    assert!(!super::verdict(&judgement, "relative").figures.contains_key("users_needed"));
}
