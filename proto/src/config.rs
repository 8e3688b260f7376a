//! Loads a typed spec from a TOML file and reports everything that is wrong with it at once.
//!
//! Invariants: an unknown key is an error, never ignored; each problem names its dotted field and,
//! where the value came from the file, its line; a spec that comes out of here was validated.
//!
//! For precise fields in messages, specs are plain structs and externally tagged (or unit) enums:
//! serde buffers internally tagged enums and flattened structs, and their errors then name the
//! table only.

mod access;
mod de;
mod problem;
pub mod reference;
mod tree;

use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;

pub use problem::unknown as unknown_name;
pub use problem::{Problem, Problems};

/// A configuration that a person writes: typed, without unknown keys, with rules across its fields.
pub trait Spec: DeserializeOwned {
    /// Adds one problem for each rule that the values break.
    fn validate(&self, problems: &mut Problems);
}

/// Why a spec could not be loaded.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file could not be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file that was asked for.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// The text is not TOML.
    #[error("{file}:{line}: {message}")]
    Syntax {
        /// The name of the text, usually its path.
        file: String,
        /// The line of the first error, from 1.
        line: usize,
        /// What the TOML parser found there.
        message: String,
    },
    /// The text is TOML, but not a valid spec.
    #[error("{}", problem::lines(file, problems))]
    Invalid {
        /// The name of the text, usually its path.
        file: String,
        /// Everything that is wrong, in the order of the file.
        problems: Vec<Problem>,
    },
}

impl Error {
    /// The name of the file that is at fault.
    #[must_use]
    pub fn file(&self) -> String {
        match self {
            Self::Read { path, .. } => path.display().to_string(),
            Self::Syntax { file, .. } | Self::Invalid { file, .. } => file.clone(),
        }
    }

    /// The dotted path of the first field that is at fault, if it is known.
    #[must_use]
    pub fn field(&self) -> Option<&str> {
        match self {
            Self::Invalid { problems, .. } => problems.first().map(|problem| problem.field.as_str()),
            Self::Read { .. } | Self::Syntax { .. } => None,
        }
    }
}

/// Reads a spec from a file, with `--set key.path=VALUE` overrides applied on top.
///
/// # Errors
/// The file cannot be read, is not TOML, or breaks rules of the spec.
pub fn load<T: Spec>(path: &Path, sets: &[String]) -> Result<T, Error> {
    let text =
        std::fs::read_to_string(path).map_err(|source| Error::Read { path: path.to_owned(), source })?;
    parse(&text, &path.display().to_string(), sets)
}

/// Reads a spec from text; `name` stands for the file in messages.
///
/// # Errors
/// The text is not TOML, an override has no `=`, or the values break rules of the spec.
pub fn parse<T: Spec>(text: &str, name: &str, sets: &[String]) -> Result<T, Error> {
    let mut root = tree::parse(text).map_err(|(line, message)| Error::Syntax {
        file: name.to_owned(),
        line,
        message,
    })?;
    let mut found = Vec::new();
    for set in sets {
        if let Err(problem) = tree::apply_set(&mut root, set) {
            found.push(problem);
        }
    }
    let spec = de::deserialize::<T>(&mut root, &mut found);
    if let Some(spec) = &spec {
        let only_unknown_keys = found.iter().all(|problem| problem.is_unknown_key);
        let mut problems = Problems::new();
        spec.validate(&mut problems);
        // Where a value was dropped for its type, a default stands in for it, and rules may fail for
        // that reason alone; then only complaints about values that were written are believed.
        found.extend(
            problems
                .into_vec()
                .into_iter()
                .filter(|problem| only_unknown_keys || root.at(&problem.field).is_some())
                .map(|problem| Problem { line: root.line_of(&problem.field), ..problem }),
        );
    }
    match spec {
        Some(spec) if found.is_empty() => Ok(spec),
        _ => {
            found.sort_by_key(|problem| problem.line.unwrap_or(usize::MAX));
            Err(Error::Invalid { file: name.to_owned(), problems: found })
        }
    }
}

/// Checks a spec that did not come from a file, for instance from a message.
///
/// # Errors
/// The values break rules of the spec; no problem has a line.
pub fn validate<T: Spec>(spec: &T, name: &str) -> Result<(), Error> {
    let mut problems = Problems::new();
    spec.validate(&mut problems);
    let problems = problems.into_vec();
    if problems.is_empty() { Ok(()) } else { Err(Error::Invalid { file: name.to_owned(), problems }) }
}

#[cfg(test)]
mod tests;
