//! Metrics from counts. One target a user, so recall at k is the hit rate at k.

use std::collections::BTreeMap;

use super::counts::RankingCounts;

/// Named metrics in name order.
pub type Metrics = BTreeMap<String, f64>;

/// Hit rate, recall, precision, F1, NDCG, MRR, catalog coverage, Gini, diversity and novelty at each k.
///
/// NDCG has the ideal of one target at place 1: 1 / log2(1 + place) (Järvelin and Kekäläinen 2002). Novelty is the
/// mean self-information -log2(share of training events) of recommended items (Zhou et al. 2010); an item without
/// training events counts as seen once. Gini is over how often each item of the catalog is recommended.
#[must_use]
pub fn ranking_metrics(counts: &RankingCounts, popularity: &[u64]) -> Metrics {
    let users = counts.users.max(1) as f64;
    let mut metrics = Metrics::new();
    for (k_index, k) in counts.ks.iter().enumerate() {
        let places = counts.hits_by_place.iter().take(*k as usize).enumerate();
        let (mut hits, mut gain, mut reciprocal) = (0_u64, 0.0, 0.0);
        for (place, count) in places {
            let place = place as f64 + 1.0;
            hits += count;
            gain += *count as f64 / (1.0 + place).log2();
            reciprocal += *count as f64 / place;
        }
        let hit_rate = hits as f64 / users;
        let k_f = f64::from(*k);
        let mut set = |name: &str, value: f64| metrics.insert(format!("{name}@{k}"), value);
        set("HR", hit_rate);
        set("Recall", hit_rate);
        set("Precision", hit_rate / k_f);
        set("F1", hit_rate * 2.0 / (k_f + 1.0));
        set("NDCG", gain / users);
        set("MRR", reciprocal / users);
        let recommended = &counts.recommended[k_index];
        let distinct = recommended.iter().filter(|c| **c > 0).count();
        set("Coverage", distinct as f64 / recommended.len().max(1) as f64);
        set("Gini", gini(recommended));
        set("Novelty", novelty(recommended, popularity));
        if counts.with_diversity {
            set("Diversity", counts.mean_diversity(k_index));
        }
    }
    metrics
}

/// The Gini coefficient of how often each item is recommended: 0 all alike, towards 1 few items only.
fn gini(recommended: &[u64]) -> f64 {
    let total: u64 = recommended.iter().sum();
    if total == 0 {
        return 0.0;
    }
    let mut sorted = recommended.to_vec();
    sorted.sort_unstable();
    let n = sorted.len() as f64;
    let weighted: f64 =
        sorted.iter().enumerate().map(|(i, c)| (2.0 * (i as f64 + 1.0) - n - 1.0) * *c as f64).sum();
    weighted / (n * total as f64)
}

fn novelty(recommended: &[u64], popularity: &[u64]) -> f64 {
    let events = popularity.iter().sum::<u64>().max(1) as f64;
    let lists: u64 = recommended.iter().sum();
    let information = |(count, seen): (&u64, &u64)| *count as f64 * -((*seen).max(1) as f64 / events).log2();
    recommended.iter().zip(popularity).map(information).sum::<f64>() / lists.max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(a: f64, b: f64) {
        assert!((a - b).abs() < 1e-12, "{a} is not {b}");
    }

    #[test]
    fn metrics_equal_values_worked_out_by_hand() {
        let mut counts = RankingCounts::new(&[1, 2], 4);
        counts.add(0, 0, &[0, 1]);
        counts.add(1, 1, &[0, 2]);
        counts.add(7, 0, &[0, 1]);
        let metrics = ranking_metrics(&counts, &[4, 2, 1, 1]);
        close(metrics["HR@1"], 1.0 / 3.0);
        close(metrics["HR@2"], 2.0 / 3.0);
        close(metrics["Precision@2"], 1.0 / 3.0);
        close(metrics["F1@2"], 4.0 / 9.0);
        close(metrics["NDCG@2"], (1.0 + 1.0 / 3.0_f64.log2()) / 3.0);
        close(metrics["MRR@2"], 0.5);
        close(metrics["Coverage@2"], 0.75);
        close(metrics["Novelty@2"], (3.0 * 1.0 + 2.0 * 2.0 + 3.0) / 6.0);
        // Counts 0 1 2 3: Gini = (-3*0 - 1*1 + 1*2 + 3*3) / (4 * 6).
        close(metrics["Gini@2"], 10.0 / 24.0);
    }

    #[test]
    fn a_split_without_users_has_metrics_of_zero() {
        let metrics = ranking_metrics(&RankingCounts::new(&[5], 3), &[1, 1, 1]);
        assert!(metrics.values().all(|v| *v == 0.0), "{metrics:?}");
    }
}
