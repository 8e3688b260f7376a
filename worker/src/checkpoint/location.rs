//! Where checkpoints lie: a folder of a disk, or a prefix of an object store.

use std::io;
use std::path::{Path, PathBuf};

use muster_objects::Prefix;

use super::Error;
use super::disk;

/// The folder of a run's checkpoints or of one checkpoint, on a disk or in an object store.
#[derive(Debug, Clone)]
pub enum Location {
    /// A folder of this machine, or of a file system that workers share.
    Folder(PathBuf),
    /// Objects below a prefix, `s3://bucket/prefix`.
    Objects(Prefix),
}

impl Location {
    /// Returns the location that a path or a URL names; nothing is looked up.
    ///
    /// # Errors
    /// A URL of an object store that cannot be reached with what the environment says.
    pub fn of(path: &Path) -> Result<Self, Error> {
        match path.to_str().filter(|text| text.starts_with("s3://")) {
            Some(url) => Prefix::open(url).map(Self::Objects).map_err(|source| Error::Io {
                action: "use the object store",
                path: path.to_owned(),
                source,
            }),
            None => Ok(Self::Folder(path.to_owned())),
        }
    }

    /// Returns where the checkpoints of the run in `run_dir` lie: there, or below the job's own location under the
    /// run directory's name.
    ///
    /// # Errors
    /// As [`Location::of`].
    pub fn of_run(run_dir: &Path, location: Option<&str>) -> Result<Self, Error> {
        Self::of(&run_address(run_dir, location))
    }

    /// Returns the location `name` below this one.
    #[must_use]
    pub fn join(&self, name: &str) -> Self {
        match self {
            Self::Folder(folder) => Self::Folder(folder.join(name)),
            Self::Objects(prefix) => Self::Objects(prefix.join(name)),
        }
    }

    /// Returns the location `name` beside this one.
    #[must_use]
    pub(super) fn beside(&self, name: &str) -> Self {
        match self {
            Self::Folder(folder) => Self::Folder(folder.with_file_name(name)),
            Self::Objects(prefix) => Self::Objects(prefix.beside(name)),
        }
    }

    /// The path or URL, as people and messages have it.
    #[must_use]
    pub fn address(&self) -> PathBuf {
        match self {
            Self::Folder(folder) => folder.clone(),
            Self::Objects(prefix) => PathBuf::from(prefix.url()),
        }
    }

    /// Reads a file whole.
    pub(super) fn read(&self, file: &str) -> io::Result<Vec<u8>> {
        match self {
            Self::Folder(folder) => std::fs::read(folder.join(file)),
            Self::Objects(prefix) => prefix.read(file),
        }
    }

    /// Writes a file so that it is either whole or not there under its name.
    pub(super) fn write(&self, file: &str, bytes: Vec<u8>) -> io::Result<()> {
        match self {
            Self::Folder(folder) => disk::write(folder, file, &bytes),
            Self::Objects(prefix) => prefix.write(file, bytes),
        }
    }

    /// Writes the file that makes a checkpoint exist. In an object store, which does not fence, it is created only if
    /// there is none: [`io::ErrorKind::AlreadyExists`] otherwise.
    pub(super) fn publish(&self, file: &str, bytes: Vec<u8>) -> io::Result<()> {
        match self {
            Self::Folder(folder) => {
                disk::write(folder, file, &bytes)?;
                disk::sync(folder)
            }
            Self::Objects(prefix) => prefix.create(file, bytes),
        }
    }

    /// The names of what lies directly below, in order.
    pub(super) fn children(&self) -> io::Result<Vec<String>> {
        let mut names = match self {
            Self::Folder(folder) => disk::children(folder)?,
            Self::Objects(prefix) => prefix.children()?,
        };
        names.sort();
        Ok(names)
    }

    /// Removes everything below, `first` before anything else.
    pub(super) fn remove(&self, first: &str) -> io::Result<()> {
        match self {
            Self::Folder(folder) => {
                std::fs::remove_file(folder.join(first))?;
                std::fs::remove_dir_all(folder)
            }
            Self::Objects(prefix) => prefix.remove(first),
        }
    }
}

/// The address of a run: its directory, or its name below the location that its job gives.
#[must_use]
pub fn run_address(run_dir: &Path, location: Option<&str>) -> PathBuf {
    let name = run_dir.file_name().unwrap_or(run_dir.as_os_str()).to_string_lossy();
    match location {
        Some(url) => PathBuf::from(format!("{}/{name}", url.trim_end_matches('/'))),
        None => run_dir.to_owned(),
    }
}
