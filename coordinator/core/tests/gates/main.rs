//! Gates: each rule by example, and how often the comparison with the champion is wrong.

#![allow(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

mod error_rates;
mod rules;

use jiff::Timestamp;
use muster_core::retrain::gates::{Evidence, Judgement, Measured, Outcome, UserScore, Verdict, judge};
use muster_proto::config;
use muster_proto::schedule::{GatesSpec, ScheduleSpec};

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn noon() -> Timestamp {
    at("2026-11-28T12:00:00Z")
}

/// The gates of a schedule file; nothing is asked of the first model unless they say so.
fn gates(text: &str) -> GatesSpec {
    let names = "name = \"shop\"\nmodel = \"shop\"\ndataset = \"dataset.toml\"\njob = \"job.toml\"\nworkspace = \"/shared/shop\"\n";
    let text = format!("{names}cron = \"@daily\"\n[gates]\ncold_start = \"pass\"\n{text}");
    config::parse::<ScheduleSpec>(&text, "schedule.toml", &[]).unwrap().gates.unwrap()
}

/// A candidate that was measured, beside a champion that is alike.
fn evidence() -> Evidence {
    let metrics = [("NDCG@10", 0.2), ("Coverage@10", 0.5), ("Novelty@10", 9.0)];
    let measured = |digest: &str| Measured {
        model_digest: digest.to_owned(),
        metrics: metrics.map(|(name, value)| (name.to_owned(), value)).into(),
        non_finite: Some(0),
        longest_row: Some(2.0),
        ..Measured::default()
    };
    Evidence { candidate: measured("new"), champion: Some(measured("old")), ..Evidence::default() }
}

/// Users with these scores of candidate and champion.
fn users(scores: impl IntoIterator<Item = (f64, f64)>) -> Vec<UserScore> {
    let user = |(user, (candidate, champion)): (u32, _)| UserScore {
        user,
        candidate,
        champion: Some(champion),
        slices: Vec::new(),
    };
    (0..).zip(scores).map(user).collect()
}

/// What the gate of this name says.
fn verdict<'j>(judgement: &'j Judgement, gate: &str) -> &'j Verdict {
    let found = judgement.verdicts.iter().find(|verdict| verdict.gate == gate);
    found.unwrap_or_else(|| panic!("no gate {gate} in {judgement:?}"))
}

/// What the gate of this name says to evidence, and why.
fn says(spec: &GatesSpec, evidence: &Evidence, gate: &str) -> (Outcome, String) {
    let judgement = judge(spec, evidence, noon());
    let Verdict { outcome, why, .. } = verdict(&judgement, gate);
    (*outcome, why.clone())
}
