//! Where the bytes of a Parquet file are: on disk, or in an object store, read by ranges.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek as _, SeekFrom};
use std::path::Path;
use std::sync::Arc;

use bytes::{Buf as _, Bytes};
use muster_objects::{Blocks, Object};
use parquet::errors::ParquetError;
use parquet::file::reader::{ChunkReader, Length};

/// A file that Parquet's reader jumps about in.
#[derive(Debug)]
pub(super) enum Chunks {
    File(File),
    Object(Arc<Blocks>),
}

impl Chunks {
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        match path.to_str().filter(|path| muster_objects::is_url(path)) {
            Some(url) => Ok(Self::Object(Arc::new(Blocks::new(Object::open(url)?)))),
            None => File::open(path).map(Self::File),
        }
    }

    /// The same for another reader, which may read at the same time: a file is opened again, since all that are cloned from one
    /// share its place; of an object it stays the version that was opened first.
    pub(super) fn again(&self, path: &Path) -> io::Result<Self> {
        match self {
            Self::File(_) => Self::open(path),
            Self::Object(blocks) => Ok(Self::Object(Arc::clone(blocks))),
        }
    }
}

impl Length for Chunks {
    fn len(&self) -> u64 {
        match self {
            Self::File(file) => file.len(),
            Self::Object(blocks) => blocks.size(),
        }
    }
}

impl ChunkReader for Chunks {
    type T = Box<dyn Read>;

    fn get_read(&self, start: u64) -> Result<Self::T, ParquetError> {
        Ok(match self {
            Self::File(file) => {
                let mut file = file.try_clone()?;
                file.seek(SeekFrom::Start(start))?;
                Box::new(BufReader::new(file))
            }
            Self::Object(blocks) => {
                Box::new(Tail { blocks: Arc::clone(blocks), at: start, part: Bytes::new() })
            }
        })
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes, ParquetError> {
        match self {
            Self::File(file) => file.get_bytes(start, length),
            Self::Object(blocks) => Ok(blocks.read(start, length)?),
        }
    }
}

/// An object from some place on.
struct Tail {
    blocks: Arc<Blocks>,
    at: u64,
    part: Bytes,
}

impl Read for Tail {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.part.is_empty() {
            self.part = self.blocks.rest(self.at)?;
            self.at += self.part.len() as u64;
        }
        let length = buffer.len().min(self.part.len());
        self.part.copy_to_slice(&mut buffer[..length]);
        Ok(length)
    }
}
