//! Metrics of single users.

use std::fmt;
use std::str::FromStr;

/// What the ranking of a user came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UserRank {
    /// The user's number in the dataset.
    pub user: u32,
    /// Items that beat the held-out one; none where the model does not know it, and never recommends it.
    pub above: Option<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    HitRate,
    Recall,
    Precision,
    F1,
    Ndcg,
    Mrr,
}

const KINDS: [(&str, Kind); 6] = [
    ("HR", Kind::HitRate),
    ("Recall", Kind::Recall),
    ("Precision", Kind::Precision),
    ("F1", Kind::F1),
    ("NDCG", Kind::Ndcg),
    ("MRR", Kind::Mrr),
];

/// A metric that single users have, such as `NDCG@10`; its mean over all is the metric of that name of
/// [`ranking_metrics`](super::ranking_metrics).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UserMetric {
    kind: Kind,
    k: u32,
}

impl UserMetric {
    /// The metric of a user whose held-out item so many others beat.
    #[must_use]
    pub fn of(self, above: Option<u64>) -> f64 {
        let Some(above) = above.filter(|above| *above < u64::from(self.k)) else { return 0.0 };
        let (place, k) = (above as f64 + 1.0, f64::from(self.k));
        match self.kind {
            Kind::HitRate | Kind::Recall => 1.0,
            Kind::Precision => 1.0 / k,
            Kind::F1 => 2.0 / (k + 1.0),
            Kind::Ndcg => 1.0 / (1.0 + place).log2(),
            Kind::Mrr => 1.0 / place,
        }
    }
}

impl FromStr for UserMetric {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = text.split_once('@').and_then(|(name, k)| {
            let (_, kind) = KINDS.iter().find(|(known, _)| *known == name)?;
            let k = k.parse().ok().filter(|k| *k > 0)?;
            Some(Self { kind: *kind, k })
        });
        found.ok_or_else(|| {
            let known: Vec<&str> = KINDS.iter().map(|(name, _)| *name).collect();
            format!(
                "{text} is no metric of single users; name one of {} with @ and a length",
                known.join(", ")
            )
        })
    }
}

impl fmt::Display for UserMetric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = KINDS.iter().find(|(_, kind)| *kind == self.kind).map_or("", |(name, _)| *name);
        write!(f, "{name}@{}", self.k)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evaluate::{RankingCounts, ranking_metrics};

    #[test]
    fn the_mean_over_users_is_the_metric_of_the_split() {
        let places = [Some(0), Some(3), Some(9), Some(10), None, Some(1), Some(4)];
        let mut counts = RankingCounts::new(&[1, 5, 10], 20);
        places.iter().for_each(|above| counts.add(above.unwrap_or(u64::MAX), 0, &[]));
        let metrics = ranking_metrics(&counts, &[1; 20]);
        for (name, _) in KINDS {
            for k in [1, 5, 10] {
                let metric: UserMetric = format!("{name}@{k}").parse().unwrap();
                let sum: f64 = places.iter().map(|above| metric.of(*above)).sum();
                let (mean, expected) = (sum / places.len() as f64, metrics[&metric.to_string()]);
                assert!((mean - expected).abs() < 1e-12, "{metric}: {mean} is not {expected}");
            }
        }
    }

    #[test]
    fn a_metric_that_single_users_do_not_have_is_refused_with_those_that_they_have() {
        for text in ["Coverage@10", "NDCG", "NDCG@0", "NDCG@ten", ""] {
            let error = text.parse::<UserMetric>().unwrap_err();
            assert!(error.contains("name one of HR, Recall, Precision, F1, NDCG, MRR"), "{error}");
        }
    }
}
