//! Names for versions that move.

use super::history::Change;
use super::{Actor, Error, MOST_ALIASES, Registry, VersionNumber, check_name};
use crate::Write;

/// The version that is used.
pub const CHAMPION: &str = "champion";
/// The version that was used before it.
pub const PREVIOUS: &str = "previous";

impl Registry {
    /// The version that an alias names.
    #[must_use]
    pub fn alias(&self, alias: &str) -> Option<VersionNumber> {
        self.aliases.get(alias).copied()
    }

    /// All aliases with their versions.
    pub fn aliases(&self) -> impl Iterator<Item = (&str, VersionNumber)> {
        self.aliases.iter().map(|(alias, version)| (alias.as_str(), *version))
    }

    /// Makes a version the champion, and the champion until now the previous one. `expected` is the champion that whoever asks
    /// has in mind.
    ///
    /// # Errors
    /// There is no such version, or the champion is another one.
    pub fn promote(
        &mut self,
        version: VersionNumber,
        expected: Option<VersionNumber>,
        actor: Actor<'_>,
    ) -> Result<Vec<Write>, Error> {
        self.version(version)?;
        self.check_at(CHAMPION, expected)?;
        let before = self.alias(CHAMPION);
        if before == Some(version) {
            return Ok(Vec::new());
        }
        let mut writes = before.map_or_else(Vec::new, |before| self.set(PREVIOUS, before));
        writes.extend(self.set(CHAMPION, version));
        writes.extend(self.note(actor, Change::Promoted { version, before }));
        Ok(writes)
    }

    /// Makes the previous champion the champion again, and the other way round. `expected` is the champion that is to go.
    ///
    /// # Errors
    /// There is no previous champion, or the champion is another one.
    pub fn roll_back(&mut self, expected: VersionNumber, actor: Actor<'_>) -> Result<Vec<Write>, Error> {
        self.check_at(CHAMPION, Some(expected))?;
        let nothing = || Error::NothingBefore { model: self.name.clone() };
        let version = self.alias(PREVIOUS).ok_or_else(nothing)?;
        let mut writes = self.set(PREVIOUS, expected);
        writes.extend(self.set(CHAMPION, version));
        writes.extend(self.note(actor, Change::RolledBack { version, from: expected }));
        Ok(writes)
    }

    /// Moves a free alias to a version, or makes it. `expected` is where whoever asks takes it to be, none if it is not there.
    ///
    /// # Errors
    /// The alias is not free, is elsewhere, or cannot be a name; there is no such version.
    pub fn move_alias(
        &mut self,
        alias: &str,
        version: VersionNumber,
        expected: Option<VersionNumber>,
        actor: Actor<'_>,
    ) -> Result<Vec<Write>, Error> {
        check_free(alias)?;
        check_name("alias", alias)?;
        self.version(version)?;
        self.check_at(alias, expected)?;
        if !self.aliases.contains_key(alias) {
            self.check_room("aliases", self.aliases.len(), MOST_ALIASES)?;
        }
        let before = self.alias(alias);
        if before == Some(version) {
            return Ok(Vec::new());
        }
        let mut writes = self.set(alias, version);
        writes.extend(self.note(actor, Change::Moved { alias: alias.to_owned(), version, before }));
        Ok(writes)
    }

    /// Takes a free alias away.
    ///
    /// # Errors
    /// The alias is not free, is elsewhere, or is not there.
    pub fn remove_alias(
        &mut self,
        alias: &str,
        expected: VersionNumber,
        actor: Actor<'_>,
    ) -> Result<Vec<Write>, Error> {
        check_free(alias)?;
        if !self.aliases.contains_key(alias) {
            let known: Vec<&str> = self.aliases.keys().map(String::as_str).collect();
            let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
            return Err(Error::UnknownAlias { model: self.name.clone(), alias: alias.to_owned(), known });
        }
        self.check_at(alias, Some(expected))?;
        self.aliases.remove(alias);
        let mut writes = vec![self.delete_alias(alias)];
        writes.extend(self.note(actor, Change::Unnamed { alias: alias.to_owned(), before: expected }));
        Ok(writes)
    }

    fn check_at(&self, alias: &str, expected: Option<VersionNumber>) -> Result<(), Error> {
        let found = self.alias(alias);
        if found == expected {
            return Ok(());
        }
        let words =
            |at: Option<VersionNumber>| at.map_or_else(|| "no version".to_owned(), |at| at.to_string());
        Err(Error::Moved { alias: alias.to_owned(), found: words(found), expected: words(expected) })
    }

    fn set(&mut self, alias: &str, version: VersionNumber) -> Vec<Write> {
        self.aliases.insert(alias.to_owned(), version);
        vec![self.put_alias(alias, version)]
    }
}

fn check_free(alias: &str) -> Result<(), Error> {
    if [CHAMPION, PREVIOUS].contains(&alias) {
        return Err(Error::Reserved { alias: alias.to_owned() });
    }
    Ok(())
}
