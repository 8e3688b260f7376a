//! An object as a stream of bytes: in parts, of which the next is on its way while one is read.

use std::io::{self, Read};

use bytes::{Buf as _, Bytes};

use crate::error::Error;
use crate::object::Object;
use crate::runtime::Started;

/// The bytes of one request. With the part at hand and the next one, two of it are held.
const PART_BYTES: u64 = 8 << 20;

/// Reads an object from its start; memory is two parts of 8 MiB.
#[derive(Debug)]
pub struct Reader {
    object: Object,
    part: Bytes,
    /// Where the part begins that was not asked for yet.
    next: u64,
    ahead: Option<Started<Result<Bytes, Error>>>,
}

impl Reader {
    pub(crate) fn new(object: Object) -> Self {
        Self { object, part: Bytes::new(), next: 0, ahead: None }
    }

    fn ask(&mut self) -> io::Result<()> {
        let end = (self.next + PART_BYTES).min(self.object.size());
        if self.next < end {
            self.ahead = Some(self.object.start(self.next..end)?);
            self.next = end;
        }
        Ok(())
    }
}

impl Read for Reader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.part.is_empty() && !buffer.is_empty() {
            if self.ahead.is_none() {
                self.ask()?;
            }
            if let Some(ahead) = self.ahead.take() {
                self.part = ahead.wait()??;
                self.ask()?;
            }
        }
        let length = buffer.len().min(self.part.len());
        self.part.copy_to_slice(&mut buffer[..length]);
        Ok(length)
    }
}
