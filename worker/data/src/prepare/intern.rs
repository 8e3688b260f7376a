//! From keys to provisional ids, in the order of first appearance.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use crate::store::Keys;

/// The distinct keys seen so far.
#[derive(Debug, Default)]
pub(super) struct Interner {
    ids: HashMap<Box<str>, u32>,
}

impl Interner {
    /// The id of `key`, a new one where it is new; none where that would be id `limit` or above.
    pub(super) fn intern(&mut self, key: &str, limit: u32) -> Option<u32> {
        // Most keys were seen before, and looking up a borrowed one allocates nothing.
        if let Some(id) = self.ids.get(key) {
            return Some(*id);
        }
        let id = u32::try_from(self.ids.len()).ok().filter(|id| *id < limit)?;
        match self.ids.entry(key.into()) {
            Entry::Occupied(entry) => Some(*entry.get()),
            Entry::Vacant(entry) => Some(*entry.insert(id)),
        }
    }

    /// The keys by id.
    pub(super) fn into_keys(self) -> Keys {
        let mut keys: Vec<(u32, Box<str>)> = self.ids.into_iter().map(|(key, id)| (id, key)).collect();
        keys.sort_unstable_by_key(|(id, _)| *id);
        keys.iter().map(|(_, key)| &**key).collect()
    }
}
