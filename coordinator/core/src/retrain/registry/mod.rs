//! The versions of a model, and which of them is used.
//!
//! Pure: a request in, the changes of the store out, which are durable before anybody hears of it.
//!
//! Invariants: a number is never given twice; an alias names a version that is there; what an alias names or a run works on is
//! never removed; an alias moves only from the version that the mover took it to be at (compare and swap), so that two who
//! promote at once cannot both believe that they did; every change is in the history.

mod aliases;
mod history;
mod layout;
mod retention;
mod version;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use jiff::Timestamp;

pub use self::aliases::{CHAMPION, PREVIOUS};
pub use self::history::{Change, Entry};
pub use self::layout::PREFIX;
pub use self::version::{Cost, Lineage, Model, Note, Version, VersionNumber};
use super::gates::Judgement;
use crate::Write;
pub use crate::stored::RestoreError;

/// The most versions of a model. A registry that is full takes none until some are removed.
const MOST_VERSIONS: usize = 10_000;
/// The most aliases of a model.
const MOST_ALIASES: usize = 1000;
/// The most notes of a version.
const MOST_NOTES: usize = 100;
/// The most labels of a version.
const MOST_LABELS: usize = 100;
/// Bytes of a name, a label or a note at most: with all notes and labels a version still fits one record of etcd, of 1.5 MB.
const LONGEST_TEXT: usize = 4000;

/// Why a registry refuses.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// There is no such version.
    #[error("model {model} has no {version}; `muster models list` shows what there is")]
    UnknownVersion {
        /// The model.
        model: String,
        /// What was asked for.
        version: VersionNumber,
    },
    /// There is no such alias.
    #[error("model {model} has no alias {alias}; there are: {known}")]
    UnknownAlias {
        /// The model.
        model: String,
        /// What was asked for.
        alias: String,
        /// What there is.
        known: String,
    },
    /// Somebody else moved the alias.
    #[error("alias {alias} is at {found} by now, not at {expected}; look again before you move it")]
    Moved {
        /// The alias.
        alias: String,
        /// Where it is.
        found: String,
        /// Where it was taken to be.
        expected: String,
    },
    /// A name that cannot be one.
    #[error("{what} {name:?} must be 1 to 64 letters, digits, '-', '_' or '.', and begin with a letter")]
    Name {
        /// What is named.
        what: &'static str,
        /// The name.
        name: String,
    },
    /// An alias that only promotions and roll-backs move.
    #[error("alias {alias} follows from promotions; promote or roll back instead")]
    Reserved {
        /// The alias.
        alias: String,
    },
    /// There is nothing to go back to.
    #[error("model {model} has no previous champion to go back to")]
    NothingBefore {
        /// The model.
        model: String,
    },
    /// The version is needed.
    #[error("{version} cannot be removed: {by}")]
    Needed {
        /// The version.
        version: VersionNumber,
        /// By whom.
        by: String,
    },
    /// There is room for no more.
    #[error("model {model} has {most} {what} already; remove some first")]
    Full {
        /// The model.
        model: String,
        /// Of what.
        what: &'static str,
        /// How many there may be.
        most: usize,
    },
    /// A figure of a model that cannot be kept.
    #[error("{what} of the model is {value}, which is not a number; a model like that is none to keep")]
    NotFinite {
        /// The figure.
        what: String,
        /// What it is.
        value: String,
    },
    /// A text that is too long.
    #[error("a {what} has {bytes} bytes, at most {LONGEST_TEXT} are kept; shorten it")]
    TooLong {
        /// What it is.
        what: &'static str,
        /// Its length.
        bytes: usize,
    },
}

/// Who asks for a change, and when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Actor<'a> {
    /// A person, or a schedule's run.
    pub by: &'a str,
    /// Now.
    pub at: Timestamp,
}

/// All versions of one model.
#[derive(Debug, Clone, PartialEq)]
pub struct Registry {
    name: String,
    versions: BTreeMap<VersionNumber, Version>,
    aliases: BTreeMap<String, VersionNumber>,
    /// Runs that work on a version: train from it, judge it, hand it on.
    holds: BTreeMap<VersionNumber, BTreeSet<String>>,
    history: VecDeque<Entry>,
    /// The last number given to a version.
    last_version: u64,
    /// The last number given to an entry of the history.
    last_entry: u64,
}

impl Registry {
    /// Of a model without versions.
    ///
    /// # Errors
    /// The name cannot be one.
    pub fn new(name: &str) -> Result<Self, Error> {
        check_name("model", name)?;
        let (versions, aliases, holds, history) = Default::default();
        Ok(Self { name: name.to_owned(), versions, aliases, holds, history, last_version: 0, last_entry: 0 })
    }

    /// What keeps a registry that has no version yet.
    #[must_use]
    pub fn put(&self) -> Write {
        self.put_counters()
    }

    /// The model's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The versions, oldest first.
    pub fn versions(&self) -> impl DoubleEndedIterator<Item = &Version> + ExactSizeIterator {
        self.versions.values()
    }

    /// A version.
    ///
    /// # Errors
    /// There is none of this number.
    pub fn version(&self, version: VersionNumber) -> Result<&Version, Error> {
        self.versions.get(&version).ok_or_else(|| Error::UnknownVersion { model: self.name.clone(), version })
    }

    /// What happened, oldest first, as far back as it is kept.
    pub fn history(&self) -> impl DoubleEndedIterator<Item = &Entry> {
        self.history.iter()
    }

    /// Keeps a model as a new version. A model that is there already, by the digest over its pieces and its lineage, keeps its
    /// number, so that a run that registers again after a failure makes no second one.
    ///
    /// # Errors
    /// The registry is full, or a figure of the model is not a number.
    pub fn register(&mut self, model: Model, actor: Actor<'_>) -> Result<(VersionNumber, Vec<Write>), Error> {
        let is_same = |known: &&Version| {
            known.model.model_digest == model.model_digest && known.model.lineage == model.lineage
        };
        if let Some(known) = self.versions.values().find(is_same) {
            return Ok((known.number, Vec::new()));
        }
        check_finite(&model)?;
        self.check_room("versions", self.versions.len(), MOST_VERSIONS)?;
        self.last_version += 1;
        let number = VersionNumber(self.last_version);
        let (notes, labels) = Default::default();
        let version = Version { number, created: actor.at, model, notes, labels };
        let mut writes = vec![self.put_version(&version)];
        self.versions.insert(number, version);
        writes.extend(self.note(actor, Change::Registered { version: number }));
        Ok((number, writes))
    }

    /// Keeps what the gates say of a version by now.
    ///
    /// # Errors
    /// There is no such version.
    pub fn judge(&mut self, version: VersionNumber, judgement: Judgement) -> Result<Vec<Write>, Error> {
        self.version(version)?;
        let Some(known) = self.versions.get_mut(&version) else { return Ok(Vec::new()) };
        if known.model.judgement.as_ref() == Some(&judgement) {
            return Ok(Vec::new());
        }
        known.model.judgement = Some(judgement);
        let version = known.clone();
        Ok(vec![self.put_version(&version)])
    }

    /// Adds a remark to a version.
    ///
    /// # Errors
    /// There is no such version, it has too many remarks, or the text is too long.
    pub fn remark(
        &mut self,
        version: VersionNumber,
        text: &str,
        actor: Actor<'_>,
    ) -> Result<Vec<Write>, Error> {
        check_length("note", text)?;
        self.check_room("notes of a version", self.version(version)?.notes.len(), MOST_NOTES)?;
        let note = Note { by: actor.by.to_owned(), at: actor.at, text: text.to_owned() };
        Ok(self.change(version, actor, |version| version.notes.push(note)))
    }

    /// Sets a label of a version, or takes it away.
    ///
    /// # Errors
    /// There is no such version, it has too many labels, or the label cannot be one.
    pub fn label(
        &mut self,
        version: VersionNumber,
        (name, value): (&str, Option<&str>),
        actor: Actor<'_>,
    ) -> Result<Vec<Write>, Error> {
        check_name("label", name)?;
        check_length("label", value.unwrap_or_default())?;
        let labels = &self.version(version)?.labels;
        if !labels.contains_key(name) {
            self.check_room("labels of a version", labels.len(), MOST_LABELS)?;
        }
        let (name, value) = (name.to_owned(), value.map(str::to_owned));
        Ok(self.change(version, actor, |version| {
            match value {
                Some(value) => version.labels.insert(name, value),
                None => version.labels.remove(&name),
            };
        }))
    }

    fn change(
        &mut self,
        number: VersionNumber,
        actor: Actor<'_>,
        change: impl FnOnce(&mut Version),
    ) -> Vec<Write> {
        let Some(version) = self.versions.get_mut(&number) else { return Vec::new() };
        change(version);
        let version = version.clone();
        let mut writes = vec![self.put_version(&version)];
        writes.extend(self.note(actor, Change::Annotated { version: number }));
        writes
    }

    fn check_room(&self, what: &'static str, there: usize, most: usize) -> Result<(), Error> {
        if there < most {
            return Ok(());
        }
        Err(Error::Full { model: self.name.clone(), what, most })
    }
}

/// JSON has no other numbers, and what is written has to be read back.
fn check_finite(model: &Model) -> Result<(), Error> {
    let cost =
        [("cost.cpu_seconds", model.cost.cpu_seconds), ("cost.worker_seconds", model.cost.worker_seconds)];
    let metrics = model.metrics.iter().map(|(name, value)| (name.as_str(), *value));
    match metrics.chain(cost).find(|(_, value)| !value.is_finite()) {
        None => Ok(()),
        Some((what, value)) => Err(Error::NotFinite { what: what.to_owned(), value: value.to_string() }),
    }
}

fn check_length(what: &'static str, text: &str) -> Result<(), Error> {
    if text.len() <= LONGEST_TEXT { Ok(()) } else { Err(Error::TooLong { what, bytes: text.len() }) }
}

/// Names are parts of keys of the store, and of paths.
pub(super) fn check_name(what: &'static str, name: &str) -> Result<(), Error> {
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let begins = name.starts_with(|c: char| c.is_ascii_alphabetic());
    if begins && name.len() <= 64 && name.chars().all(legal) {
        return Ok(());
    }
    Err(Error::Name { what, name: name.to_owned() })
}
