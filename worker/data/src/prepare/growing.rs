//! The base of a growing log: the cleaned rows of all files so far, to which new files are added, and from which datasets are cut.
//!
//! Each increment keeps what the first pass gives (records by log partition, keys, counts). All that depends on the log as a whole,
//! from duplicates to dense ids, is made when a dataset is cut, by the same passes as without a base, so that a cut is the
//! dataset that a preparation of all files in the order of their addition would give; one of a window, what it would give of files
//! that have no rows of other times.
//!
//! Invariants: a base holds what its manifest names, and nothing else counts: an increment is visible whole or not at all; only one
//! process adds at a time; files that are in the base are not read again, as long as their file system says that they are the same, and
//! are an error where their bytes are others. Each file of the base has a digest, checked when it is read.

mod add;
mod contents;
mod cut;
mod digest;
mod manifest;

pub use add::{AddArgs, Added, add};
pub use contents::{Contents, Increment, InputFile, contents};
pub use cut::{Cut, CutArgs, cut};

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use super::error::Error;
use manifest::Manifest;

/// The base in a folder.
struct Base {
    dir: PathBuf,
    manifest: Manifest,
}

impl Base {
    const FILE: &str = "base.json";

    /// The base in `dir`; none where there is none yet.
    fn open(dir: &Path) -> Result<Option<Self>, Error> {
        let path = dir.join(Self::FILE);
        let bytes = match std::fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(Error::Read { path, source }),
        };
        let manifest = Manifest::from_json(&bytes).map_err(|what| Error::Base { path, what })?;
        Ok(Some(Self { dir: dir.to_owned(), manifest }))
    }

    /// The base in `dir`, which must be there.
    fn existing(dir: &Path) -> Result<Self, Error> {
        let missing = || Error::Base { path: dir.to_owned(), what: "there is none".to_owned() };
        Self::open(dir)?.ok_or_else(missing)
    }

    /// All increments, or the first so many.
    fn first(&self, increments: Option<u64>) -> Result<&[manifest::Increment], Error> {
        let all = &self.manifest.increments;
        let wanted = increments.unwrap_or(all.len() as u64);
        usize::try_from(wanted)
            .ok()
            .and_then(|wanted| all.get(..wanted))
            .ok_or_else(|| Error::FewIncrements { path: self.dir.clone(), found: all.len() as u64, wanted })
    }

    /// Makes the manifest durable: from here on what it names counts.
    fn save(&self) -> Result<(), Error> {
        let path = self.dir.join(Self::FILE);
        let failed = |source| Error::Write { path: path.clone(), source };
        let json = self.manifest.to_json()?;
        let mut file = tempfile::NamedTempFile::new_in(&self.dir).map_err(failed)?;
        file.write_all(&json).and_then(|()| file.as_file().sync_all()).map_err(failed)?;
        file.persist(&path).map_err(|error| failed(error.error))?;
        sync_dir(&self.dir)
    }
}

/// Makes the names in a folder durable.
fn sync_dir(dir: &Path) -> Result<(), Error> {
    let synced = File::open(dir).and_then(|file| file.sync_all());
    synced.map_err(|source| Error::Write { path: dir.to_owned(), source })
}
