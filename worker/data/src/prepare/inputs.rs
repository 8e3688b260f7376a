//! From paths as people write them to files that are there: variables, folders and patterns.
//!
//! What a folder or a pattern stands for comes in the order of the bytes of the paths, each file once. Objects of a store
//! are named by their URL, which stands where a path does, and are opened by whoever reads them.

mod objects;
mod pattern;
mod version;
mod walk;

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use muster_proto::dataset::{Inputs, SourceSpec};

use super::error::Error;
pub(super) use version::Version;

/// Looks up an environment variable.
pub type Variables<'v> = &'v dyn Fn(&str) -> Option<String>;

/// A file or an object that an input names.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) path: PathBuf,
    /// Its version, of an object: whoever lists a store is told it, and to ask for each would take a request each.
    listed: Option<Version>,
}

impl Found {
    fn file(path: PathBuf) -> Self {
        Self { path, listed: None }
    }

    /// Which version of it is there.
    pub(super) fn version(&self) -> Result<Version, Error> {
        self.listed.clone().map_or_else(|| Version::of(&self.path), Ok)
    }
}

/// The paths of what `inputs` name.
pub(super) fn resolve(
    inputs: &Inputs,
    base: &Path,
    source: &SourceSpec,
    variables: Variables<'_>,
) -> Result<Vec<PathBuf>, Error> {
    Ok(find(inputs, base, source, variables)?.into_iter().map(|found| found.path).collect())
}

/// The files that `inputs` name, with variables filled in and relative paths below `base`; each exists.
pub(super) fn find(
    inputs: &Inputs,
    base: &Path,
    source: &SourceSpec,
    variables: Variables<'_>,
) -> Result<Vec<Found>, Error> {
    let mut files = Vec::new();
    for text in inputs.paths() {
        let text = expand(text, source, variables)?;
        if muster_objects::is_url(&text) {
            files.extend(objects::find(&text, source)?);
            continue;
        }
        let path = base.join(text.strip_prefix("file://").unwrap_or(&text));
        let found = match std::fs::metadata(&path) {
            Ok(metadata) if metadata.is_dir() => walk::files_below(&path)?,
            Ok(_) => {
                files.push(Found::file(path));
                continue;
            }
            Err(error) if !matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
                return Err(Error::Read { path, source: error });
            }
            Err(_) if pattern::is_pattern(&path) => walk::matching(&path)?,
            Err(_) => return Err(Error::NotFound { path, source_spec: Box::new(source.clone()) }),
        };
        if found.is_empty() {
            return Err(Error::NoFiles { path });
        }
        files.extend(found.into_iter().map(Found::file));
    }
    Ok(files)
}

fn expand(text: &str, source: &SourceSpec, variables: Variables<'_>) -> Result<String, Error> {
    let mut expanded = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${") {
        let (name, tail) = after.split_once('}').ok_or_else(|| Error::Unclosed { path: text.to_owned() })?;
        let value = variables(name).filter(|value| !value.is_empty()).ok_or_else(|| Error::Variable {
            name: name.to_owned(),
            path: text.to_owned(),
            source_spec: Box::new(source.clone()),
        })?;
        expanded.push_str(before);
        expanded.push_str(&value);
        rest = tail;
    }
    expanded.push_str(rest);
    Ok(expanded)
}
