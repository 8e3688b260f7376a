//! Moves the state of a cluster from one store to another while no coordinator runs.
//!
//! Both are held as a coordinator would hold them, so that none can lead meanwhile. The copy is marked as unfinished
//! until it was read back and compared; a coordinator does not take over a copy with that mark.

use std::sync::Arc;
use std::time::Duration;

use crate::lead::{self, Candidate, Lead};

use super::{EmbeddedStore, Entry, Error, EtcdStore, Guard, Location, Store, Write};

/// Under which a copy notes that it is not finished.
pub(crate) const MIGRATING: &str = "migrating";

/// Keys that are written at a time, and bytes of their values.
const BATCH: usize = 64;
const BATCH_BYTES: usize = 500_000;

/// How long a store is held without being heard of, and a third of it how long a call may take.
const LEASE: Duration = Duration::from_secs(10);

/// What was moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Migrated {
    /// Keys that were copied.
    pub keys: usize,
    /// Bytes of their values.
    pub bytes: usize,
}

/// Why state was not moved.
#[derive(Debug, thiserror::Error)]
pub enum MigrateError {
    /// There is nothing in memory that could be moved, or that would stay.
    #[error("`memory` keeps nothing: name an embedded store or etcd")]
    Memory,
    /// There is no source, or nothing in it.
    #[error("there is nothing in {location} that could be migrated")]
    NoSource {
        /// Where it was looked for.
        location: String,
    },
    /// A coordinator, or another migration, uses a store.
    #[error("{location} is in use by {holder}: stop it first")]
    InUse {
        /// The store.
        location: String,
        /// Who uses it.
        holder: String,
    },
    /// The target is not empty.
    #[error("{location} holds {keys} keys already: choose an empty target, or empty this one")]
    NotEmpty {
        /// The target.
        location: String,
        /// How many keys it has.
        keys: usize,
    },
    /// The source is what an earlier migration left behind.
    #[error("{location} is a copy that was not finished: migrate from its source again, to an empty target")]
    Unfinished {
        /// The store.
        location: String,
    },
    /// The copy is not the original.
    #[error("`{key}` differs between {from} and its copy in {to}: the copy is not used")]
    Differs {
        /// The key.
        key: String,
        /// The source.
        from: String,
        /// The target.
        to: String,
    },
    /// A store failed.
    #[error("{location} failed")]
    Store {
        /// Which.
        location: String,
        /// How.
        #[source]
        source: Error,
    },
}

/// One of both ends.
struct End<S> {
    location: String,
    store: Arc<S>,
}

impl<S: Store> End<S> {
    fn new(location: &Location, store: Result<S, Error>) -> Result<Self, MigrateError> {
        let location = location.to_string();
        match store {
            Ok(store) => Ok(Self { location, store: Arc::new(store) }),
            Err(Error::Embedded { source: redb::Error::DatabaseAlreadyOpen, .. }) => {
                Err(MigrateError::InUse { location, holder: "another process".to_owned() })
            }
            Err(source) => Err(MigrateError::Store { location, source }),
        }
    }

    fn failed(&self, source: Error) -> MigrateError {
        MigrateError::Store { location: self.location.clone(), source }
    }

    /// Keeps coordinators from it for as long as the result lives.
    async fn hold(&self) -> Result<Lead, MigrateError> {
        if !S::SHARED {
            return lead::seize(&self.store, "a migration").await.map_err(|error| self.failed(error));
        }
        let candidate = Candidate { url: "a migration".to_owned(), ttl: LEASE };
        match lead::campaign(&self.store, &candidate).await.map_err(|error| self.failed(error))? {
            Ok(lead) => Ok(lead),
            Err(holder) => Err(MigrateError::InUse { location: self.location.clone(), holder }),
        }
    }

    async fn content(&self) -> Result<Vec<(String, Entry)>, MigrateError> {
        let mut all = self.store.range("").await.map_err(|error| self.failed(error))?;
        all.retain(|(key, _)| key != lead::LEADER);
        Ok(all)
    }

    async fn commit(&self, guard: &Guard, writes: Vec<Write>) -> Result<(), MigrateError> {
        let done = self.store.commit(vec![guard.clone()], writes).await;
        done.map(drop).map_err(|error| self.failed(error))
    }
}

/// Copies all that `from` holds to `to`, which must be empty, and compares.
///
/// # Errors
/// If either is in use or fails, the target is not empty, or the copy differs.
pub async fn migrate(from: &Location, to: &Location) -> Result<Migrated, MigrateError> {
    match from {
        Location::Memory => Err(MigrateError::Memory),
        Location::Embedded(path) if !path.exists() => {
            Err(MigrateError::NoSource { location: from.to_string() })
        }
        Location::Embedded(path) => migrate_from(End::new(from, EmbeddedStore::open(path).await)?, to).await,
        Location::Etcd { endpoints, prefix } => {
            migrate_from(End::new(from, EtcdStore::new(endpoints, prefix, LEASE / 4))?, to).await
        }
    }
}

async fn migrate_from(source: End<impl Store>, to: &Location) -> Result<Migrated, MigrateError> {
    match to {
        Location::Memory => Err(MigrateError::Memory),
        Location::Embedded(path) => copy(&source, &End::new(to, EmbeddedStore::open(path).await)?).await,
        Location::Etcd { endpoints, prefix } => {
            copy(&source, &End::new(to, EtcdStore::new(endpoints, prefix, LEASE / 4))?).await
        }
    }
}

async fn copy(source: &End<impl Store>, target: &End<impl Store>) -> Result<Migrated, MigrateError> {
    let held_source = source.hold().await?;
    let original = source.content().await?;
    if original.is_empty() {
        return Err(MigrateError::NoSource { location: source.location.clone() });
    }
    if original.iter().any(|(key, _)| key == MIGRATING) {
        return Err(MigrateError::Unfinished { location: source.location.clone() });
    }
    let keys = target.content().await?.len();
    if keys > 0 {
        return Err(MigrateError::NotEmpty { location: target.location.clone(), keys });
    }
    let held_target = target.hold().await?;
    let guard = held_target.guard();
    let mark = Write::Put { key: MIGRATING.to_owned(), value: source.location.clone().into(), lease: None };
    target.commit(guard, vec![mark]).await?;
    let (mut batch, mut batch_bytes, mut bytes) = (Vec::new(), 0, 0);
    for (key, entry) in &original {
        if batch.len() == BATCH || batch_bytes + entry.value.len() > BATCH_BYTES {
            target.commit(guard, std::mem::take(&mut batch)).await?;
            batch_bytes = 0;
        }
        batch_bytes += entry.value.len();
        bytes += entry.value.len();
        batch.push(Write::Put { key: key.clone(), value: entry.value.clone(), lease: None });
    }
    target.commit(guard, batch).await?;
    compare(source, target, &original).await?;
    target.commit(guard, vec![Write::Delete { key: MIGRATING.to_owned() }]).await?;
    held_target.give_up(&target.store).await;
    held_source.give_up(&source.store).await;
    Ok(Migrated { keys: original.len(), bytes })
}

/// Reads both again: the source must not have moved, the target must be the same.
async fn compare(
    source: &End<impl Store>,
    target: &End<impl Store>,
    original: &[(String, Entry)],
) -> Result<(), MigrateError> {
    let values = |entries: Vec<(String, Entry)>| -> Vec<(String, Vec<u8>)> {
        entries.into_iter().map(|(key, entry)| (key, entry.value)).collect()
    };
    let wanted = values(original.to_vec());
    let mut found = values(target.content().await?);
    found.retain(|(key, _)| key != MIGRATING);
    let still = values(source.content().await?);
    for other in [&found, &still] {
        let both = wanted.iter().map(Some).chain([None]).zip(other.iter().map(Some).chain([None]));
        if let Some((one, another)) = both.into_iter().find(|(one, another)| one != another) {
            let key = one.or(another).map(|(key, _)| key.clone()).unwrap_or_default();
            let (from, to) = (source.location.clone(), target.location.clone());
            return Err(MigrateError::Differs { key, from, to });
        }
    }
    Ok(())
}
