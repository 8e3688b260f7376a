//! What an exported folder says of itself.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::error::Error;

/// The file's name.
pub const FILE: &str = "export.json";
/// The version of its schema.
pub(super) const FORMAT: u32 = 1;

/// An exported model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Listing {
    /// Version of this schema.
    pub format: u32,
    /// The model's name in the registry that it is from.
    pub model: String,
    /// Its version there.
    pub version: u64,
    /// The digest over its pieces.
    pub model_digest: String,
    /// The digest of its dataset's manifest.
    pub dataset: String,
    /// The version of the program that wrote it.
    pub muster: String,
    /// Whether the histories of the dataset's users are there.
    pub histories: bool,
    /// Every other file, by its path below the folder.
    pub files: BTreeMap<String, Listed>,
}

/// A file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Listed {
    /// Its size.
    pub bytes: u64,
    /// Its BLAKE3, in hexadecimal.
    pub digest: String,
}

impl Listing {
    /// What the folder says of itself, if it is an exported one.
    ///
    /// # Errors
    /// The file is there and says something else.
    pub fn find(folder: &Path) -> Result<Option<Self>, Error> {
        let path = folder.join(FILE);
        let Ok(text) = fs::read_to_string(&path) else { return Ok(None) };
        let wrong = |problem: String| {
            let message = format!("{} is not the list of an exported model: {problem}", path.display());
            Error::bad_input(message).with_file(&path)
        };
        let listing: Self = serde_json::from_str(&text).map_err(|error| wrong(error.to_string()))?;
        if listing.format != FORMAT {
            let problem =
                format!("it has format {}, this muster reads {FORMAT}; export it again", listing.format);
            return Err(wrong(problem));
        }
        Ok(Some(listing))
    }
}
