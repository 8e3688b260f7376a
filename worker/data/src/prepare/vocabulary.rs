//! Final ids: by falling count, then by key; values that do not occur get none.

use std::collections::HashMap;

use crate::store::Keys;

/// The ids of a dataset that another one goes on from.
#[derive(Debug)]
pub(super) struct Parent {
    pub(super) items: Keys,
    /// Keys of the categorical columns, by name.
    pub(super) columns: Vec<(String, Keys)>,
}

impl Parent {
    /// The keys of a column, if there is one of this name.
    pub(super) fn column(&self, name: &str) -> Option<&Keys> {
        self.columns.iter().find(|(known, _)| known == name).map(|(_, keys)| keys)
    }
}

/// Final ids of what had provisional ones.
#[derive(Debug)]
pub(super) struct Renaming {
    /// The keys by final id.
    pub(super) keys: Keys,
    /// Final ids by provisional id; [`Renaming::NONE`] where there is none.
    pub(super) ids: Vec<u32>,
}

impl Renaming {
    pub(super) const NONE: u32 = u32::MAX;

    /// Orders what occurs. The first `fixed` provisional ids keep their place, whether they occur or not.
    pub(super) fn new(keys: &Keys, counts: &[u64], fixed: u32) -> Self {
        Self::ranked(keys, |id| counts[id] > 0, counts, fixed)
    }

    /// Orders by `counts` what `has_id` says, by provisional id.
    pub(super) fn ranked(keys: &Keys, has_id: impl Fn(usize) -> bool, counts: &[u64], fixed: u32) -> Self {
        let mut provisional: Vec<u32> =
            (0..keys.len() as u32).filter(|id| *id < fixed || has_id(*id as usize)).collect();
        let free = (fixed as usize).min(provisional.len());
        provisional[free..].sort_unstable_by(|a, b| {
            let (a, b) = (*a as usize, *b as usize);
            counts[b].cmp(&counts[a]).then_with(|| keys.get(a).cmp(keys.get(b)))
        });
        let mut ids = vec![Self::NONE; keys.len()];
        for (id, old) in provisional.iter().enumerate() {
            ids[*old as usize] = id as u32;
        }
        let keys = provisional.iter().map(|old| keys.get(*old as usize)).collect();
        Self { keys, ids }
    }

    /// As [`Renaming::ranked`], but what a parent has keeps its id there, whether it has one by now
    /// or not, and all else comes after it.
    pub(super) fn after(
        parent: &Keys,
        keys: &Keys,
        (has_id, counts): (impl Fn(usize) -> bool, &[u64]),
        fixed: u32,
    ) -> Self {
        let known: HashMap<&str, u32> = parent.iter().zip(0..).collect();
        let fresh = Self::ranked(keys, has_id, counts, fixed);
        let mut all = parent.clone();
        let ids: Vec<u32> = fresh
            .keys
            .iter()
            .map(|key| {
                known.get(key).copied().unwrap_or_else(|| {
                    all.push(key);
                    all.len() as u32 - 1
                })
            })
            .collect();
        let place = |id: &u32| ids.get(*id as usize).copied().unwrap_or(Self::NONE);
        let ids = fresh.ids.iter().map(place).collect();
        Self { keys: all, ids }
    }

    /// What has no id of its own gets 0, the unknown one.
    pub(super) fn or_unknown(mut self) -> Self {
        self.ids.iter_mut().filter(|id| **id == Self::NONE).for_each(|id| *id = 0);
        self
    }

    /// Sums of `counts` by final id.
    pub(super) fn sums(&self, counts: &[u64]) -> Vec<u64> {
        let mut sums = vec![0; self.keys.len()];
        for (id, count) in self.ids.iter().zip(counts).filter(|(id, _)| **id != Self::NONE) {
            sums[*id as usize] += count;
        }
        sums
    }

    /// Replaces provisional ids by final ones.
    pub(super) fn apply(&self, ids: &mut [u32]) {
        ids.iter_mut().for_each(|id| *id = self.ids[*id as usize]);
    }
}
