//! What the store keeps of a model, under which keys, and how it is read back.
//!
//! A key each for a version, an alias, an entry of the history, and the runs that work on a version, so that a change writes
//! what it changes and nothing else.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::{Entry, Registry, Version, VersionNumber};
use crate::Write;
use crate::stored::{RestoreError, parse, put};

/// Under which all models lie.
pub const PREFIX: &str = "models/";

/// The last numbers given.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Counters {
    versions: u64,
    entries: u64,
}

impl Registry {
    // Twenty digits hold any u64, so that keys sort as numbers do.
    fn numbered(&self, kind: &str, number: u64) -> String {
        format!("{PREFIX}{}/{kind}/{number:020}", self.name)
    }

    fn alias_key(&self, alias: &str) -> String {
        format!("{PREFIX}{}/aliases/{alias}", self.name)
    }

    pub(super) fn put_version(&self, version: &Version) -> Write {
        put(self.numbered("versions", version.number.0), version)
    }

    pub(super) fn delete_version(&self, version: VersionNumber) -> Write {
        Write::Delete { key: self.numbered("versions", version.0) }
    }

    pub(super) fn put_alias(&self, alias: &str, version: VersionNumber) -> Write {
        put(self.alias_key(alias), &version)
    }

    pub(super) fn delete_alias(&self, alias: &str) -> Write {
        Write::Delete { key: self.alias_key(alias) }
    }

    pub(super) fn put_entry(&self, entry: &Entry) -> Write {
        put(self.numbered("history", entry.number), entry)
    }

    pub(super) fn delete_entry(&self, number: u64) -> Write {
        Write::Delete { key: self.numbered("history", number) }
    }

    /// The runs that work on a version; without one, nothing is kept of them.
    pub(super) fn put_holds(&self, version: VersionNumber) -> Write {
        let key = self.numbered("holds", version.0);
        match self.holds.get(&version) {
            Some(runs) => put(key, runs),
            None => Write::Delete { key },
        }
    }

    pub(super) fn put_counters(&self) -> Write {
        let counters = Counters { versions: self.last_version, entries: self.last_entry };
        put(format!("{PREFIX}{}/counters", self.name), &counters)
    }

    /// Reads the registries of all models from what the store has below [`PREFIX`].
    ///
    /// # Errors
    /// A key or a value that is none of a registry, or an alias or a run whose version is not there.
    pub fn restore(
        pairs: impl IntoIterator<Item = (String, Vec<u8>)>,
    ) -> Result<BTreeMap<String, Self>, RestoreError> {
        let mut models: BTreeMap<String, Self> = BTreeMap::new();
        for (key, value) in pairs {
            let unknown = || RestoreError::UnknownKey { key: key.clone() };
            let (name, rest) =
                key.strip_prefix(PREFIX).and_then(|rest| rest.split_once('/')).ok_or_else(unknown)?;
            if !models.contains_key(name) {
                models.insert(name.to_owned(), Self::new(name)?);
            }
            let model = models.get_mut(name).expect("it was just put there");
            let number =
                || rest.split_once('/').and_then(|(_, number)| number.parse().ok()).ok_or_else(unknown);
            match rest.split_once('/').map_or(rest, |(kind, _)| kind) {
                "versions" => {
                    let version: Version = parse(&key, &value)?;
                    model.versions.insert(VersionNumber(number()?), version);
                }
                "aliases" => {
                    let alias = rest.strip_prefix("aliases/").ok_or_else(unknown)?.to_owned();
                    model.aliases.insert(alias, parse(&key, &value)?);
                }
                "holds" => {
                    let runs: BTreeSet<String> = parse(&key, &value)?;
                    model.holds.insert(VersionNumber(number()?), runs);
                }
                "history" => {
                    number()?;
                    model.history.push_back(parse(&key, &value)?);
                }
                "counters" => {
                    let Counters { versions, entries } = parse(&key, &value)?;
                    (model.last_version, model.last_entry) = (versions, entries);
                }
                _ => return Err(unknown()),
            }
        }
        for model in models.values_mut() {
            model.history.make_contiguous().sort_by_key(|entry| entry.number);
            model.check_dangling()?;
        }
        Ok(models)
    }

    fn check_dangling(&self) -> Result<(), RestoreError> {
        let aliases = self.aliases.iter().map(|(alias, version)| (self.alias_key(alias), *version));
        let holds = self.holds.keys().map(|version| (self.numbered("holds", version.0), *version));
        match aliases.chain(holds).find(|(_, version)| !self.versions.contains_key(version)) {
            None => Ok(()),
            Some((key, version)) => Err(RestoreError::Dangling { key, version }),
        }
    }
}
