//! Metrics of scores with a label: clicks and ratings.

use super::metrics::Metrics;

/// Scores and labels of held-out events. Sorted before anything is summed, so the order of arrival is gone.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct PointwiseScores {
    /// The model's scores (logits, or values).
    pub scores: Vec<f32>,
    /// The labels.
    pub labels: Vec<f32>,
}

impl PointwiseScores {
    /// Pairs in ascending order of (score, label).
    fn sorted(&self) -> Vec<(f32, f32)> {
        let mut pairs: Vec<_> = self.scores.iter().copied().zip(self.labels.iter().copied()).collect();
        pairs.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.total_cmp(&b.1)));
        pairs
    }
}

/// AUC (ties count half; Fawcett 2006), log loss, the click rate, and `CTR@k%`: the click rate of the k percent of
/// events with the highest scores.
#[must_use]
pub fn click_metrics(scores: &PointwiseScores, ks: &[u32]) -> Metrics {
    let pairs = scores.sorted();
    let n = pairs.len().max(1) as f64;
    let positives = pairs.iter().filter(|p| p.1 > 0.5).count() as f64;
    let log_loss: f64 =
        pairs.iter().map(|(s, y)| softplus(f64::from(*s)) - f64::from(*y) * f64::from(*s)).sum();
    let mut metrics = Metrics::from([
        ("AUC".to_owned(), auc(&pairs)),
        ("log_loss".to_owned(), log_loss / n),
        ("click_rate".to_owned(), positives / n),
    ]);
    for k in ks {
        let take = (pairs.len() * *k as usize).div_ceil(100).min(pairs.len());
        let clicks = pairs.iter().rev().take(take).filter(|p| p.1 > 0.5).count();
        metrics.insert(format!("CTR@{k}%"), clicks as f64 / take.max(1) as f64);
    }
    metrics
}

/// Mean squared, root mean squared and mean absolute error.
#[must_use]
pub fn rating_metrics(scores: &PointwiseScores) -> Metrics {
    let pairs = scores.sorted();
    let n = pairs.len().max(1) as f64;
    let errors = pairs.iter().map(|(s, y)| f64::from(*s) - f64::from(*y));
    let mse = errors.clone().map(|e| e * e).sum::<f64>() / n;
    let mae = errors.map(f64::abs).sum::<f64>() / n;
    Metrics::from([("mse".to_owned(), mse), ("RMSE".to_owned(), mse.sqrt()), ("MAE".to_owned(), mae)])
}

/// Area under the ROC curve: the share of (click, no click) pairs in the right order. 0.5 without both kinds.
fn auc(ascending: &[(f32, f32)]) -> f64 {
    let (mut right, mut negatives, mut positives) = (0.0, 0.0, 0.0);
    for tied in ascending.chunk_by(|a, b| a.0 == b.0) {
        let clicks = tied.iter().filter(|p| p.1 > 0.5).count() as f64;
        let others = tied.len() as f64 - clicks;
        right += clicks * (negatives + others / 2.0);
        positives += clicks;
        negatives += others;
    }
    if positives * negatives == 0.0 { 0.5 } else { right / (positives * negatives) }
}

fn softplus(x: f64) -> f64 {
    x.max(0.0) + (-x.abs()).exp().ln_1p()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn click_metrics_equal_values_worked_out_by_hand() {
        let scores = PointwiseScores { scores: vec![2.0, 0.0, 0.0, -1.0], labels: vec![1.0, 1.0, 0.0, 0.0] };
        let metrics = click_metrics(&scores, &[25, 50]);
        assert_eq!(metrics["AUC"], 3.5 / 4.0);
        assert_eq!(metrics["click_rate"], 0.5);
        assert_eq!(metrics["CTR@25%"], 1.0);
        assert_eq!(metrics["CTR@50%"], 1.0);
        let by_hand =
            [(1.0 + (-2.0_f64).exp()).ln(), 2.0_f64.ln(), 2.0_f64.ln(), (1.0 + (-1.0_f64).exp()).ln()];
        assert!((metrics["log_loss"] - by_hand.iter().sum::<f64>() / 4.0).abs() < 1e-12);
    }

    #[test]
    fn without_clicks_the_order_says_nothing() {
        let scores = PointwiseScores { scores: vec![1.0, 2.0], labels: vec![0.0, 0.0] };
        assert_eq!(click_metrics(&scores, &[])["AUC"], 0.5);
        assert_eq!(click_metrics(&PointwiseScores::default(), &[5])["log_loss"], 0.0);
    }

    #[test]
    fn rating_metrics_equal_values_worked_out_by_hand() {
        let scores = PointwiseScores { scores: vec![1.0, 4.0], labels: vec![2.0, 2.0] };
        let metrics = rating_metrics(&scores);
        assert_eq!((metrics["mse"], metrics["MAE"]), (2.5, 1.5));
    }
}
