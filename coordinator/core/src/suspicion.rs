//! Who is shut out of a job whose ranks live but do not reach each other.
//!
//! Each rank says which one it cannot reach, and of a broken link both ends say so: a single accusation does not tell
//! whose fault it is. So they are kept for as long as the job makes no new step, and the fewest workers are shut out that
//! have a part in all of them. With more evidence the choice changes, and who was shut out wrongly is let in again.

use std::collections::{BTreeMap, BTreeSet};

use muster_proto::ids::WorkerId;
use serde::{Deserialize, Serialize};

/// Accusations that are kept: every link of twenty workers, several times.
const MAX_ACCUSATIONS: usize = 1024;

/// What is known of links that do not work.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Suspicion {
    /// Who said of whom that it cannot be reached, since the last new step.
    accusations: BTreeSet<(WorkerId, WorkerId)>,
    /// Who was shut out for it.
    pub(crate) shut_out: BTreeSet<WorkerId>,
}

impl Suspicion {
    /// Notes that `by` cannot reach `of`.
    pub(crate) fn accuse(&mut self, by: WorkerId, of: WorkerId) {
        if self.accusations.len() < MAX_ACCUSATIONS {
            self.accusations.insert((by, of));
        }
    }

    /// A new step was made: what was is over. Who is shut out stays so, until somebody lets it in.
    pub(crate) fn forget(&mut self) {
        *self = Self::default();
    }

    /// Workers without whom no accusation is left, as few as can be found at once: a vertex cover, taken greedily.
    /// Accusations of workers that are not `known` count no more.
    pub(crate) fn cover(&self, known: impl Fn(WorkerId) -> bool) -> BTreeSet<WorkerId> {
        let mut open: Vec<(WorkerId, WorkerId)> =
            self.accusations.iter().copied().filter(|(by, of)| known(*by) && known(*of)).collect();
        let mut cover = BTreeSet::new();
        while let Some(worst) = worst(&open) {
            cover.insert(worst);
            open.retain(|(by, of)| *by != worst && *of != worst);
        }
        cover
    }
}

/// Who reaches nobody by its own word; else who has a part in most broken links, among equals who is named most often, and
/// then who is known for the shortest time.
fn worst(accusations: &[(WorkerId, WorkerId)]) -> Option<WorkerId> {
    let mut links: BTreeMap<WorkerId, BTreeSet<WorkerId>> = BTreeMap::new();
    let mut named: BTreeMap<WorkerId, usize> = BTreeMap::new();
    for (by, of) in accusations {
        links.entry(*by).or_default().insert(*of);
        links.entry(*of).or_default().insert(*by);
        *named.entry(*of).or_default() += 1;
    }
    links
        .into_iter()
        .map(|(worker, others)| {
            let confesses = others.contains(&worker);
            let times = named.get(&worker).copied().unwrap_or_default();
            (confesses, others.len(), times, worker)
        })
        .max()
        .map(|(.., worker)| worker)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cover(accusations: &[(u64, u64)]) -> Vec<u64> {
        let mut suspicion = Suspicion::default();
        accusations.iter().for_each(|(by, of)| suspicion.accuse(WorkerId(*by), WorkerId(*of)));
        suspicion.cover(|worker| worker.0 < 100).into_iter().map(|worker| worker.0).collect()
    }

    #[test]
    fn a_worker_that_is_cut_off_from_all_is_found_whoever_says_so() {
        assert_eq!(cover(&[(1, 2), (3, 2)]), [2]);
        assert_eq!(cover(&[(2, 1), (2, 3)]), [2]);
        assert_eq!(cover(&[(2, 1), (3, 2)]), [2]);
        assert_eq!(cover(&[(1, 2), (2, 1), (2, 3)]), [2]);
    }

    #[test]
    fn more_evidence_lets_in_again_who_was_shut_out_for_one_broken_link() {
        assert_eq!(cover(&[(1, 2)]), [2]);
        assert_eq!(cover(&[(1, 2), (1, 3)]), [1]);
        assert_eq!(cover(&[(1, 2), (3, 1)]), [1]);
    }

    #[test]
    fn who_says_itself_that_it_reaches_nobody_is_believed() {
        assert_eq!(cover(&[(1, 1), (2, 3)]), [1, 3]);
        assert_eq!(cover(&[(1, 1), (1, 2), (3, 1)]), [1]);
    }

    #[test]
    fn two_broken_links_without_a_worker_in_common_take_two() {
        assert_eq!(cover(&[(1, 2), (3, 4)]), [2, 4]);
        assert_eq!(cover(&[]), [0; 0]);
    }

    #[test]
    fn who_is_gone_is_not_suspected() {
        assert_eq!(cover(&[(1, 200), (200, 2)]), [0; 0]);
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let mut suspicion = Suspicion::default();
        (0..10_000).for_each(|of| suspicion.accuse(WorkerId(1), WorkerId(of)));
        assert_eq!(suspicion.accusations.len(), MAX_ACCUSATIONS);
        suspicion.forget();
        assert_eq!(suspicion, Suspicion::default());
    }
}
