//! A store that ends with the process. Clones share their content.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use super::lease::Leases;
use super::{Entry, Error, Guard, Lease, LeaseId, Revision, Store, Watch, Write};

#[derive(Debug, Default)]
struct Content {
    revision: Revision,
    entries: BTreeMap<String, Slot>,
    leases: Leases,
}

#[derive(Debug)]
struct Slot {
    entry: Entry,
    lease: Option<LeaseId>,
}

impl Content {
    /// Lets go of what was tied to leases that have ended.
    fn expire(&mut self) {
        let ended = self.leases.take_ended(Instant::now());
        let before = self.entries.len();
        self.entries.retain(|_, slot| slot.lease.is_none_or(|lease| !ended.contains(&lease)));
        if self.entries.len() < before {
            self.revision.0 += 1;
        }
    }

    fn range(&self, prefix: &str) -> Vec<(String, Entry)> {
        let from = self.entries.range(prefix.to_owned()..);
        let within = from.take_while(|(key, _)| key.starts_with(prefix));
        within.map(|(key, slot)| (key.clone(), slot.entry.clone())).collect()
    }

    fn commit(&mut self, guards: Vec<Guard>, writes: Vec<Write>) -> Result<Revision, Error> {
        for guard in guards {
            let found = self.entries.get(&guard.key).map_or(Revision(0), |slot| slot.entry.revision);
            if found != guard.revision {
                return Err(Error::Conflict { key: guard.key, expected: guard.revision, found });
            }
        }
        let now = Instant::now();
        for write in &writes {
            if let Write::Put { lease: Some(lease), .. } = write
                && !self.leases.holds(*lease, now)
            {
                return Err(Error::LeaseEnded { lease: *lease });
            }
        }
        let revision = Revision(self.revision.0 + 1);
        self.revision = revision;
        for write in writes {
            match write {
                Write::Put { key, value, lease } => {
                    self.entries.insert(key, Slot { entry: Entry { value, revision }, lease })
                }
                Write::Delete { key } => self.entries.remove(&key),
            };
        }
        Ok(revision)
    }
}

/// Keeps everything in memory.
#[derive(Debug, Clone, Default)]
pub struct MemoryStore {
    content: Arc<Mutex<Content>>,
    changes: watch::Sender<u64>,
}

impl MemoryStore {
    // The content is whole at all times: a commit checks first and then only inserts and removes.
    fn lock(&self) -> MutexGuard<'_, Content> {
        let mut content = self.content.lock().unwrap_or_else(PoisonError::into_inner);
        content.expire();
        content
    }
}

impl Store for MemoryStore {
    const SHARED: bool = false;
    const LARGEST_VALUE: usize = usize::MAX;

    async fn get(&self, key: &str) -> Result<Option<Entry>, Error> {
        Ok(self.lock().entries.get(key).map(|slot| slot.entry.clone()))
    }

    async fn range(&self, prefix: &str) -> Result<Vec<(String, Entry)>, Error> {
        Ok(self.lock().range(prefix))
    }

    async fn commit(&self, guards: Vec<Guard>, writes: Vec<Write>) -> Result<Revision, Error> {
        let revision = self.lock().commit(guards, writes)?;
        self.changes.send_modify(|changes| *changes += 1);
        Ok(revision)
    }

    async fn lease(&self, ttl: Duration) -> Result<Lease, Error> {
        let lease = self.lock().leases.grant(ttl, Instant::now());
        self.changes.send_modify(|changes| *changes += 1);
        Ok(lease)
    }

    async fn keep_alive(&self, lease: Lease) -> Result<(), Error> {
        match self.lock().leases.renew(lease, Instant::now()) {
            true => Ok(()),
            false => Err(Error::LeaseEnded { lease: lease.id }),
        }
    }

    async fn revoke(&self, lease: Lease) -> Result<(), Error> {
        self.lock().leases.end(lease.id, Instant::now());
        self.changes.send_modify(|changes| *changes += 1);
        Ok(())
    }

    fn watch(&self, prefix: &str) -> Watch {
        let (content, prefix) = (Arc::downgrade(&self.content), prefix.to_owned());
        super::watch::local(self.changes.subscribe(), move || {
            let state = content.upgrade().map(|content| {
                let mut content = content.lock().unwrap_or_else(PoisonError::into_inner);
                content.expire();
                (content.range(&prefix), content.leases.next_end())
            });
            std::future::ready(state)
        })
    }
}
