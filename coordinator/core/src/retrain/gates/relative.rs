//! The candidate against the champion, user by user.
//!
//! With d the users' differences (candidate less champion), the hypothesis that the gate has to refute is that their true
//! mean is at most `margin` (`better`), or at most minus `margin` (`not_worse`). It is refuted where the lower bound of the
//! mean at `level` is over that: so `level` is the rate at which a candidate passes that is no better (or is worse by the
//! margin), and it falls the worse the candidate is. A true difference that lies (z(1 - level) + z(power)) standard errors
//! over the refuted one passes with `power`.

use muster_proto::schedule::{GatesSpec, RelativeSpec, Rule};

use super::bootstrap::Bootstrap;
use super::{Evidence, Verdict, normal, without_champion};

/// The gate's key.
const GATE: &str = "relative";

/// Compares the users that both were scored on.
pub(super) fn judge(gates: &GatesSpec, spec: &RelativeSpec, evidence: &Evidence) -> Verdict {
    if evidence.champion.is_none() {
        return without_champion(GATE, gates);
    }
    let mut pairs: Vec<(u32, f64)> = evidence
        .users
        .iter()
        .filter_map(|user| Some((user.user, user.candidate - user.champion?)))
        .filter(|(_, difference)| difference.is_finite())
        .collect();
    let unpaired = evidence.users.len() - pairs.len();
    if unpaired > 0 {
        let why = format!(
            "{unpaired} users were not scored by both models, score the champion on the same holdout"
        );
        return Verdict::new(GATE, false, why).with(&[("unpaired", unpaired as f64)]);
    }
    let users = pairs.len() as u64;
    if users < spec.min_users {
        let why = format!("the holdout has {users} users, {} are asked for", spec.min_users);
        return Verdict::new(GATE, false, why).with(&[("users", users as f64)]);
    }
    pairs.sort_unstable_by_key(|(user, _)| *user);
    let differences: Vec<f64> = pairs.into_iter().map(|(_, difference)| difference).collect();
    compare(&gates.metric, spec, &differences)
}

fn compare(metric: &str, spec: &RelativeSpec, differences: &[f64]) -> Verdict {
    let drawn = Bootstrap::of(differences, spec.resamples, spec.seed);
    let refuted = match spec.rule {
        Rule::Better => spec.margin,
        Rule::NotWorse => -spec.margin,
    };
    let (users, lower) = (differences.len(), drawn.lower(spec.level));
    let errors = normal::quantile(1.0 - spec.level) + normal::quantile(spec.power);
    let detectable = refuted + errors * drawn.error;
    let figures = [
        ("users", users as f64),
        ("mean_difference", drawn.mean),
        ("deviation", drawn.deviation),
        ("standard_error", drawn.error),
        ("lower_bound", lower),
        ("refuted", refuted),
        ("level", spec.level),
        ("power", spec.power),
        ("detectable", detectable),
    ];
    let verdict = match spec.effect.filter(|effect| *effect < detectable) {
        // Users whose difference is of this kind; more than they are for certain, since the error is an estimate.
        Some(effect) => {
            let needed = (errors * drawn.deviation / (effect - refuted)).powi(2).ceil();
            let why = format!(
                "{users} users show a difference of {detectable:.5} in {metric} at the power asked for; {effect} takes \
                 about {needed:.0}"
            );
            Verdict::new(GATE, false, why).with(&[("users_needed", needed), ("effect", effect)])
        }
        None => {
            let passes = lower > refuted;
            let (is, mean) = (if passes { "over" } else { "not over" }, drawn.mean);
            let why = format!(
                "{metric} differs by {mean:+.5} over {users} users, at least {lower:+.5} at level {}, which is {is} \
                 {refuted}",
                spec.level
            );
            Verdict::new(GATE, passes, why)
        }
    };
    verdict.with(&figures)
}
