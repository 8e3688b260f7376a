//! A store in one file, by the embedded database redb. Commits are on disk when they return.

use std::fs::{File, OpenOptions};
use std::io;
#[cfg(unix)]
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use muster_core::Write;
use redb::backends::FileBackend;
use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition};

use super::{Entry, Error, Guard, Revision, Store};

/// Key to (revision, value).
const ENTRIES: TableDefinition<'_, &str, (u64, &[u8])> = TableDefinition::new("entries");
/// The revision of the last commit, under the empty key.
const REVISION: TableDefinition<'_, &str, u64> = TableDefinition::new("revision");

/// Memory that the database may use to cache its pages, in bytes; the state of a cluster is small.
const CACHE_BYTES: usize = 16 * 1024 * 1024;

/// Keeps everything in one file, which one process opens at a time. Clones share it.
#[derive(Debug, Clone)]
pub struct EmbeddedStore {
    path: PathBuf,
    database: Arc<Database>,
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
            transaction.commit()?;
            Ok(database)
        };
        let database = blocking(path.clone(), open).await?;
        Ok(Self { path, database: Arc::new(database) })
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
    async fn get(&self, key: &str) -> Result<Option<Entry>, Error> {
        let key = key.to_owned();
        self.with(move |database| {
            let table = database.begin_read()?.open_table(ENTRIES)?;
            Ok(table.get(key.as_str())?.map(|found| entry(found.value())))
        })
        .await
    }

    async fn range(&self, prefix: &str) -> Result<Vec<(String, Entry)>, Error> {
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

    async fn commit(&self, guards: Vec<Guard>, writes: Vec<Write>) -> Result<Revision, Error> {
        let done = self.with(move |database| commit(database, guards, writes)).await?;
        done.map_err(|Conflict { guard, found }| Error::Conflict {
            key: guard.key,
            expected: guard.revision,
            found,
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
        let mut last = transaction.open_table(REVISION)?;
        let revision = last.get("")?.map_or(0, |last| last.value()) + 1;
        last.insert("", revision)?;
        for write in writes {
            match write {
                Write::Put { key, value } => entries.insert(key.as_str(), (revision, value.as_slice()))?,
                Write::Delete { key } => entries.remove(key.as_str())?,
            };
        }
        revision
    };
    transaction.commit()?;
    Ok(Ok(Revision(revision)))
}

fn entry((revision, value): (u64, &[u8])) -> Entry {
    Entry { value: value.to_vec(), revision: Revision(revision) }
}
