//! Events on their way from the input to their log partition, on disk so that memory stays bounded.
//!
//! A record is the user's key with its length, item, time and the features; records keep the order of the
//! log. Buffers are appended to their file when they are full; no file stays open, so that the number of
//! partitions does not meet the limit of open files.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use super::error::Error;

/// What the buffers of all partitions may hold together.
const BUFFERS_BYTES: usize = 32 << 20;

/// An event as it is read back.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Event<'e> {
    pub(super) user: &'e str,
    pub(super) item: u32,
    pub(super) time: i64,
    pub(super) categorical: &'e [u32],
    pub(super) numeric: &'e [f32],
}

/// The spill files of all partitions.
#[derive(Debug)]
pub(super) struct Spills {
    dir: PathBuf,
    buffers: Vec<Vec<u8>>,
    is_used: Vec<bool>,
}

impl Spills {
    pub(super) fn new(dir: &Path, partitions: u32) -> Self {
        let n_partitions = partitions as usize;
        Self {
            dir: dir.to_owned(),
            buffers: vec![Vec::new(); n_partitions],
            is_used: vec![false; n_partitions],
        }
    }

    fn path(&self, partition: usize) -> PathBuf {
        self.dir.join(format!("spill-{partition:05}"))
    }

    /// Adds an event to a partition.
    pub(super) fn push(&mut self, partition: usize, event: &Event<'_>) -> Result<(), Error> {
        let buffer = &mut self.buffers[partition];
        buffer.extend_from_slice(&(event.user.len() as u64).to_le_bytes());
        buffer.extend_from_slice(event.user.as_bytes());
        buffer.extend_from_slice(&event.item.to_le_bytes());
        buffer.extend_from_slice(&event.time.to_le_bytes());
        event.categorical.iter().for_each(|id| buffer.extend_from_slice(&id.to_le_bytes()));
        event.numeric.iter().for_each(|value| buffer.extend_from_slice(&value.to_le_bytes()));
        self.is_used[partition] = true;
        if buffer.len() >= BUFFERS_BYTES / self.is_used.len() { self.flush(partition) } else { Ok(()) }
    }

    fn flush(&mut self, partition: usize) -> Result<(), Error> {
        let path = self.path(partition);
        let append = |path: &Path, bytes: &[u8]| -> std::io::Result<()> {
            let mut file: File = OpenOptions::new().create(true).append(true).open(path)?;
            file.write_all(bytes)
        };
        append(&path, &self.buffers[partition]).map_err(|source| Error::Write { path, source })?;
        self.buffers[partition].clear();
        Ok(())
    }

    /// Writes what is still in memory and gives the buffers back.
    pub(super) fn finish(&mut self) -> Result<(), Error> {
        for partition in 0..self.buffers.len() {
            if !self.buffers[partition].is_empty() {
                self.flush(partition)?;
            }
            self.buffers[partition] = Vec::new();
        }
        Ok(())
    }

    /// Takes the records of a partition from disk; its file is gone afterwards.
    pub(super) fn take(&self, partition: usize) -> Result<Vec<u8>, Error> {
        if !self.is_used[partition] {
            return Ok(Vec::new());
        }
        let path = self.path(partition);
        let bytes = std::fs::read(&path).map_err(|source| Error::Read { path: path.clone(), source })?;
        std::fs::remove_file(&path).map_err(|source| Error::Write { path, source })?;
        Ok(bytes)
    }
}

/// Reads records one after the other.
#[derive(Debug)]
pub(super) struct Records<'b> {
    rest: &'b [u8],
    categorical: Vec<u32>,
    numeric: Vec<f32>,
}

impl<'b> Records<'b> {
    pub(super) fn new(bytes: &'b [u8], n_categorical: usize, n_numeric: usize) -> Self {
        Self { rest: bytes, categorical: vec![0; n_categorical], numeric: vec![0.0; n_numeric] }
    }

    /// The next event; its key borrows from the bytes, its features from the reader.
    pub(super) fn next(&mut self) -> Option<(&'b str, Event<'_>)> {
        let user_len = u64::from_le_bytes(self.take()?) as usize;
        let (user, rest) = self.rest.split_at_checked(user_len)?;
        self.rest = rest;
        let user = std::str::from_utf8(user).ok()?;
        let item = u32::from_le_bytes(self.take()?);
        let time = i64::from_le_bytes(self.take()?);
        for idx in 0..self.categorical.len() {
            self.categorical[idx] = u32::from_le_bytes(self.take()?);
        }
        for idx in 0..self.numeric.len() {
            self.numeric[idx] = f32::from_le_bytes(self.take()?);
        }
        let (categorical, numeric) = (&self.categorical[..], &self.numeric[..]);
        Some((user, Event { user, item, time, categorical, numeric }))
    }

    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (bytes, rest) = self.rest.split_first_chunk::<N>()?;
        self.rest = rest;
        Some(*bytes)
    }
}
