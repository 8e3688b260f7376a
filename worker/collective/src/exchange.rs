//! The one thing a transport does: each rank hands each rank a message under an agreed signature.

use crate::error::Error;
use crate::receive::Receive;
use crate::reduce::{self, Scratch, Terms};
use crate::signature::Signature;

/// The messages a rank sends in one exchange; a message is the concatenation of its parts.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Outgoing<'a> {
    /// The same message to every rank.
    Same(&'a [&'a [u8]]),
    /// One message per rank; this rank's own is not looked at.
    Each(&'a [&'a [&'a [u8]]]),
}

impl<'a> Outgoing<'a> {
    /// The parts of the message to `rank`.
    pub(crate) fn to(&self, rank: usize) -> &'a [&'a [u8]] {
        match self {
            Self::Same(parts) => parts,
            Self::Each(messages) => messages[rank],
        }
    }
}

/// The size of a message in bytes.
pub(crate) fn bytes(parts: &[&[u8]]) -> usize {
    parts.iter().map(|part| part.len()).sum()
}

/// Ranks that exchange messages.
pub(crate) trait Exchange: Send {
    fn rank(&self) -> usize;
    fn world_size(&self) -> usize;

    /// Sends to every other rank and receives from every other rank.
    ///
    /// Every rank hears every other's signature, also where no payload goes between them.
    fn exchange(
        &mut self,
        signature: &Signature,
        send: Outgoing<'_>,
        recv: &mut dyn Receive,
    ) -> Result<(), Error>;

    /// Sums the terms of all ranks into every rank's `out`.
    fn reduce(
        &mut self,
        signature: &Signature,
        terms: Terms<'_>,
        out: &mut [f32],
        scratch: &mut Scratch,
    ) -> Result<(), Error>
    where
        Self: Sized,
    {
        reduce::by_segments(self, signature, terms, out, scratch)
    }

    /// Shuts the links down after a failure, so that peers do not wait for this rank.
    fn close(&mut self);
}

/// Checks a message's size against the bound, as sender or before it is received.
pub(crate) fn bounded(from: usize, bytes: u64, limit: usize) -> Result<usize, Error> {
    match usize::try_from(bytes) {
        Ok(bytes) if bytes <= limit => Ok(bytes),
        _ => Err(Error::TooLarge { from, bytes, limit }),
    }
}

/// Hands the rank's message to itself, which [`Exchange::exchange`] does not.
pub(crate) fn deliver_own(rank: usize, parts: &[&[u8]], recv: &mut dyn Receive) -> Result<(), Error> {
    let bytes = bytes(parts);
    let mut slot = recv.slot(rank, bytes).ok_or(Error::Size { from: rank, bytes: bytes as u64 })?;
    for part in parts {
        let (head, rest) = slot.split_at_mut(part.len());
        head.copy_from_slice(part);
        slot = rest;
    }
    Ok(())
}
