//! Floors of parts of the holdout: no part may pay for the gain of the others.
//!
//! A drop stops a candidate where the part's mean difference is shown to be below what is allowed, by a one-sided bound whose
//! level is shared out among the parts (Bonferroni): with a hundred categories one of them always looks bad.

use std::collections::BTreeMap;

use muster_proto::schedule::{GatesSpec, SliceSpec};

use super::{Evidence, UserScore, Verdict, normal, without_champion};

/// Sums over the users of a part.
#[derive(Debug, Clone, Copy, Default)]
struct Sums {
    users: f64,
    candidate: f64,
    champion: f64,
    difference: f64,
    squares: f64,
}

impl Sums {
    fn add(&mut self, user: &UserScore) {
        let champion = user.champion.unwrap_or(0.0);
        let difference = user.candidate - champion;
        self.users += 1.0;
        self.candidate += user.candidate;
        self.champion += champion;
        self.difference += difference;
        self.squares += difference * difference;
    }

    /// Standard error of the mean difference.
    fn error(&self) -> f64 {
        let mean = self.difference / self.users;
        ((self.squares / self.users - mean * mean).max(0.0) / (self.users - 1.0).max(1.0)).sqrt()
    }
}

/// Judges all parts of one kind.
pub(super) fn judge(gates: &GatesSpec, spec: &SliceSpec, evidence: &Evidence) -> Verdict {
    let gate = format!("slices.{}", spec.by);
    let parts = parts(spec, evidence);
    if parts.is_empty() {
        return Verdict::unmeasured(gate, &format!("which user is in which part by {}", spec.by));
    }
    let few = parts.values().filter(|part| part.users < spec.min_users as f64).count();
    let judged: Vec<(&str, Sums)> =
        parts.into_iter().filter(|(_, part)| part.users >= spec.min_users as f64).collect();
    let counts = [("parts", judged.len() as f64), ("parts_with_few_users", few as f64)];
    if let Some((value, mean)) = below_floor(spec, &judged) {
        let why = format!("{} of {} = {value} is {mean:.5}, under its floor", gates.metric, spec.by);
        return Verdict::new(gate, false, why).with(&counts).with(&[("mean", mean)]);
    }
    let Some(max_drop) = spec.max_drop else {
        return Verdict::new(gate, true, format!("all of {} parts are over the floor", judged.len()))
            .with(&counts);
    };
    if evidence.champion.is_none() {
        return without_champion(gate, gates).with(&counts);
    }
    let errors = normal::quantile(1.0 - spec.level / (judged.len().max(1)) as f64);
    let shown = |(value, part): &(&str, Sums)| {
        let (allowed, mean) = (-max_drop * part.champion / part.users, part.difference / part.users);
        let upper = mean + errors * part.error();
        (upper < allowed).then(|| ((*value).to_owned(), mean, allowed, upper - allowed))
    };
    let worst = judged.iter().filter_map(shown).min_by(|a, b| a.3.total_cmp(&b.3));
    match worst {
        None => Verdict::new(
            gate,
            true,
            format!("none of {} parts is shown to lose more than {max_drop}", judged.len()),
        )
        .with(&counts),
        Some((value, mean, allowed, _)) => {
            let why = format!(
                "{} of {} = {value} falls by {:.5}, where {:.5} is allowed",
                gates.metric, spec.by, -mean, -allowed
            );
            Verdict::new(gate, false, why)
                .with(&counts)
                .with(&[("mean_difference", mean), ("allowed", allowed)])
        }
    }
}

fn parts<'e>(spec: &SliceSpec, evidence: &'e Evidence) -> BTreeMap<&'e str, Sums> {
    let mut parts: BTreeMap<&str, Sums> = BTreeMap::new();
    let mut users: Vec<&UserScore> = evidence.users.iter().collect();
    // Sums of floats have an order.
    users.sort_unstable_by_key(|user| user.user);
    for user in users {
        let of_kind = user.slices.iter().filter_map(|slice| evidence.slices.get(*slice as usize));
        for slice in of_kind.filter(|slice| slice.by == spec.by) {
            parts.entry(&slice.value).or_default().add(user);
        }
    }
    parts
}

fn below_floor<'p>(spec: &SliceSpec, judged: &[(&'p str, Sums)]) -> Option<(&'p str, f64)> {
    let floor = spec.floor?;
    let means = judged.iter().map(|(value, part)| (*value, part.candidate / part.users));
    means.filter(|(_, mean)| *mean < floor).min_by(|a, b| a.1.total_cmp(&b.1))
}
