//! Whether a model looks like one, and what it costs to serve.

use muster_proto::schedule::{BudgetSpec, SanitySpec};
use muster_proto::units::{ByteSize, format_duration};

use super::{Evidence, Measured, Verdict};

/// The bounds of `[gates.sanity]`.
pub(super) fn sanity(spec: &SanitySpec, evidence: &Evidence) -> Vec<Verdict> {
    let Evidence { candidate, champion, .. } = evidence;
    let champion = champion.as_ref();
    let mut verdicts = Vec::new();
    if let Some(most) = spec.max_norm {
        let measured = candidate.longest_row;
        verdicts.push(at_most("sanity.max_norm", "the longest row's norm", measured, most));
    }
    if let (Some(most), Some(champion)) = (spec.max_norm_ratio, champion) {
        let pair = candidate.longest_row.zip(champion.longest_row.filter(|norm| *norm > 0.0));
        let ratio = pair.map(|(ours, theirs)| ours / theirs);
        verdicts.push(at_most(
            "sanity.max_norm_ratio",
            "the longest row's norm over the champion's",
            ratio,
            most,
        ));
    }
    if let Some(least) = spec.min_coverage {
        let gate = "sanity.min_coverage";
        verdicts.push(match widest(candidate, "Coverage@") {
            None => Verdict::unmeasured(gate, "coverage"),
            Some((name, value)) => {
                Verdict::new(gate, value >= least, format!("{name} is {value:.5}, asked is at least {least}"))
                    .with(&[("value", value), ("bound", least)])
            }
        });
    }
    if let (Some(most), Some(champion)) = (spec.max_popularity_drift, champion) {
        let pair = widest(candidate, "Novelty@").zip(widest(champion, "Novelty@"));
        let drift =
            pair.filter(|(ours, theirs)| ours.0 == theirs.0).map(|(ours, theirs)| (ours.1 - theirs.1).abs());
        let what = "the distance of the mean novelty from the champion's";
        verdicts.push(at_most("sanity.max_popularity_drift", what, drift, most));
    }
    verdicts
}

/// The bounds of `[gates.budget]`.
pub(super) fn budget(spec: &BudgetSpec, candidate: &Measured) -> Vec<Verdict> {
    let mut verdicts = Vec::new();
    if let Some(most) = spec.max_size {
        let gate = "budget.max_size";
        verdicts.push(match candidate.bytes {
            None => Verdict::unmeasured(gate, "the model's size"),
            Some(bytes) => {
                let size = ByteSize::from_bytes(bytes);
                Verdict::new(gate, size <= most, format!("the model has {size}, asked is at most {most}"))
                    .with(&[("bytes", bytes as f64), ("bound", most.bytes() as f64)])
            }
        });
    }
    if let Some(most) = spec.max_latency {
        let gate = "budget.max_latency";
        verdicts.push(match candidate.latency {
            None => Verdict::unmeasured(gate, "the latency of answers"),
            Some(latency) => {
                let (took, asked) = (format_duration(latency), format_duration(most.0));
                let why = format!("99 of 100 answers took at most {took}, asked is {asked}");
                Verdict::new(gate, latency <= most.0, why)
                    .with(&[("seconds", latency.as_secs_f64()), ("bound", most.0.as_secs_f64())])
            }
        });
    }
    verdicts
}

fn at_most(gate: &str, what: &str, measured: Option<f64>, most: f64) -> Verdict {
    match measured {
        None => Verdict::unmeasured(gate, what),
        Some(value) => {
            Verdict::new(gate, value <= most, format!("{what} is {value:.5}, asked is at most {most}"))
                .with(&[("value", value), ("bound", most)])
        }
    }
}

/// The metric of this kind with the longest lists.
fn widest<'m>(measured: &'m Measured, prefix: &str) -> Option<(&'m str, f64)> {
    let k = |name: &str| name.strip_prefix(prefix)?.parse::<u32>().ok();
    let of_kind = measured.metrics.iter().filter_map(|(name, value)| Some((k(name)?, name, value)));
    of_kind.max_by_key(|(k, ..)| *k).map(|(_, name, value)| (name.as_str(), *value))
}
