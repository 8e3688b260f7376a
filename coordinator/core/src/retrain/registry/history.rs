//! What happened to a model's versions.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Actor, Registry, VersionNumber};
use crate::Write;

/// Entries that are kept; the oldest go.
const KEPT: usize = 10_000;

/// A change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// A model was registered.
    Registered {
        /// The version that it became.
        version: VersionNumber,
    },
    /// A version became champion.
    Promoted {
        /// The version.
        version: VersionNumber,
        /// The champion before.
        before: Option<VersionNumber>,
    },
    /// The previous champion became champion again.
    RolledBack {
        /// The champion now.
        version: VersionNumber,
        /// The one that it was rolled back from.
        from: VersionNumber,
    },
    /// An alias was made or moved.
    Moved {
        /// The alias.
        alias: String,
        /// Where it is.
        version: VersionNumber,
        /// Where it was.
        before: Option<VersionNumber>,
    },
    /// An alias was taken away.
    Unnamed {
        /// The alias.
        alias: String,
        /// Where it was.
        before: VersionNumber,
    },
    /// A version got a remark or a label, or lost one.
    Annotated {
        /// The version.
        version: VersionNumber,
    },
    /// A version is no longer kept; its files may go, and where they were is said here, in case that they did not.
    Removed {
        /// The version.
        version: VersionNumber,
        /// Its checkpoint.
        checkpoint: String,
    },
}

/// A change, and whose.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// Its number, from 1.
    pub number: u64,
    /// When.
    pub at: Timestamp,
    /// Whose: a person's, or a run's.
    pub by: String,
    /// What changed.
    pub change: Change,
}

impl Registry {
    /// Adds a change to the history.
    pub(super) fn note(&mut self, actor: Actor<'_>, change: Change) -> Vec<Write> {
        self.last_entry += 1;
        let entry = Entry { number: self.last_entry, at: actor.at, by: actor.by.to_owned(), change };
        let mut writes = vec![self.put_entry(&entry), self.put_counters()];
        self.history.push_back(entry);
        while self.history.len() > KEPT {
            let oldest = self.history.pop_front();
            writes.extend(oldest.map(|oldest| self.delete_entry(oldest.number)));
        }
        writes
    }
}
