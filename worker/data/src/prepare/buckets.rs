//! Bytes dealt into buckets, on disk so that memory stays bounded.
//!
//! Bytes of a bucket keep the order in which they came, and those since a mark can be taken back. Buffers are appended to
//! their file when they are full; no file stays open, so that the number of buckets does not meet the limit of open
//! files.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use muster_proto::units::ByteSize;

use super::error::Error;

/// What the buffers of all buckets may hold together, at most.
const BUFFERS_BYTES: u64 = 32 << 20;

/// Files of bytes, by bucket.
#[derive(Debug)]
pub(super) struct Buckets {
    dir: PathBuf,
    name: &'static str,
    buffers: Vec<Vec<u8>>,
    /// The most bytes of a buffer.
    most: usize,
    /// Bytes in the file of each bucket.
    written: Vec<u64>,
}

/// How far each bucket goes, in bytes.
#[derive(Debug)]
pub(super) struct Mark(Vec<u64>);

impl Buckets {
    /// Empty buckets, whose files lie in `dir` and have `name` in theirs; their buffers take a small part of `memory`.
    pub(super) fn new(dir: &Path, name: &'static str, buckets: usize, memory: ByteSize) -> Self {
        let most = BUFFERS_BYTES.min(memory.bytes() / 16) as usize / buckets;
        let (buffers, written) = (vec![Vec::new(); buckets], vec![0; buckets]);
        Self { dir: dir.to_owned(), name, buffers, most, written }
    }

    /// Number of buckets.
    pub(super) fn len(&self) -> usize {
        self.buffers.len()
    }

    /// The file of a bucket, which is there once anything was written.
    pub(super) fn path(&self, bucket: usize) -> PathBuf {
        self.dir.join(format!("{}-{bucket:05}", self.name))
    }

    /// Adds what `write` appends to a bucket.
    pub(super) fn push(&mut self, bucket: usize, write: impl FnOnce(&mut Vec<u8>)) -> Result<(), Error> {
        let buffer = &mut self.buffers[bucket];
        write(buffer);
        if buffer.len() >= self.most { self.flush(bucket) } else { Ok(()) }
    }

    fn flush(&mut self, bucket: usize) -> Result<(), Error> {
        let path = self.path(bucket);
        let append = |path: &Path, bytes: &[u8]| -> std::io::Result<()> {
            let mut file: File = OpenOptions::new().create(true).append(true).open(path)?;
            file.write_all(bytes)
        };
        append(&path, &self.buffers[bucket]).map_err(|source| Error::Write { path, source })?;
        self.written[bucket] += self.buffers[bucket].len() as u64;
        self.buffers[bucket].clear();
        Ok(())
    }

    /// Where the buckets end now.
    pub(super) fn mark(&self) -> Mark {
        let ends = self.buffers.iter().zip(&self.written);
        Mark(ends.map(|(buffer, written)| written + buffer.len() as u64).collect())
    }

    /// Takes back what was added since `mark`.
    pub(super) fn rewind(&mut self, mark: &Mark) -> Result<(), Error> {
        for (bucket, end) in mark.0.iter().enumerate() {
            let written = self.written[bucket];
            self.buffers[bucket].truncate(end.saturating_sub(written) as usize);
            if *end >= written {
                continue;
            }
            let path = self.path(bucket);
            let cut = OpenOptions::new().write(true).open(&path).and_then(|file| file.set_len(*end));
            cut.map_err(|source| Error::Write { path, source })?;
            self.written[bucket] = *end;
        }
        Ok(())
    }

    /// Writes what is still in memory and gives the buffers back.
    pub(super) fn finish(&mut self) -> Result<(), Error> {
        for bucket in 0..self.buffers.len() {
            if !self.buffers[bucket].is_empty() {
                self.flush(bucket)?;
            }
            self.buffers[bucket] = Vec::new();
        }
        Ok(())
    }

    /// Bytes of a bucket, on disk and in memory.
    pub(super) fn bytes(&self, bucket: usize) -> u64 {
        self.written[bucket] + self.buffers[bucket].len() as u64
    }

    /// Takes a bucket from disk; its file is gone afterwards.
    pub(super) fn take(&self, bucket: usize) -> Result<Vec<u8>, Error> {
        if self.written[bucket] == 0 {
            return Ok(Vec::new());
        }
        let path = self.path(bucket);
        let bytes = std::fs::read(&path).map_err(|source| Error::Read { path: path.clone(), source })?;
        std::fs::remove_file(&path).map_err(|source| Error::Write { path, source })?;
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_came_since_a_mark_is_taken_back_from_memory_and_disk() {
        let dir = tempfile::tempdir().unwrap();
        let mut buckets = Buckets::new(dir.path(), "x", 3, ByteSize::from_mib(64));
        let push = |buckets: &mut Buckets, bucket, text: &[u8]| {
            buckets.push(bucket, |buffer| buffer.extend_from_slice(text)).unwrap();
        };
        push(&mut buckets, 0, b"kept");
        let mark = buckets.mark();
        push(&mut buckets, 0, b"gone");
        buckets.flush(0).unwrap();
        push(&mut buckets, 0, b"gone");
        push(&mut buckets, 1, b"gone");
        push(&mut buckets, 2, b"gone");
        buckets.flush(2).unwrap();
        buckets.rewind(&mark).unwrap();
        push(&mut buckets, 0, b"next");
        buckets.finish().unwrap();
        assert_eq!(buckets.take(0).unwrap(), b"keptnext");
        assert_eq!((buckets.take(1).unwrap().len(), buckets.take(2).unwrap().len()), (0, 0));
    }
}
