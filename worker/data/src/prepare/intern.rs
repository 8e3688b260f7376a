//! From keys to provisional ids, by any number of threads.
//!
//! Which id a new key gets depends on who comes first, so that no provisional id may reach a result: final ids follow from
//! counts and keys.

use std::collections::HashMap;
use std::hash::BuildHasher;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use foldhash::fast::RandomState;
use muster_proto::dataset::DatasetSpec;

use crate::store::Keys;

/// Parts with a lock each, so that threads seldom wait for each other.
const SHARDS: usize = 64;
/// Bytes of an entry besides its text: the box, the id, and room in the table and the heap.
const ENTRY_BYTES: u64 = 56;

type Ids = HashMap<Box<str>, u32, RandomState>;

/// The distinct keys seen so far.
#[derive(Debug)]
pub(super) struct Interner {
    shards: Vec<Mutex<Ids>>,
    hasher: RandomState,
    next: AtomicU32,
    bytes: AtomicU64,
}

impl Default for Interner {
    fn default() -> Self {
        let hasher = RandomState::default();
        let shards = (0..SHARDS).map(|_| Mutex::new(HashMap::with_hasher(hasher.clone()))).collect();
        Self { shards, hasher, next: AtomicU32::new(0), bytes: AtomicU64::new(0) }
    }
}

impl Interner {
    /// One whose id 0 is the unknown key.
    pub(super) fn with_unknown() -> Self {
        let interner = Self::default();
        interner.intern("", u32::MAX);
        interner
    }

    /// One for the items of a dataset, with id 0 for the unknown one where there is one; and the bound of its ids.
    pub(super) fn of_items(spec: &DatasetSpec) -> (Self, u32) {
        let has_unknown = spec.vocabulary.min_train_events > 0;
        let interner = if has_unknown { Self::with_unknown() } else { Self::default() };
        (interner, spec.cleaning.max_items.saturating_add(u32::from(has_unknown)))
    }

    /// The id of `key`, a new one where it is new; none where that would be id `limit` or above.
    pub(super) fn intern(&self, key: &str, limit: u32) -> Option<u32> {
        let shard = &self.shards[(self.hasher.hash_one(key) >> 32) as usize % SHARDS];
        let mut ids = shard.lock().unwrap_or_else(PoisonError::into_inner);
        // Most keys were seen before, and looking up a borrowed one allocates nothing.
        if let Some(id) = ids.get(key) {
            return Some(*id);
        }
        let below = |id: u32| (id < limit).then_some(id + 1);
        let id = self.next.fetch_update(Ordering::Relaxed, Ordering::Relaxed, below).ok()?;
        self.bytes.fetch_add(key.len() as u64 + ENTRY_BYTES, Ordering::Relaxed);
        ids.insert(key.into(), id);
        Some(id)
    }

    /// About the bytes of memory that the keys take.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// The keys by id.
    pub(super) fn into_keys(self) -> Keys {
        let mut keys: Vec<(u32, Box<str>)> = Vec::with_capacity(self.next.into_inner() as usize);
        for shard in self.shards {
            let ids = shard.into_inner().unwrap_or_else(PoisonError::into_inner);
            keys.extend(ids.into_iter().map(|(key, id)| (id, key)));
        }
        keys.sort_unstable_by_key(|(id, _)| *id);
        keys.iter().map(|(_, key)| &**key).collect()
    }
}

/// What one thread knows of an interner with few keys, to ask it less often.
#[derive(Debug)]
pub(super) struct Known<'i> {
    interner: &'i Interner,
    ids: Ids,
}

impl<'i> Known<'i> {
    /// The most keys that are kept.
    const MOST: usize = 4096;

    pub(super) fn new(interner: &'i Interner) -> Self {
        Self { interner, ids: HashMap::with_hasher(interner.hasher.clone()) }
    }

    /// As [`Interner::intern`], without a limit.
    pub(super) fn intern(&mut self, key: &str) -> Option<u32> {
        if let Some(id) = self.ids.get(key) {
            return Some(*id);
        }
        let id = self.interner.intern(key, u32::MAX)?;
        if self.ids.len() < Self::MOST {
            self.ids.insert(key.into(), id);
        }
        Some(id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_agree_on_the_id_of_a_key() {
        let interner = Interner::with_unknown();
        let found: Vec<Vec<u32>> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4)
                .map(|thread| {
                    let interner = &interner;
                    scope.spawn(move || {
                        let mut known = Known::new(interner);
                        (0..500)
                            .map(|key| (key + thread * 50) % 500)
                            .map(|key| known.intern(&format!("k{key}")).unwrap())
                            .collect()
                    })
                })
                .collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert_eq!(interner.intern("one more", 501), None);
        assert_eq!(interner.intern("k7", 0), interner.intern("k7", 501));
        let keys = interner.into_keys();
        assert_eq!((keys.len(), keys.get(0)), (501, ""));
        for (thread, ids) in found.iter().enumerate() {
            for (place, id) in ids.iter().enumerate() {
                assert_eq!(keys.get(*id as usize), format!("k{}", (place + thread * 50) % 500));
            }
        }
    }
}
