//! An object read at any place: blocks of it, of which the last used are held.

use std::io;
use std::sync::{Mutex, PoisonError};

use bytes::{Bytes, BytesMut};

use crate::object::Object;

/// The bytes of one request.
const BLOCK_BYTES: u64 = 2 << 20;
/// Blocks that are held: readers of columns move on in many places at a time.
const MAX_BLOCKS: usize = 32;

/// Reads an object at any place; memory is 64 MiB of blocks, and what is asked for.
#[derive(Debug)]
pub struct Blocks {
    object: Object,
    /// By number, the last used last.
    held: Mutex<Vec<(u64, Bytes)>>,
}

impl Blocks {
    /// The blocks of an object, none of them read yet.
    #[must_use]
    pub fn new(object: Object) -> Self {
        Self { object, held: Mutex::new(Vec::new()) }
    }

    /// Size of the object in bytes.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.object.size()
    }

    /// The bytes from `start` on, to the end of their block or of the object; none behind its end.
    ///
    /// # Errors
    /// As [`Object::read`].
    pub fn rest(&self, start: u64) -> io::Result<Bytes> {
        if start >= self.size() {
            return Ok(Bytes::new());
        }
        let block = self.block(start / BLOCK_BYTES)?;
        Ok(block.slice((start % BLOCK_BYTES) as usize..))
    }

    /// The bytes from `start` on, `length` of them.
    ///
    /// # Errors
    /// As [`Object::read`]; there are fewer ([`io::ErrorKind::UnexpectedEof`]).
    pub fn read(&self, start: u64, length: usize) -> io::Result<Bytes> {
        let mut first = self.rest(start)?;
        if first.len() >= length {
            return Ok(first.split_to(length));
        }
        let mut bytes = BytesMut::with_capacity(length.min((self.size() - start.min(self.size())) as usize));
        while bytes.len() < length {
            let mut part = self.rest(start + bytes.len() as u64)?;
            if part.is_empty() {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            part.truncate(length - bytes.len());
            bytes.extend_from_slice(&part);
        }
        Ok(bytes.freeze())
    }

    fn block(&self, number: u64) -> io::Result<Bytes> {
        // A block is whole or absent, whatever a thread that panicked did meanwhile.
        let lock = || self.held.lock().unwrap_or_else(PoisonError::into_inner);
        {
            let mut held = lock();
            if let Some(at) = held.iter().position(|(of, _)| *of == number) {
                let block = held.remove(at);
                let bytes = block.1.clone();
                held.push(block);
                return Ok(bytes);
            }
        }
        let start = number * BLOCK_BYTES;
        let bytes = self.object.read(start..(start + BLOCK_BYTES).min(self.size()))?;
        let mut held = lock();
        if held.len() == MAX_BLOCKS {
            held.remove(0);
        }
        held.push((number, bytes.clone()));
        Ok(bytes)
    }
}
