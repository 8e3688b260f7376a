//! Where the coordinator's state outlives it: keys with revisions, and commits that are all or nothing.
//!
//! Three kinds, held to one suite of tests: memory for clusters that end with their coordinator, an embedded database
//! in a file, and etcd for coordinators that stand in for each other. Heartbeats and progress never come here.
//!
//! A lease alone fences nothing: whoever held it may not have noticed that it ended. So there is no write without a
//! guard on a key that the lease keeps.

mod embedded;
mod error;
mod etcd;
mod lease;
mod location;
mod memory;
mod migrate;
mod watch;

use std::time::Duration;

pub use self::embedded::EmbeddedStore;
pub use self::error::Error;
pub use self::etcd::EtcdStore;
pub use self::lease::{Lease, LeaseId};
pub use self::location::{BadLocation, Location};
pub use self::memory::MemoryStore;
pub(crate) use self::migrate::MIGRATING;
pub use self::migrate::{MigrateError, Migrated, migrate};
pub use self::watch::Watch;

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

/// One change. Of several of one key in a commit the last counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Write {
    /// The key gets this value.
    Put {
        /// The key.
        key: String,
        /// The value.
        value: Vec<u8>,
        /// With the end of which the key goes away.
        lease: Option<LeaseId>,
    },
    /// The key goes away.
    Delete {
        /// The key.
        key: String,
    },
}

impl From<muster_core::Write> for Write {
    fn from(write: muster_core::Write) -> Self {
        match write {
            muster_core::Write::Put { key, value } => Self::Put { key, value, lease: None },
            muster_core::Write::Delete { key } => Self::Delete { key },
        }
    }
}

impl Write {
    /// The key that is written.
    #[must_use]
    pub fn key(&self) -> &str {
        match self {
            Self::Put { key, .. } | Self::Delete { key } => key,
        }
    }
}

/// Keys with revisions.
pub trait Store: Send + Sync + 'static {
    /// Whether several processes may have it open. One that nobody else can open needs no election.
    const SHARED: bool;

    /// The largest value that it takes, in bytes.
    const LARGEST_VALUE: usize;

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

    /// Makes the writes durable, all or none, if every guard holds; no written key has a later revision than the one
    /// returned.
    ///
    /// # Errors
    /// [`Error::Conflict`] if a guard does not hold; otherwise if the store fails. After an error that
    /// [is transient](Error::is_transient) the writes may be durable or not.
    fn commit(
        &self,
        guards: Vec<Guard>,
        writes: Vec<Write>,
    ) -> impl Future<Output = Result<Revision, Error>> + Send;

    /// Grants a lease of at least `ttl`.
    ///
    /// # Errors
    /// If the store fails.
    fn lease(&self, ttl: Duration) -> impl Future<Output = Result<Lease, Error>> + Send;

    /// Has a lease last for its whole time again.
    ///
    /// # Errors
    /// [`Error::LeaseEnded`] if it is too late; otherwise if the store fails.
    fn keep_alive(&self, lease: Lease) -> impl Future<Output = Result<(), Error>> + Send;

    /// Ends a lease, and the keys that are tied to it.
    ///
    /// # Errors
    /// If the store fails. A lease that has ended already is no error.
    fn revoke(&self, lease: Lease) -> impl Future<Output = Result<(), Error>> + Send;

    /// Watches all keys that begin with `prefix`.
    fn watch(&self, prefix: &str) -> Watch;
}
