//! A store that ends with the process. Clones share their content.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use muster_core::Write;

use super::{Entry, Error, Guard, Revision, Store};

#[derive(Debug, Default)]
struct Content {
    revision: Revision,
    entries: BTreeMap<String, Entry>,
}

/// Keeps everything in memory.
#[derive(Debug, Clone, Default)]
pub struct MemoryStore {
    content: Arc<Mutex<Content>>,
}

impl MemoryStore {
    // The content is whole at all times: a commit checks first and then only inserts and removes.
    fn lock(&self) -> MutexGuard<'_, Content> {
        self.content.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Store for MemoryStore {
    async fn get(&self, key: &str) -> Result<Option<Entry>, Error> {
        Ok(self.lock().entries.get(key).cloned())
    }

    async fn range(&self, prefix: &str) -> Result<Vec<(String, Entry)>, Error> {
        let content = self.lock();
        let from = content.entries.range(prefix.to_owned()..);
        let within = from.take_while(|(key, _)| key.starts_with(prefix));
        Ok(within.map(|(key, entry)| (key.clone(), entry.clone())).collect())
    }

    async fn commit(&self, guards: Vec<Guard>, writes: Vec<Write>) -> Result<Revision, Error> {
        let mut content = self.lock();
        for guard in guards {
            let found = content.entries.get(&guard.key).map_or(Revision(0), |entry| entry.revision);
            if found != guard.revision {
                return Err(Error::Conflict { key: guard.key, expected: guard.revision, found });
            }
        }
        let revision = Revision(content.revision.0 + 1);
        content.revision = revision;
        for write in writes {
            match write {
                Write::Put { key, value } => content.entries.insert(key, Entry { value, revision }),
                Write::Delete { key } => content.entries.remove(&key),
            };
        }
        Ok(revision)
    }
}
