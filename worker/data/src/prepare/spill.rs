//! Events on their way from the input to their log partition, on disk so that memory stays bounded.
//!
//! A record is the user's key with its length, item, time, the features, and its own id where events have one; records
//! keep the order of the log, and those since a mark can be taken back.

use std::path::Path;

use super::buckets::{Buckets, Mark};
use super::error::Error;

/// An event as it is read back.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Event<'e> {
    pub(super) user: &'e str,
    pub(super) item: u32,
    pub(super) time: i64,
    pub(super) categorical: &'e [u32],
    pub(super) numeric: &'e [f32],
    /// A hash of the event's own id; 0 where it has none.
    pub(super) id: u128,
}

/// The spilled events of all partitions.
#[derive(Debug)]
pub(super) struct Spills {
    buckets: Buckets,
    has_ids: bool,
}

impl Spills {
    pub(super) fn new(dir: &Path, partitions: u32, has_ids: bool) -> Self {
        Self { buckets: Buckets::new(dir, "spill", partitions as usize), has_ids }
    }

    /// Adds an event to a partition.
    pub(super) fn push(&mut self, partition: usize, event: &Event<'_>) -> Result<(), Error> {
        let has_ids = self.has_ids;
        self.buckets.push(partition, |buffer| {
            buffer.extend_from_slice(&(event.user.len() as u64).to_le_bytes());
            buffer.extend_from_slice(event.user.as_bytes());
            buffer.extend_from_slice(&event.item.to_le_bytes());
            buffer.extend_from_slice(&event.time.to_le_bytes());
            event.categorical.iter().for_each(|id| buffer.extend_from_slice(&id.to_le_bytes()));
            event.numeric.iter().for_each(|value| buffer.extend_from_slice(&value.to_le_bytes()));
            if has_ids {
                buffer.extend_from_slice(&event.id.to_le_bytes());
            }
        })
    }

    /// Where the records end now.
    pub(super) fn mark(&self) -> Mark {
        self.buckets.mark()
    }

    /// Takes back what was added since `mark`.
    pub(super) fn rewind(&mut self, mark: &Mark) -> Result<(), Error> {
        self.buckets.rewind(mark)
    }

    /// Writes what is still in memory and gives the buffers back.
    pub(super) fn finish(&mut self) -> Result<(), Error> {
        self.buckets.finish()
    }

    /// Takes the records of a partition from disk; its file is gone afterwards.
    pub(super) fn take(&self, partition: usize) -> Result<Vec<u8>, Error> {
        self.buckets.take(partition)
    }
}

/// Reads records one after the other.
#[derive(Debug)]
pub(super) struct Records<'b> {
    rest: &'b [u8],
    has_ids: bool,
    categorical: Vec<u32>,
    numeric: Vec<f32>,
}

impl<'b> Records<'b> {
    pub(super) fn new(bytes: &'b [u8], n_categorical: usize, n_numeric: usize, has_ids: bool) -> Self {
        Self { rest: bytes, has_ids, categorical: vec![0; n_categorical], numeric: vec![0.0; n_numeric] }
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
        let id = if self.has_ids { u128::from_le_bytes(self.take()?) } else { 0 };
        let (categorical, numeric) = (&self.categorical[..], &self.numeric[..]);
        Some((user, Event { user, item, time, categorical, numeric, id }))
    }

    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (bytes, rest) = self.rest.split_first_chunk::<N>()?;
        self.rest = rest;
        Some(*bytes)
    }
}
