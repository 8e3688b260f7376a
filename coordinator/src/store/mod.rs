//! Where the coordinator's state outlives it: keys with revisions, and commits that are all or nothing.
//!
//! Two kinds so far, held to one suite of tests: memory for clusters that end with their coordinator, and an
//! embedded database in a file. Heartbeats and progress never come here.

mod embedded;
mod memory;

use std::path::PathBuf;

use muster_core::Write;

pub use self::embedded::EmbeddedStore;
pub use self::memory::MemoryStore;

/// A number that grows with every commit; a key has that of the commit which wrote it last. 0: never written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Revision(pub u64);

/// A value and when it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The value.
    pub value: Vec<u8>,
    /// The revision of the commit that wrote it.
    pub revision: Revision,
}

/// A commit holds only if this key still has this revision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Guard {
    /// The key.
    pub key: String,
    /// Its revision; 0 if it must not be there.
    pub revision: Revision,
}

/// Why the store did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Somebody else wrote to a guarded key; nothing was written.
    #[error("`{key}` was written by somebody else: expected revision {expected}, found {found}", expected = .expected.0, found = .found.0)]
    Conflict {
        /// The key.
        key: String,
        /// The revision the guard names.
        expected: Revision,
        /// The revision the key has.
        found: Revision,
    },
    /// The embedded database failed.
    #[error("the store in {path} failed")]
    Embedded {
        /// Its file.
        path: PathBuf,
        /// What it says.
        #[source]
        source: redb::Error,
    },
    /// The thread that talked to the database ended early.
    #[error("the store in {path} stopped answering")]
    Interrupted {
        /// Its file.
        path: PathBuf,
    },
}

/// Keys with revisions.
pub trait Store: Send + Sync + 'static {
    /// The value of a key, if it has one.
    ///
    /// # Errors
    /// If the store fails.
    fn get(&self, key: &str) -> impl Future<Output = Result<Option<Entry>, Error>> + Send;

    /// All keys that begin with `prefix`, in order.
    ///
    /// # Errors
    /// If the store fails.
    fn range(&self, prefix: &str) -> impl Future<Output = Result<Vec<(String, Entry)>, Error>> + Send;

    /// Makes the writes durable, all or none, if every guard holds; the revision of the written keys.
    ///
    /// # Errors
    /// [`Error::Conflict`] if a guard does not hold; otherwise if the store fails.
    fn commit(
        &self,
        guards: Vec<Guard>,
        writes: Vec<Write>,
    ) -> impl Future<Output = Result<Revision, Error>> + Send;
}
