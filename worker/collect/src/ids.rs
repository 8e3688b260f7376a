//! The ids that were taken lately: a bounded number of 128-bit hashes, the oldest forgotten first.

use std::collections::{HashSet, VecDeque};

/// The latest ids.
#[derive(Debug)]
pub(crate) struct Ids {
    limit: usize,
    known: HashSet<u128>,
    order: VecDeque<u128>,
}

impl Ids {
    /// None yet, `limit` at most.
    pub(crate) fn new(limit: usize) -> Self {
        Self { limit, known: HashSet::new(), order: VecDeque::new() }
    }

    pub(crate) fn contains(&self, id: u128) -> bool {
        self.known.contains(&id)
    }

    /// Adds an id; one that is known keeps its place.
    pub(crate) fn add(&mut self, id: u128) {
        if !self.known.insert(id) {
            return;
        }
        self.order.push_back(id);
        if self.order.len() > self.limit
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.order.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_are_known_and_no_more() {
        let mut ids = Ids::new(3);
        for id in [1, 2, 3, 1, 4] {
            ids.add(id);
        }
        assert_eq!([1, 2, 3, 4].map(|id| ids.contains(id)), [false, true, true, true]);
        assert_eq!(ids.len(), 3);
    }
}
