//! Baselines that a model has to beat: popularity, and a first-order item-to-item Markov chain.
//!
//! Both see the same histories and targets as the model and follow the same rules for ties and seen items.

use std::collections::BTreeMap;

use muster_data::{Dataset, Split};

use super::counts::RankingCounts;
use super::metrics::ranking_metrics;
use super::{Error, Evaluation};

/// Which baseline.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Baseline {
    /// Items by their number of training events.
    Popularity,
    /// Items by how often they followed the last item of the history in training, then by popularity.
    Markov,
}

/// Items in the order of a baseline's preference, for any user.
struct Model {
    /// Items by (training events, descending; id, ascending).
    order: Vec<u32>,
    /// Place of each item in `order`.
    place: Vec<u32>,
    /// Followers of each item, most frequent first; none for popularity.
    followers: BTreeMap<u32, Vec<u32>>,
    popularity: Vec<u64>,
}

/// Evaluates a baseline on a split of a log of events.
///
/// # Errors
/// A dataset that cannot be read.
pub fn evaluate_baseline(
    baseline: Baseline,
    dataset: &Dataset,
    split: Split,
    ks: &[u32],
    filter_seen: bool,
) -> Result<Evaluation, Error> {
    let model = Model::fit(baseline, dataset)?;
    let mut counts = RankingCounts::new(ks, model.order.len());
    let k = counts.largest_k();
    for id in 0..dataset.manifest().partitions.len() as u32 {
        let partition = dataset.load(id)?;
        for user in 0..partition.users() {
            let Some(held) = partition.held_out(user, split) else { continue };
            let target = partition.items[held.target];
            let history = &partition.items[held.history];
            let mut seen = if filter_seen { history.to_vec() } else { Vec::new() };
            seen.sort_unstable();
            seen.dedup();
            seen.retain(|item| *item != target);
            let (above, list) = model.rank(history.last().copied(), target, &seen, k);
            counts.add(above, 0, &list);
        }
    }
    let metrics = ranking_metrics(&counts, &model.popularity);
    Ok(Evaluation { users: counts.users, ties: 0, seen_filtered: filter_seen, metrics })
}

impl Model {
    fn fit(baseline: Baseline, dataset: &Dataset) -> Result<Self, Error> {
        let popularity = dataset.popularity()?;
        let mut order: Vec<u32> = (0..popularity.len() as u32).collect();
        order.sort_by_key(|item| (std::cmp::Reverse(popularity[*item as usize]), *item));
        let mut place = vec![0; order.len()];
        for (at, item) in order.iter().enumerate() {
            place[*item as usize] = at as u32;
        }
        let followers = match baseline {
            Baseline::Popularity => BTreeMap::new(),
            Baseline::Markov => followers(dataset, &place)?,
        };
        Ok(Self { order, place, followers, popularity })
    }

    /// Items that beat the target, and the best `k`.
    fn rank(&self, last: Option<u32>, target: u32, seen: &[u32], k: usize) -> (u64, Vec<u32>) {
        let counts = |item: &u32| seen.binary_search(item).is_err();
        let followers: Vec<u32> = last
            .and_then(|last| self.followers.get(&last))
            .map_or_else(Vec::new, |items| items.iter().copied().filter(counts).collect());
        let above = followers.iter().position(|item| *item == target).unwrap_or_else(|| {
            let before = |item: &&u32| self.place[**item as usize] < self.place[target as usize];
            let left_out = seen.iter().filter(before).count();
            let already = followers.iter().filter(before).count();
            followers.len() + self.place[target as usize] as usize - left_out - already
        });
        let rest = self.order.iter().copied().filter(|item| counts(item) && !followers.contains(item));
        let list = followers.iter().copied().chain(rest).take(k).collect();
        (above as u64, list)
    }
}

/// What followed each item in training, by (count, descending; popularity).
fn followers(dataset: &Dataset, place: &[u32]) -> Result<BTreeMap<u32, Vec<u32>>, Error> {
    let mut counts: BTreeMap<(u32, u32), u32> = BTreeMap::new();
    for id in 0..dataset.manifest().partitions.len() as u32 {
        let partition = dataset.load(id)?;
        for user in 0..partition.users() {
            for pair in partition.items[partition.train(user)].windows(2) {
                *counts.entry((pair[0], pair[1])).or_default() += 1;
            }
        }
    }
    let mut followers: BTreeMap<u32, Vec<(u32, u32)>> = BTreeMap::new();
    for ((from, to), count) in counts {
        followers.entry(from).or_default().push((count, to));
    }
    let by_count = |(from, mut items): (u32, Vec<(u32, u32)>)| {
        items.sort_by_key(|(count, item)| (std::cmp::Reverse(*count), place[*item as usize]));
        (from, items.into_iter().map(|(_, item)| item).collect())
    };
    Ok(followers.into_iter().map(by_count).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn model() -> Model {
        let order = vec![2, 0, 1, 3];
        let place = vec![1, 2, 0, 3];
        let followers = BTreeMap::from([(0, vec![3, 1])]);
        Model { order, place, followers, popularity: vec![5, 4, 9, 1] }
    }

    #[test]
    fn popularity_skips_seen_items_in_rank_and_list() {
        assert_eq!(model().rank(None, 1, &[2], 2), (1, vec![0, 1]));
        assert_eq!(model().rank(None, 3, &[], 2), (3, vec![2, 0]));
    }

    #[test]
    fn followers_of_the_last_item_come_first() {
        assert_eq!(model().rank(Some(0), 1, &[0], 3), (1, vec![3, 1, 2]));
        assert_eq!(model().rank(Some(0), 2, &[0, 3], 3), (1, vec![1, 2]));
    }
}
