//! What is measured of a model on a holdout.

use std::collections::BTreeMap;

use muster_core::retrain::gates::{Evidence, Measured, UserScore};
use muster_data::Split;
use muster_proto::checkpoint::mix;

use super::parameters::{self, Seen};
use super::{Error, Work};
use crate::evaluate::{Evaluation, UserMetric};
use crate::standalone::Standalone;

/// The most users that evidence holds one by one; of more, so many are drawn by their numbers, the same ones for both models.
/// Metrics are over all of them in any case. A million users show differences of a thousandth of a metric that varies by 1.
const MOST_USERS: usize = 1_000_000;

/// A model's part of the evidence.
pub(super) struct Scored {
    pub(super) measured: Measured,
    /// The users' metric, by their numbers, ascending.
    pub(super) users: Vec<(u32, f64)>,
}

/// Scores a model on the test split of the dataset that it stands on, and looks at its parameters.
///
/// # Errors
/// The dataset is damaged, or the work is to stop.
pub(super) fn score(
    model: &mut Standalone,
    (whose, model_digest): (&'static str, &str),
    metric: UserMetric,
    work: &Work<'_>,
) -> Result<Scored, Error> {
    let Seen { non_finite, longest_row } = parameters::look(&model.trainer);
    work.beat()?;
    let mut users = Vec::new();
    let mut visit = |rank: crate::evaluate::UserRank| {
        users.push((rank.user, metric.of(rank.above)));
        // A beat a call of the network is often enough.
        !users.len().is_multiple_of(crate::evaluate::CALL) || (work.pulse)()
    };
    let evaluated = model.evaluate_users(Split::Test, &mut visit);
    let Evaluation { metrics, .. } = evaluated.map_err(|source| match source {
        crate::evaluate::Error::Stopped => Error::Stopped,
        source => Error::Score { whose, source },
    })?;
    users.sort_unstable_by_key(|(user, _)| *user);
    let measured = Measured {
        model_digest: model_digest.to_owned(),
        metrics,
        non_finite: Some(non_finite),
        longest_row: Some(longest_row),
        bytes: None,
        latency: None,
    };
    Ok(Scored { measured, users })
}

/// Puts together what was measured of a candidate and of the champion on one holdout; `slices` are the parts of its users.
pub(super) fn together(
    candidate: Scored,
    champion: Option<Scored>,
    slices: Vec<(u32, Vec<u32>)>,
) -> Evidence {
    let (champion, theirs) = match champion {
        Some(Scored { measured, users }) => (Some(measured), Some(users)),
        None => (None, None),
    };
    let is_drawn = draw(candidate.users.len());
    // All three are in the order of the same users.
    let users =
        candidate.users.iter().zip(slices).enumerate().map(|(place, ((user, score), (_, slices)))| {
            let champion =
                theirs.as_ref().and_then(|theirs| theirs.get(place)).filter(|(other, _)| other == user);
            UserScore { user: *user, candidate: *score, champion: champion.map(|(_, score)| *score), slices }
        });
    let users = users.filter(|score| is_drawn(score.user)).collect();
    Evidence { candidate: candidate.measured, champion, slices: vec![], users, approvals: vec![] }
}

/// Which of so many users are taken.
fn draw(users: usize) -> impl Fn(u32) -> bool {
    let share = MOST_USERS as f64 / users.max(1) as f64;
    let bound = if share >= 1.0 { u64::MAX } else { (share * u64::MAX as f64) as u64 };
    move |user| mix(u64::from(user)) <= bound
}

/// Metrics as JSON can hold them. That some were none is in the judgement.
pub(super) fn numbers(metrics: &BTreeMap<String, f64>) -> BTreeMap<String, f64> {
    metrics
        .iter()
        .filter(|(_, value)| value.is_finite())
        .map(|(name, value)| (name.clone(), *value))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_many_users_about_the_stated_number_is_drawn_and_of_few_all_are() {
        assert!((0..10_000).all(draw(10_000)));
        let users = 4 * MOST_USERS;
        let is_drawn = draw(users);
        let drawn = (0..users as u32).filter(|user| is_drawn(*user)).count();
        // Ten standard deviations of a binomial count.
        assert!(drawn.abs_diff(MOST_USERS) < 10_000, "{drawn}");
    }
}
