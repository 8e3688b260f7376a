//! Early stopping: which of two values of a metric is better, and when there has been no better one for long enough.

use muster_proto::checkpoint::Validation;
use muster_proto::job::EarlyStoppingSpec;

use super::Error;
use crate::evaluate::Metrics;

/// Metrics that are better when lower.
const LOWER_IS_BETTER: [&str; 5] = ["loss", "log_loss", "mse", "RMSE", "MAE"];

/// What a validation means for the run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Judgement {
    /// The parameters are the best so far.
    pub(super) best: bool,
    /// Patience is over.
    pub(super) stop: bool,
}

/// Enters a validation at `step` into the state.
///
/// # Errors
/// A metric that validation does not give.
pub(super) fn judge(
    spec: Option<&EarlyStoppingSpec>,
    metrics: &Metrics,
    step: u64,
    state: &mut Validation,
) -> Result<Judgement, Error> {
    state.metrics.clone_from(metrics);
    let Some(spec) = spec else { return Ok(Judgement { best: false, stop: false }) };
    let Some(value) = metrics.get(&spec.metric).copied() else {
        let known: Vec<&str> = metrics.keys().map(String::as_str).collect();
        return Err(Error::UnknownMetric { metric: spec.metric.clone(), known: known.join(", ") });
    };
    let lower = LOWER_IS_BETTER.contains(&spec.metric.as_str());
    let best = state.best.is_none_or(|best| if lower { value < best } else { value > best });
    if best {
        state.best = Some(value);
        state.best_step = Some(step);
        state.since_best = 0;
    } else {
        state.since_best += 1;
    }
    Ok(Judgement { best, stop: state.since_best >= spec.patience })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(metric: &str, values: &[f64]) -> Vec<Judgement> {
        let spec = EarlyStoppingSpec { metric: metric.into(), patience: 2 };
        let mut state = Validation::default();
        let judge = |(step, value): (usize, &f64)| {
            judge(Some(&spec), &Metrics::from([(metric.to_owned(), *value)]), step as u64, &mut state)
                .unwrap()
        };
        values.iter().enumerate().map(judge).collect()
    }

    #[test]
    fn training_stops_when_patience_is_over_and_the_best_is_known() {
        let judged = run("NDCG@10", &[0.1, 0.2, 0.2, 0.15]);
        assert_eq!(judged.iter().map(|j| j.best).collect::<Vec<_>>(), [true, true, false, false]);
        assert_eq!(judged.iter().map(|j| j.stop).collect::<Vec<_>>(), [false, false, false, true]);
    }

    #[test]
    fn errors_are_better_when_lower() {
        assert_eq!(
            run("mse", &[3.0, 2.0, 2.5]).iter().map(|j| j.best).collect::<Vec<_>>(),
            [true, true, false]
        );
    }

    #[test]
    fn a_metric_that_validation_does_not_give_is_named_with_those_it_gives() {
        let spec = EarlyStoppingSpec { metric: "NDCG@7".into(), patience: 2 };
        let metrics = Metrics::from([("NDCG@10".to_owned(), 0.5)]);
        let error = judge(Some(&spec), &metrics, 1, &mut Validation::default()).unwrap_err();
        assert!(error.to_string().contains("NDCG@7") && error.to_string().contains("NDCG@10"), "{error}");
    }
}
