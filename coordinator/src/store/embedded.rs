//! A store in one file, by the embedded database redb. Commits are on disk when they return.

use std::fs::{File, OpenOptions};
use std::io;
#[cfg(unix)]
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use redb::backends::FileBackend;
use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition, WriteTransaction};

use tokio::sync::watch;
use tokio::time::Instant;

use super::lease::Leases;
use super::{Entry, Error, Guard, Lease, LeaseId, Revision, Store, Watch, Write};

/// Key to (revision, value).
const ENTRIES: TableDefinition<'_, &str, (u64, &[u8])> = TableDefinition::new("entries");
/// The revision of the last commit, under the empty key.
const REVISION: TableDefinition<'_, &str, u64> = TableDefinition::new("revision");

/// Keys that are tied to a lease, and to which.
const LEASED: TableDefinition<'_, &str, i64> = TableDefinition::new("leased");

/// Memory that the database may use to cache its pages, in bytes; the state of a cluster is small.
const CACHE_BYTES: usize = 16 * 1024 * 1024;

/// Keeps everything in one file, which one process opens at a time. Clones share it.
#[derive(Debug, Clone)]
pub struct EmbeddedStore {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    path: PathBuf,
    database: Arc<Database>,
    leases: Mutex<Leases>,
    changes: watch::Sender<u64>,
}

impl EmbeddedStore {
    /// Opens the store, and makes its file if there is none.
    ///
    /// # Errors
    /// If the file cannot be made, is not a store, or is held by another process.
    pub async fn open(path: &Path) -> Result<Self, Error> {
        let path = path.to_path_buf();
        let open = move |path: &Path| {
            let backend = FileBackend::new(private_file(path)?)?;
            let database = Database::builder().set_cache_size(CACHE_BYTES).create_with_backend(backend)?;
            let transaction = database.begin_write()?;
            transaction.open_table(ENTRIES)?;
            transaction.open_table(REVISION)?;
            transaction.open_table(LEASED)?;
            transaction.commit()?;
            // Leases end with the process that held the file.
            release(&database, |_| true)?;
            Ok(database)
        };
        let database = Arc::new(blocking(path.clone(), open).await?);
        let (leases, changes) = (Mutex::default(), watch::Sender::default());
        Ok(Self { inner: Arc::new(Inner { path, database, leases, changes }) })
    }
}

impl Inner {
    // Only whole values are put there and taken out.
    fn leases(&self) -> MutexGuard<'_, Leases> {
        self.leases.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn changed(&self) {
        self.changes.send_modify(|changes| *changes += 1);
    }

    /// Lets go of what was tied to leases that have ended.
    async fn expire(&self) -> Result<(), Error> {
        let ended = self.leases().take_ended(Instant::now());
        if ended.is_empty() {
            return Ok(());
        }
        self.with(move |database| release(database, |lease| ended.contains(&lease))).await
    }

    async fn range(&self, prefix: &str) -> Result<Vec<(String, Entry)>, Error> {
        self.expire().await?;
        let prefix = prefix.to_owned();
        self.with(move |database| {
            let table = database.begin_read()?.open_table(ENTRIES)?;
            let mut entries = Vec::new();
            for item in table.range(prefix.as_str()..)? {
                let (key, found) = item?;
                if !key.value().starts_with(&prefix) {
                    break;
                }
                entries.push((key.value().to_owned(), entry(found.value())));
            }
            Ok(entries)
        })
        .await
    }

    async fn with<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Database) -> Result<T, redb::Error> + Send + 'static,
    ) -> Result<T, Error> {
        let database = Arc::clone(&self.database);
        blocking(self.path.clone(), move |_| work(&database)).await
    }
}

/// Runs work that waits for the disk where it holds nobody up.
async fn blocking<T: Send + 'static>(
    path: PathBuf,
    work: impl FnOnce(&Path) -> Result<T, redb::Error> + Send + 'static,
) -> Result<T, Error> {
    let for_work = path.clone();
    match tokio::task::spawn_blocking(move || work(&for_work)).await {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(source)) => Err(Error::Embedded { path, source }),
        Err(_) => Err(Error::Interrupted { path }),
    }
}

impl Store for EmbeddedStore {
    const SHARED: bool = false;
    const LARGEST_VALUE: usize = usize::MAX;

    async fn get(&self, key: &str) -> Result<Option<Entry>, Error> {
        self.inner.expire().await?;
        let key = key.to_owned();
        let read = move |database: &Database| {
            let table = database.begin_read()?.open_table(ENTRIES)?;
            Ok(table.get(key.as_str())?.map(|found| entry(found.value())))
        };
        self.inner.with(read).await
    }

    async fn range(&self, prefix: &str) -> Result<Vec<(String, Entry)>, Error> {
        self.inner.range(prefix).await
    }

    async fn commit(&self, guards: Vec<Guard>, writes: Vec<Write>) -> Result<Revision, Error> {
        self.inner.expire().await?;
        for write in &writes {
            if let Write::Put { lease: Some(lease), .. } = write
                && !self.inner.leases().holds(*lease, Instant::now())
            {
                return Err(Error::LeaseEnded { lease: *lease });
            }
        }
        let done = self.inner.with(move |database| commit(database, guards, writes)).await?;
        self.inner.changed();
        done.map_err(|Conflict { guard, found }| Error::Conflict {
            key: guard.key,
            expected: guard.revision,
            found,
        })
    }

    async fn lease(&self, ttl: Duration) -> Result<Lease, Error> {
        let lease = self.inner.leases().grant(ttl, Instant::now());
        self.inner.changed();
        Ok(lease)
    }

    async fn keep_alive(&self, lease: Lease) -> Result<(), Error> {
        match self.inner.leases().renew(lease, Instant::now()) {
            true => Ok(()),
            false => Err(Error::LeaseEnded { lease: lease.id }),
        }
    }

    async fn revoke(&self, lease: Lease) -> Result<(), Error> {
        self.inner.leases().end(lease.id, Instant::now());
        self.inner.changed();
        self.inner.expire().await
    }

    fn watch(&self, prefix: &str) -> Watch {
        // Held weakly: the file can be opened by others once the store's last owner is gone.
        let (inner, prefix) = (Arc::downgrade(&self.inner), prefix.to_owned());
        super::watch::local(self.inner.changes.subscribe(), move || {
            let (inner, prefix) = (inner.upgrade(), prefix.clone());
            async move {
                let inner = inner?;
                let entries = inner.range(&prefix).await.ok()?;
                let next_end = inner.leases().next_end();
                Some((entries, next_end))
            }
        })
    }
}

/// Opens the file for its owner alone: it holds the secrets that workers show to each other.
fn private_file(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    #[cfg(unix)]
    options.mode(0o600);
    options.open(path)
}

/// A guard that does not hold.
struct Conflict {
    guard: Guard,
    found: Revision,
}

fn commit(
    database: &Database,
    guards: Vec<Guard>,
    writes: Vec<Write>,
) -> Result<Result<Revision, Conflict>, redb::Error> {
    let transaction = database.begin_write()?;
    let revision = {
        let mut entries = transaction.open_table(ENTRIES)?;
        for guard in guards {
            let found =
                entries.get(guard.key.as_str())?.map_or(Revision(0), |found| Revision(found.value().0));
            if found != guard.revision {
                return Ok(Err(Conflict { guard, found }));
            }
        }
        let mut leased = transaction.open_table(LEASED)?;
        let revision = next_revision(&transaction)?;
        for write in writes {
            match &write {
                Write::Put { key, value, lease } => {
                    entries.insert(key.as_str(), (revision, value.as_slice()))?;
                    match lease {
                        Some(lease) => leased.insert(key.as_str(), lease.0)?,
                        None => leased.remove(key.as_str())?,
                    };
                }
                Write::Delete { key } => {
                    entries.remove(key.as_str())?;
                    leased.remove(key.as_str())?;
                }
            }
        }
        revision
    };
    transaction.commit()?;
    Ok(Ok(Revision(revision)))
}

fn next_revision(transaction: &WriteTransaction) -> Result<u64, redb::Error> {
    let mut last = transaction.open_table(REVISION)?;
    let revision = last.get("")?.map_or(0, |last| last.value()) + 1;
    last.insert("", revision)?;
    Ok(revision)
}

/// Deletes the keys of the leases that have `ended`.
fn release(database: &Database, ended: impl Fn(LeaseId) -> bool) -> Result<(), redb::Error> {
    let table = database.begin_read()?.open_table(LEASED)?;
    let mut keys = Vec::new();
    for item in table.iter()? {
        let (key, lease) = item?;
        if ended(LeaseId(lease.value())) {
            keys.push(key.value().to_owned());
        }
    }
    if keys.is_empty() {
        return Ok(());
    }
    let transaction = database.begin_write()?;
    {
        let mut entries = transaction.open_table(ENTRIES)?;
        let mut leased = transaction.open_table(LEASED)?;
        next_revision(&transaction)?;
        for key in keys {
            entries.remove(key.as_str())?;
            leased.remove(key.as_str())?;
        }
    }
    transaction.commit()?;
    Ok(())
}

fn entry((revision, value): (u64, &[u8])) -> Entry {
    Entry { value: value.to_vec(), revision: Revision(revision) }
}
