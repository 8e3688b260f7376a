//! Numbers that are numbers, and bounds on a candidate's metrics by themselves.

use muster_proto::schedule::GatesSpec;

use super::{Evidence, Measured, Verdict};

/// The gate that no schedule file turns off.
const FINITE: &str = "finite";

/// Whether metrics, scores and parameters are numbers.
pub(super) fn finite(evidence: &Evidence) -> Verdict {
    let Measured { metrics, non_finite, .. } = &evidence.candidate;
    if let Some((metric, value)) = metrics.iter().find(|(_, value)| !value.is_finite()) {
        return Verdict::new(FINITE, false, format!("{metric} is {value}"));
    }
    let score = |score: &f64| !score.is_finite();
    let bad = evidence
        .users
        .iter()
        .filter(|user| score(&user.candidate) || user.champion.is_some_and(|s| score(&s)));
    let (bad, parameters) = (bad.count(), non_finite.unwrap_or(0));
    let figures = [("users", bad as f64), ("parameters", parameters as f64)];
    let verdict = match (bad, parameters) {
        (0, 0) => Verdict::new(FINITE, true, "all that was looked at are numbers"),
        (0, parameters) => Verdict::new(FINITE, false, format!("{parameters} parameters are not numbers")),
        (users, _) => Verdict::new(FINITE, false, format!("the scores of {users} users are not numbers")),
    };
    verdict.with(&figures)
}

/// The bounds on metrics.
pub(super) fn bounds(spec: &GatesSpec, candidate: &Measured) -> Vec<Verdict> {
    let least = spec.at_least.iter().map(|(metric, bound)| ("at_least", metric, *bound));
    let most = spec.at_most.iter().map(|(metric, bound)| ("at_most", metric, *bound));
    let judge = |(key, metric, bound): (&str, &String, f64)| {
        let gate = format!("{key}.{metric}");
        let Some(value) = candidate.metrics.get(metric).copied() else {
            return Verdict::unmeasured(gate, metric);
        };
        let passes = if key == "at_least" { value >= bound } else { value <= bound };
        let asked = key.replace('_', " ");
        Verdict::new(gate, passes, format!("{metric} is {value:.5}, asked is {asked} {bound}"))
            .with(&[("value", value), ("bound", bound)])
    };
    least.chain(most).map(judge).collect()
}
