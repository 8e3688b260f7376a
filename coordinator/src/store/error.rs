//! Why a store did not do what it was asked for.

use std::path::PathBuf;
use std::time::Duration;

use tonic::Code;

use super::{LeaseId, Revision};

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
    /// The lease has run out, or was revoked.
    #[error("lease {id:x} has ended", id = .lease.0)]
    LeaseEnded {
        /// The lease.
        lease: LeaseId,
    },
    /// More than the store takes at a time.
    #[error("a commit of {bytes} bytes is larger than the store takes ({most})")]
    TooLarge {
        /// Its size.
        bytes: usize,
        /// The largest size.
        most: usize,
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
    /// The address of etcd cannot be one.
    #[error("`{endpoint}` is not an address of etcd: write HOST:PORT")]
    Endpoint {
        /// What was given.
        endpoint: String,
    },
    /// etcd cannot be reached, or refuses.
    #[error("etcd at {endpoint} failed ({code:?}): {problem}")]
    Etcd {
        /// Its address.
        endpoint: String,
        /// The kind of failure.
        code: Code,
        /// What it says.
        problem: String,
    },
    /// etcd did not answer in time.
    #[error("etcd at {endpoint} did not answer within {deadline:?}")]
    Deadline {
        /// Its address.
        endpoint: String,
        /// How long it was waited for.
        deadline: Duration,
    },
    /// A value in etcd is not what was written there.
    #[error("etcd has a value under `{key}` that cannot be read; does another program use this prefix?")]
    Garbled {
        /// The key.
        key: String,
    },
}

impl Error {
    /// Whether the same call may succeed later. A commit that failed like this may have been carried out.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Deadline { .. } => true,
            Self::Etcd { code, .. } => matches!(
                code,
                Code::Unavailable
                    | Code::DeadlineExceeded
                    | Code::Cancelled
                    | Code::Unknown
                    | Code::Internal
                    | Code::ResourceExhausted
            ),
            _ => false,
        }
    }
}
