//! What is counted per user list; integers only, so that counts of ranks merge in any order.

/// Fixed-point scale of summed per-user values.
const FIXED: f64 = 4_294_967_296.0;

/// Counts over the users of a split.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RankingCounts {
    /// Lengths of the lists, ascending.
    pub ks: Vec<u32>,
    /// Users with a target.
    pub users: u64,
    /// Users whose target had the same score as another item that counts.
    pub ties: u64,
    /// Users by the place of their target, `[largest k]`; place 1 is index 0.
    pub hits_by_place: Vec<u64>,
    /// Per k: how often each item was in a list, `[items]`.
    pub recommended: Vec<Vec<u64>>,
    /// Per k: sum over users of the intra-list diversity, in 2^-32.
    pub diversity: Vec<i64>,
    /// Whether diversity was counted.
    pub with_diversity: bool,
}

impl RankingCounts {
    /// No users yet.
    #[must_use]
    pub fn new(ks: &[u32], items: usize) -> Self {
        let mut ks = ks.to_vec();
        ks.sort_unstable();
        ks.dedup();
        let largest = ks.last().copied().unwrap_or(0) as usize;
        Self {
            users: 0,
            ties: 0,
            hits_by_place: vec![0; largest],
            recommended: vec![vec![0; items]; ks.len()],
            diversity: vec![0; ks.len()],
            with_diversity: false,
            ks,
        }
    }

    /// Length of the longest list.
    #[must_use]
    pub fn largest_k(&self) -> usize {
        self.hits_by_place.len()
    }

    /// Counts one user: `above` items beat the target, `ties` others have its score, `list` is the best items,
    /// best first.
    pub fn add(&mut self, above: u64, ties: u64, list: &[u32]) {
        self.users += 1;
        self.ties += u64::from(ties > 0);
        if let Some(hits) = self.hits_by_place.get_mut(above as usize) {
            *hits += 1;
        }
        for (k, recommended) in self.ks.iter().zip(&mut self.recommended) {
            for item in list.iter().take(*k as usize) {
                recommended[*item as usize] += 1;
            }
        }
    }

    /// Counts a user's intra-list diversity at the `k_index`-th k.
    pub fn add_diversity(&mut self, k_index: usize, value: f64) {
        self.with_diversity = true;
        self.diversity[k_index] += (value * FIXED).round() as i64;
    }

    /// Mean intra-list diversity at the `k_index`-th k.
    #[must_use]
    pub fn mean_diversity(&self, k_index: usize) -> f64 {
        self.diversity[k_index] as f64 / FIXED / self.users.max(1) as f64
    }

    /// All counts as one vector, for an exchange.
    #[must_use]
    pub fn to_words(&self) -> Vec<i64> {
        let mut words = vec![self.users as i64, self.ties as i64, i64::from(self.with_diversity)];
        words.extend(self.hits_by_place.iter().map(|c| *c as i64));
        words.extend(self.recommended.iter().flatten().map(|c| *c as i64));
        words.extend(&self.diversity);
        words
    }

    /// Adds the counts of another rank, as `to_words` gave them.
    pub fn add_words(&mut self, words: &[i64]) {
        let mut words = words.iter().copied();
        let mut next = || words.next().unwrap_or(0);
        self.users += next() as u64;
        self.ties += next() as u64;
        self.with_diversity |= next() != 0;
        for count in self.hits_by_place.iter_mut().chain(self.recommended.iter_mut().flatten()) {
            *count += next() as u64;
        }
        for sum in &mut self.diversity {
            *sum += next();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_of_two_ranks_add_up_to_the_counts_of_one() {
        let mut one = RankingCounts::new(&[1, 3], 5);
        let mut parts = [RankingCounts::new(&[1, 3], 5), RankingCounts::new(&[1, 3], 5)];
        for (user, (above, list)) in [(0, [4, 1, 2]), (2, [0, 1, 4]), (9, [3, 2, 1])].into_iter().enumerate()
        {
            for counts in [&mut one, &mut parts[user % 2]] {
                counts.add(above, u64::from(user == 1), &list);
                counts.add_diversity(1, 0.125 * user as f64);
            }
        }
        let mut sum = RankingCounts::new(&[1, 3], 5);
        parts.iter().for_each(|part| sum.add_words(&part.to_words()));
        assert_eq!(sum, one);
        assert_eq!(one.hits_by_place, [1, 0, 1]);
        assert_eq!(one.recommended[0], [1, 0, 0, 1, 1]);
    }
}
