//! Items whose names the parent's dataset has otherwise: a file says which is which.

use std::collections::HashMap;
use std::path::Path;

use muster_proto::job::WarmStartSpec;

use super::Error;

/// Names of items in the parent's dataset, by their names in this one; an item that it lacks has the same name in both.
#[derive(Debug, Default)]
pub(super) struct Mapping {
    names: HashMap<String, String>,
    /// Of the file; none where there is none.
    pub(super) digest: Option<String>,
}

impl Mapping {
    /// The one that the job names, if it names one.
    ///
    /// # Errors
    /// The file cannot be read, is none, or is another one than the job was made with.
    pub(super) fn of(spec: &WarmStartSpec) -> Result<Self, Error> {
        let Some(file) = &spec.items else { return Ok(Self::default()) };
        let path = Path::new(file);
        let bad = |problem: String| Error::Mapping { path: path.to_owned(), problem };
        let text = std::fs::read(path).map_err(|error| bad(format!("cannot be read: {error}")))?;
        let found = blake3::hash(&text).to_hex().to_string();
        if let Some(expected) = spec.items_digest.as_ref().filter(|expected| **expected != found) {
            return Err(bad(format!("has the digest {found}, the job was made with {expected}; restore it")));
        }
        let names = serde_json::from_slice(&text)
            .map_err(|error| bad(format!("is no JSON object of names to names: {error}")))?;
        Ok(Self { names, digest: Some(found) })
    }

    /// The parent's name of an item.
    pub(super) fn of_parent<'s>(&'s self, item: &'s str) -> &'s str {
        self.names.get(item).map_or(item, String::as_str)
    }
}
