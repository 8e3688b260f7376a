//! One peer's socket, and the progress of a message out of it and into it.

use std::io::{self, ErrorKind, IoSlice, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::fd::AsFd;

use crate::abort::{AbortHandle, Target};
use crate::error::Error;
use crate::signature::Header;

/// A non-blocking socket to a peer.
#[derive(Debug)]
pub(crate) struct Link {
    stream: TcpStream,
}

/// The peer closed its end.
#[derive(Debug)]
pub(crate) struct Closed;

impl Link {
    /// Takes a connected socket; the abort handle closes it.
    pub(crate) fn new(stream: TcpStream, abort: &AbortHandle) -> Result<Self, Error> {
        stream.set_nodelay(true).map_err(Error::io("set TCP_NODELAY"))?;
        stream.set_nonblocking(true).map_err(Error::io("make a socket non-blocking"))?;
        let clone = stream.try_clone().map_err(Error::io("clone a socket"))?;
        abort.register(Target::Link(clone));
        Ok(Self { stream })
    }

    pub(crate) fn socket(&self) -> &dyn AsFd {
        &self.stream
    }

    pub(crate) fn close(&self) {
        // A socket that is closed already needs no closing.
        drop(self.stream.shutdown(Shutdown::Both));
    }

    /// Whether the peer has closed its end and nothing is left to read.
    pub(crate) fn is_closed(&self) -> bool {
        match self.stream.peek(&mut [0]) {
            Ok(read) => read == 0,
            Err(error) => !matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted),
        }
    }

    /// Reads what is there into `buffer`; nothing there is no progress, not an error.
    fn read(&self, buffer: &mut [u8]) -> Result<usize, Closed> {
        loop {
            match (&self.stream).read(buffer) {
                Ok(0) => return Err(Closed),
                Ok(read) => return Ok(read),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(0),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return Err(Closed),
            }
        }
    }
}

/// A message on its way out: a header and the parts of its payload.
pub(crate) struct Outbound<'a> {
    header: [u8; Header::SIZE],
    header_sent: usize,
    parts: &'a [&'a [u8]],
    /// Bytes of the first of `parts` that are out.
    part_sent: usize,
    broken: bool,
}

impl<'a> Outbound<'a> {
    /// Slices that one system call takes.
    const SLICES: usize = 16;

    pub(crate) fn new(header: [u8; Header::SIZE], parts: &'a [&'a [u8]]) -> Self {
        Self { header, header_sent: 0, parts, part_sent: 0, broken: false }.skip_empty()
    }

    /// Sends what the socket takes; says whether it took any.
    ///
    /// A failed send is remembered, not returned: what the peer said before it closed is read first.
    pub(crate) fn advance(&mut self, link: &Link) -> bool {
        let mut progress = false;
        while !self.is_done() && !self.broken {
            match self.send(&link.stream) {
                Ok(sent) => {
                    self.account(sent);
                    progress = true;
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => self.broken = true,
            }
        }
        progress
    }

    fn send(&self, mut stream: &TcpStream) -> io::Result<usize> {
        let mut slices = [IoSlice::new(&[]); Self::SLICES];
        slices[0] = IoSlice::new(&self.header[self.header_sent..]);
        let mut used = 1;
        for (index, part) in self.parts.iter().take(Self::SLICES - 1).enumerate() {
            let sent = if index == 0 { self.part_sent } else { 0 };
            slices[used] = IoSlice::new(&part[sent..]);
            used += 1;
        }
        stream.write_vectored(&slices[..used])
    }

    fn account(&mut self, mut sent: usize) {
        let of_header = sent.min(Header::SIZE - self.header_sent);
        self.header_sent += of_header;
        sent -= of_header;
        while let Some(part) = self.parts.first()
            && sent > 0
        {
            let of_part = sent.min(part.len() - self.part_sent);
            self.part_sent += of_part;
            sent -= of_part;
            if self.part_sent == part.len() {
                self.parts = &self.parts[1..];
                self.part_sent = 0;
            }
        }
        while self.part_sent == 0 && self.parts.first().is_some_and(|part| part.is_empty()) {
            self.parts = &self.parts[1..];
        }
    }

    /// Drops empty parts at the front, so that "no parts left" means that all is out.
    fn skip_empty(mut self) -> Self {
        self.account(0);
        self
    }

    pub(crate) fn is_done(&self) -> bool {
        !self.owes_header_bytes() && self.parts.is_empty()
    }

    pub(crate) fn is_broken(&self) -> bool {
        self.broken
    }

    /// Whether the peer does not have this rank's signature yet, and still can get it.
    pub(crate) fn owes_header(&self) -> bool {
        self.owes_header_bytes() && !self.broken
    }

    fn owes_header_bytes(&self) -> bool {
        self.header_sent < Header::SIZE
    }
}

/// A message on its way in.
pub(crate) struct Incoming {
    header: [u8; Header::SIZE],
    header_read: usize,
    /// Size of the payload, once the header is there and was accepted.
    pub(crate) bytes: Option<usize>,
    body_read: usize,
}

impl Default for Incoming {
    fn default() -> Self {
        Self { header: [0; Header::SIZE], header_read: 0, bytes: None, body_read: 0 }
    }
}

impl Incoming {
    /// Reads header bytes that have arrived; says whether any had.
    pub(crate) fn read_header(&mut self, link: &Link) -> Result<bool, Closed> {
        let read = link.read(&mut self.header[self.header_read..])?;
        self.header_read += read;
        Ok(read > 0)
    }

    /// The header, once it is complete.
    pub(crate) fn header(&self) -> Option<&[u8; Header::SIZE]> {
        (self.header_read == Header::SIZE).then_some(&self.header)
    }

    /// Whether the peer's signature has come and agreed.
    pub(crate) fn is_heard(&self) -> bool {
        self.bytes.is_some()
    }

    /// Reads payload bytes that have arrived; says whether any had.
    pub(crate) fn read_body(&mut self, link: &Link, slot: &mut [u8]) -> Result<bool, Closed> {
        let mut progress = false;
        while self.body_read < slot.len() {
            let read = link.read(&mut slot[self.body_read..])?;
            if read == 0 {
                break;
            }
            self.body_read += read;
            progress = true;
        }
        Ok(progress)
    }

    pub(crate) fn is_done(&self) -> bool {
        self.bytes == Some(self.body_read)
    }
}
