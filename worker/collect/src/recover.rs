//! Takes a folder over: what a process that was killed left is cut to whole events, and the latest ids are learned.
//!
//! Only the end of an open file can be torn: events are answered once they are flushed, so what is cut there was promised to
//! nobody. Bytes that are no event with whole events behind them are something else, and nothing is touched then.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};

use crate::event::field_of;
use crate::files::{Entry, Folder, State};
use crate::ids::Ids;
use crate::schema::hash_of;

/// Why a folder cannot be taken over.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Another process collects into it.
    #[error("{} is in use by another process: stop it, or collect into another folder", dir.display())]
    InUse {
        /// The folder.
        dir: PathBuf,
    },
    /// Something in it cannot be read or written.
    #[error("cannot use {}: {source}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// A file is damaged before its end.
    #[error(
        "{} is damaged: bytes {from} to {to} are no event, and events follow; repair it, or move it away",
        path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where the damage begins.
        from: u64,
        /// Where the next event begins.
        to: u64,
    },
}

/// A folder that is ours, with nothing open in it.
#[derive(Debug)]
pub(crate) struct Recovered {
    pub(crate) folder: Folder,
    /// Held for as long as the folder is ours.
    pub(crate) lock: File,
    pub(crate) ids: Ids,
    /// The number of the next file.
    pub(crate) next: u64,
}

/// Takes over the folder, whose events have their id in the field `event_id`.
pub(crate) fn recover(folder: Folder, event_id: &str, limit: usize) -> Result<Recovered, Error> {
    let dir = folder.dir.clone();
    let failed = |source| Error::Io { path: dir.clone(), source };
    fs::create_dir_all(&dir).map_err(failed)?;
    let lock = lock(&dir)?;
    let mut next = 1;
    for entry in folder.entries().map_err(failed)? {
        next = next.max(folder.number(&entry.stem).unwrap_or(0) + 1);
        match entry.state {
            State::Partial => remove(&entry.path)?,
            State::Open => seal(&folder, &entry, event_id)?,
            State::Sealed | State::Finished => {}
        }
    }
    folder.sync().map_err(failed)?;
    let entries = folder.entries().map_err(failed)?;
    let ids = latest_ids(&entries, event_id, limit)?;
    Ok(Recovered { folder, lock, ids, next })
}

fn lock(dir: &Path) -> Result<File, Error> {
    let path = dir.join("_lock");
    let opened = OpenOptions::new().create(true).append(true).open(&path);
    let file = opened.map_err(|source| Error::Io { path: path.clone(), source })?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(Error::InUse { dir: dir.to_owned() }),
        Err(TryLockError::Error(source)) => Err(Error::Io { path, source }),
    }
}

fn remove(path: &Path) -> Result<(), Error> {
    fs::remove_file(path).map_err(|source| Error::Io { path: path.to_owned(), source })
}

/// Cuts an open file to its whole events, and seals it; one without any is removed.
fn seal(folder: &Folder, entry: &Entry, event_id: &str) -> Result<(), Error> {
    if cut(&entry.path, event_id)? == 0 {
        return remove(&entry.path);
    }
    let sealed = folder.path(&entry.stem, State::Sealed, false);
    fs::rename(&entry.path, &sealed).map_err(|source| Error::Io { path: sealed, source })
}

/// Cuts what is torn at the end of a file and flushes the rest; gives its length.
fn cut(path: &Path, event_id: &str) -> Result<u64, Error> {
    let failed = |source| Error::Io { path: path.to_owned(), source };
    let file = OpenOptions::new().read(true).write(true).open(path).map_err(failed)?;
    let mut reader = BufReader::with_capacity(1 << 20, &file);
    let (mut at, mut whole, mut line) = (0, 0, Vec::new());
    loop {
        line.clear();
        let length = reader.read_until(b'\n', &mut line).map_err(failed)? as u64;
        if length == 0 {
            break;
        }
        if line.ends_with(b"\n") && id_in(&line, event_id).is_some() {
            if whole < at {
                return Err(Error::Damaged { path: path.to_owned(), from: whole, to: at });
            }
            whole = at + length;
        }
        at += length;
    }
    if whole < at {
        tracing::warn!(file = %path.display(), bytes = at - whole, "a torn end is cut off");
        file.set_len(whole).map_err(failed)?;
    }
    // What is whole may not be flushed yet, and from now on counts as taken.
    file.sync_all().map_err(failed)?;
    Ok(whole)
}

fn id_in(line: &[u8], event_id: &str) -> Option<u128> {
    field_of(line, event_id).ok().flatten().as_ref().and_then(hash_of)
}

/// The ids in the files, the latest `limit`.
fn latest_ids(entries: &[Entry], event_id: &str, limit: usize) -> Result<Ids, Error> {
    let mut files = Vec::new();
    let mut count = 0;
    for entry in entries.iter().rev().filter(|entry| entry.state >= State::Sealed) {
        if count >= limit {
            break;
        }
        let found = ids_of(entry, event_id, limit)?;
        count += found.len();
        files.push(found);
    }
    let mut ids = Ids::new(limit);
    files.iter().rev().flatten().for_each(|id| ids.add(*id));
    Ok(ids)
}

fn ids_of(entry: &Entry, event_id: &str, limit: usize) -> Result<Vec<u128>, Error> {
    let path = &entry.path;
    let file = File::open(path).map_err(|source| Error::Io { path: path.clone(), source })?;
    let is_compressed = path.extension().is_some_and(|ending| ending == "zst");
    let read = if is_compressed {
        zstd::stream::read::Decoder::new(file).and_then(|decoder| read_ids(decoder, event_id, limit))
    } else {
        read_ids(file, event_id, limit)
    };
    // A finished file belongs to its readers: one that was changed costs its ids, not the start.
    read.or_else(|error| {
        tracing::warn!(file = %path.display(), %error, "a finished file cannot be read, its ids are forgotten");
        Ok(vec![])
    })
}

fn read_ids(reader: impl io::Read, event_id: &str, limit: usize) -> io::Result<Vec<u128>> {
    let mut reader = BufReader::with_capacity(1 << 20, reader);
    let (mut ids, mut line) = (Vec::new(), Vec::new());
    while reader.read_until(b'\n', &mut line)? > 0 {
        ids.extend(id_in(&line, event_id));
        line.clear();
    }
    let surplus = ids.len().saturating_sub(limit);
    ids.drain(..surplus);
    Ok(ids)
}

#[cfg(test)]
mod tests;
