//! Makes a dataset appear whole or not at all.
//!
//! Everything is written to a hidden folder beside the target, flushed to disk, the manifest last, and then
//! renamed. Whatever fails before the rename leaves the target as it was. The folder of a process that was killed goes with the next
//! preparation of the same target, which knows it by a lock that nobody holds.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use muster_proto::dataset::{DatasetManifest, FileEntry};
use tempfile::TempDir;

use super::error::Error;

/// A file that is locked for as long as somebody is at work in the folder.
const LOCK: &str = "lock";
/// Where the dataset that is replaced is, until the new one is in its place.
const REPLACED: &str = "replaced";
/// Letters of a hidden folder's name that are drawn at random.
const DRAWN: usize = 6;

/// A dataset in the making.
#[derive(Debug)]
pub(super) struct Output {
    target: PathBuf,
    staging: TempDir,
    /// Let go of when this is dropped, or the process ends in whatever way.
    _lock: File,
}

impl Output {
    /// Starts a dataset that will appear at `target`.
    pub(super) fn start(target: &Path) -> Result<Self, Error> {
        check_free(target)?;
        let parent = match target.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |source| Error::Write { path, source }
        };
        std::fs::create_dir_all(parent).map_err(failed(parent))?;
        let name = target.file_name().unwrap_or_default().to_string_lossy();
        let prefix = format!(".preparing-{name}-");
        remove_leavings(target, parent, &prefix)?;
        let drawn = tempfile::Builder::new().prefix(&prefix).rand_bytes(DRAWN).tempdir_in(parent);
        let staging = drawn.map_err(failed(parent))?;
        let lock = locked(staging.path()).map_err(failed(staging.path()))?;
        let output = Self { target: target.to_owned(), staging, _lock: lock };
        for dir in [output.work_dir(), output.files_dir()] {
            std::fs::create_dir(&dir).map_err(failed(&dir))?;
        }
        Ok(output)
    }

    /// Where the dataset will be.
    pub(super) fn target(&self) -> &Path {
        &self.target
    }

    /// A folder for files that do not outlive the preparation.
    pub(super) fn work_dir(&self) -> PathBuf {
        self.staging.path().join("work")
    }

    /// The folder that becomes the dataset.
    pub(super) fn files_dir(&self) -> PathBuf {
        self.staging.path().join("dataset")
    }

    /// Writes a file of the dataset.
    pub(super) fn write(&self, name: &str, bytes: &[u8]) -> Result<FileEntry, Error> {
        write_file(&self.files_dir(), (name, ""), bytes)
            .map_err(|source| Error::Write { path: self.target.join(name), source })
    }

    /// Takes a file that was written under a mark into the dataset, from the folder of those that do not outlive it.
    pub(super) fn unmark(&self, name: &str, mark: &str) -> Result<(), Error> {
        if mark.is_empty() {
            return Ok(());
        }
        let marked = self.work_dir().join(format!("{name}{mark}"));
        let renamed = std::fs::rename(marked, self.files_dir().join(name));
        renamed.map_err(|source| Error::Write { path: self.target.join(name), source })
    }

    /// Writes the manifest and puts the dataset in place.
    pub(super) fn publish(self, manifest: &DatasetManifest) -> Result<(), Error> {
        let json = manifest.to_json().map_err(|error| Error::Encode {
            file: DatasetManifest::FILE.to_owned(),
            what: error.to_string(),
        })?;
        self.write(DatasetManifest::FILE, json.as_bytes())?;
        let put_in_place = || -> std::io::Result<()> {
            File::open(self.files_dir())?.sync_all()?;
            if self.target.exists() {
                std::fs::rename(&self.target, self.staging.path().join(REPLACED))?;
            }
            std::fs::rename(self.files_dir(), &self.target)?;
            match self.target.parent() {
                Some(parent) if !parent.as_os_str().is_empty() => File::open(parent)?.sync_all(),
                _ => Ok(()),
            }
        };
        put_in_place().map_err(|source| Error::Write { path: self.target.clone(), source })
    }
}

/// A lock in a folder, which nobody sees before it is held. Where files cannot be locked, nobody takes the folder for left.
fn locked(dir: &Path) -> std::io::Result<File> {
    let lock = tempfile::NamedTempFile::new_in(dir)?;
    if let Err(error) = lock.as_file().try_lock() {
        tracing::debug!(%error, dir = %dir.display(), "files cannot be locked here");
        return Ok(lock.into_file());
    }
    Ok(lock.persist(dir.join(LOCK))?)
}

/// Removes folders for this target in which nobody is at work any more. What cannot be removed or looked at stays: it is in nobody's
/// way. A dataset that was moved away for one that did not come any more is put back first.
fn remove_leavings(target: &Path, parent: &Path, prefix: &str) -> Result<(), Error> {
    let Ok(entries) = std::fs::read_dir(parent) else { return Ok(()) };
    for entry in entries.flatten() {
        let folder = entry.path();
        let name = entry.file_name();
        let drawn = name.to_str().and_then(|name| name.strip_prefix(prefix)).unwrap_or_default();
        // Another target's name may begin with this one's.
        if drawn.len() != DRAWN || !drawn.bytes().all(|letter| letter.is_ascii_alphanumeric()) {
            continue;
        }
        // Where locks are made of those of ranges, as on NFS, only who may write can lock.
        let Ok(lock) = File::options().read(true).write(true).open(folder.join(LOCK)) else { continue };
        if lock.try_lock().is_err() {
            continue;
        }
        let replaced = folder.join(REPLACED);
        if replaced.exists() && !target.exists() {
            let put_back = std::fs::rename(&replaced, target);
            put_back.map_err(|source| Error::Write { path: target.to_owned(), source })?;
        }
        tracing::info!(folder = %folder.display(), "a preparation was killed, what it left is removed");
        if let Err(error) = std::fs::remove_dir_all(&folder) {
            tracing::warn!(%error, folder = %folder.display(), "what a killed preparation left cannot be removed");
        }
    }
    Ok(())
}

/// Writes a file of the dataset under its name with a mark after it.
pub(super) fn write_file(dir: &Path, (name, mark): (&str, &str), bytes: &[u8]) -> std::io::Result<FileEntry> {
    let mut file = File::create_new(dir.join(format!("{name}{mark}")))?;
    file.write_all(bytes)?;
    file.sync_all()?;
    let digest = blake3::hash(bytes).to_hex().to_string();
    Ok(FileEntry { file: name.to_owned(), bytes: bytes.len() as u64, digest })
}

/// The target may be absent, an empty folder, or a dataset that is to be replaced.
fn check_free(target: &Path) -> Result<(), Error> {
    let occupied = || Error::OutputOccupied { path: target.to_owned() };
    match std::fs::read_dir(target) {
        Ok(mut entries) => {
            let is_free = entries.next().is_none() || target.join(DatasetManifest::FILE).is_file();
            if is_free { Ok(()) } else { Err(occupied()) }
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        // Where a folder on the way is a file, creating it will say so.
        Err(error) if error.kind() == std::io::ErrorKind::NotADirectory => {
            if target.exists() {
                Err(occupied())
            } else {
                Ok(())
            }
        }
        Err(source) => Err(Error::Read { path: target.to_owned(), source }),
    }
}
