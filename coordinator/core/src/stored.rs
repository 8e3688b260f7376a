//! Values of the store: JSON under keys, and why they cannot be read back.

use serde::Serialize;
use serde::de::DeserializeOwned;

use muster_proto::ids::JobId;

use crate::action::Write;
use crate::retrain::{self, registry};

/// Why what the store has cannot be taken over.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// The key is none that is known.
    #[error("the store has the unknown key `{key}`: was it written by a newer version?")]
    UnknownKey {
        /// The key.
        key: String,
    },
    /// The value is not what the key says.
    #[error("the store's value of `{key}` cannot be read: was it written by a newer version?")]
    Value {
        /// The key.
        key: String,
        /// What the parser says.
        #[source]
        source: serde_json::Error,
    },
    /// Half of a job is missing.
    #[error("the store has only half of {job}")]
    HalfAJob {
        /// The job.
        job: JobId,
    },
    /// Something is said of a version that is not there.
    #[error("the store's `{key}` is about {version}, which is not there; restore it, or delete the key")]
    Dangling {
        /// The key.
        key: String,
        /// The version.
        version: registry::VersionNumber,
    },
    /// The name of a model cannot be one.
    #[error(transparent)]
    Name(#[from] registry::Error),
    /// A schedule's pattern is none any more.
    #[error("the schedule in `{key}` cannot be used: {source}")]
    Schedule {
        /// The key.
        key: String,
        /// What is wrong.
        #[source]
        source: retrain::Error,
    },
}

/// The change that gives a key a value.
pub(crate) fn put(key: String, value: &impl Serialize) -> Write {
    let value = serde_json::to_vec(value).expect("records have string keys and no values that JSON lacks");
    Write::Put { key, value }
}

/// Reads a key's value back.
pub(crate) fn parse<T: DeserializeOwned>(key: &str, value: &[u8]) -> Result<T, RestoreError> {
    serde_json::from_slice(value).map_err(|source| RestoreError::Value { key: key.to_owned(), source })
}
