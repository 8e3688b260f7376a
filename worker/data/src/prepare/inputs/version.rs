//! Which version of a file or an object it is, as far as its file system or its store says.

use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use muster_objects::Object;

use crate::prepare::error::Error;

/// What is said of a file at a moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::prepare) struct Version {
    pub(in crate::prepare) bytes: u64,
    /// Of a file when it was written and when it was changed last, and its number on the disk; of an object its tag.
    pub(in crate::prepare) stamp: String,
}

impl Version {
    /// Asks for it.
    pub(in crate::prepare) fn of(path: &Path) -> Result<Self, Error> {
        Self::ask(path).map_err(|source| Error::Read { path: path.to_owned(), source })
    }

    fn ask(path: &Path) -> io::Result<Self> {
        if let Some(url) = path.to_str().filter(|path| muster_objects::is_url(path)) {
            return Ok(Self::of_object(&Object::open(url)?));
        }
        let found = std::fs::metadata(path)?;
        let (written, changed) = ((found.mtime(), found.mtime_nsec()), (found.ctime(), found.ctime_nsec()));
        let stamp = format!("{}.{:09} {}.{:09} {}", written.0, written.1, changed.0, changed.1, found.ino());
        Ok(Self { bytes: found.len(), stamp })
    }

    pub(super) fn of_object(object: &Object) -> Self {
        Self { bytes: object.size(), stamp: object.tag() }
    }
}
