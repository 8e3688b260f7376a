//! Gates: whether a candidate may take the champion's place, with the figures that say so.
//!
//! Pure: spec, evidence and time in, a verdict for each gate out. What is asked and was not measured stops a candidate: no
//! gate is passed for want of evidence.

mod absolute;
mod approval;
mod bootstrap;
mod evidence;
mod model;
mod normal;
mod relative;
mod slices;

use std::collections::BTreeMap;
use std::fmt;

use jiff::Timestamp;
use muster_proto::schedule::GatesSpec;
use serde::{Deserialize, Serialize};

pub use self::evidence::{Approval, Evidence, Measured, Slice, UserScore};

/// What a gate says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The candidate may pass.
    Passed,
    /// Somebody has to say something first.
    Waiting,
    /// The candidate may not pass.
    Stopped,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Passed => "passed",
            Self::Waiting => "waiting",
            Self::Stopped => "stopped",
        })
    }
}

/// What one gate says, and what it rests on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Verdict {
    /// The gate, by its key in the schedule file: `relative`, `at_least.NDCG@10`.
    pub gate: String,
    /// Whether it lets the candidate pass.
    pub outcome: Outcome,
    /// Why, in words.
    pub why: String,
    /// The figures; only numbers, so that they can be written as JSON.
    pub figures: BTreeMap<String, f64>,
}

impl Verdict {
    fn new(gate: impl Into<String>, passes: bool, why: impl Into<String>) -> Self {
        let outcome = if passes { Outcome::Passed } else { Outcome::Stopped };
        Self { gate: gate.into(), outcome, why: why.into(), figures: BTreeMap::new() }
    }

    /// A gate that has nothing to go by.
    fn unmeasured(gate: impl Into<String>, what: &str) -> Self {
        Self::new(gate, false, format!("{what} was not measured"))
    }

    fn with(mut self, figures: &[(&str, f64)]) -> Self {
        let numbers = figures.iter().filter(|(_, figure)| figure.is_finite());
        self.figures.extend(numbers.map(|(name, figure)| ((*name).to_owned(), *figure)));
        self
    }
}

/// What all gates say together; kept with the version.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Judgement {
    /// The worst that a gate says.
    pub outcome: Outcome,
    /// When it was judged.
    pub at: Timestamp,
    /// The candidate, by the digest over its pieces.
    pub candidate: String,
    /// The champion that it was compared with.
    pub champion: Option<String>,
    /// Users of the holdout.
    pub users: u64,
    /// Gate by gate.
    pub verdicts: Vec<Verdict>,
}

/// Judges a candidate at `now`.
#[must_use]
pub fn judge(spec: &GatesSpec, evidence: &Evidence, now: Timestamp) -> Judgement {
    let mut verdicts = vec![absolute::finite(evidence)];
    verdicts.extend(absolute::bounds(spec, &evidence.candidate));
    verdicts.extend(spec.relative.as_ref().map(|relative| relative::judge(spec, relative, evidence)));
    verdicts.extend(spec.slices.iter().map(|slice| slices::judge(spec, slice, evidence)));
    verdicts.extend(model::sanity(&spec.sanity, evidence));
    verdicts.extend(model::budget(&spec.budget, &evidence.candidate));
    verdicts.extend(approval::judge(spec, evidence, now));
    Judgement {
        outcome: verdicts.iter().map(|verdict| verdict.outcome).max().unwrap_or(Outcome::Passed),
        at: now,
        candidate: evidence.candidate.model_digest.clone(),
        champion: evidence.champion.as_ref().map(|champion| champion.model_digest.clone()),
        users: evidence.users.len() as u64,
        verdicts,
    }
}

/// A judgement with what people have said by `now`.
#[must_use]
pub fn with_approvals(
    spec: &GatesSpec,
    judgement: &Judgement,
    approvals: Vec<Approval>,
    now: Timestamp,
) -> Judgement {
    let measured = |digest: &String| Measured { model_digest: digest.clone(), ..Measured::default() };
    let evidence = Evidence {
        candidate: measured(&judgement.candidate),
        champion: judgement.champion.as_ref().map(measured),
        approvals,
        ..Evidence::default()
    };
    let mut judgement = judgement.clone();
    judgement.verdicts.retain(|verdict| verdict.gate != approval::GATE);
    judgement.verdicts.extend(approval::judge(spec, &evidence, now));
    judgement.outcome =
        judgement.verdicts.iter().map(|verdict| verdict.outcome).max().unwrap_or(Outcome::Passed);
    judgement
}

/// What stands in for a comparison where there is no champion.
fn without_champion(gate: impl Into<String>, spec: &GatesSpec) -> Verdict {
    use muster_proto::schedule::ColdStart;
    let decides = match spec.cold_start {
        ColdStart::Absolute => "at_least and at_most decide",
        ColdStart::Approval => "a person decides",
        ColdStart::Pass => "nothing is asked in its place",
    };
    Verdict::new(gate, true, format!("there is no champion to compare with: {decides}"))
}
