//! How the first slot of a rank in a call begins: with its signature and one number.

use super::watch::Watch;
use crate::error::Error;
use crate::signature::Header;

/// The header of a slot.
pub(super) struct Opening;

impl Opening {
    /// Bytes that are left free for it at the start of a slot; what follows is aligned to cache lines.
    pub(super) const SIZE: usize = 64;

    /// Writes this rank's signature and a number.
    pub(super) fn write(slot: &mut [u8], watch: &Watch<'_>, number: u64) {
        let header = Header { signature: *watch.signature, bytes: number };
        slot[..Header::SIZE].copy_from_slice(&header.encode());
    }

    /// Reads a peer's number, once its signature agrees.
    pub(super) fn read(slot: &[u8], peer: usize, watch: &Watch<'_>) -> Result<u64, Error> {
        let header = slot.first_chunk().and_then(Header::decode).ok_or(Error::Garbled { from: peer })?;
        if header.signature != *watch.signature {
            let (mine, theirs) = (*watch.signature, header.signature);
            return Err(Error::Mismatch { seq: mine.seq, rank: watch.tcp.rank, mine, peer, theirs });
        }
        Ok(header.bytes)
    }
}
