//! A rank's stream of slots: one writer fills them in turn, every other rank reads each of them once.
//!
//! The protocol that excludes a data race: slot number s of a writer is written only after every reader has
//! released number s - SLOTS, and read only after the writer has published number s and before the reader has
//! released it. Publishing and releasing store a counter; waiting loads it with acquire ordering. So whoever
//! touches a slot happens after all who touched it before. Every rank keeps its own numbers, and nobody but the
//! writer publishes or but the reader releases.

#![allow(unsafe_code, reason = "turns slots of shared memory into slices")]

use std::sync::Arc;

use super::region::{Layout, Region};
use super::watch::Watch;
use crate::error::Error;

/// Whether `counter` has reached `target`; both wrap around.
fn reached(counter: u32, target: u32) -> bool {
    (counter.wrapping_sub(target) as i32) >= 0
}

/// The writing end of this rank's stream.
#[derive(Debug)]
pub(crate) struct Outbox {
    region: Arc<Region>,
    rank: usize,
    /// Slots published so far, which is the number of the next one.
    next: u32,
}

impl Outbox {
    /// The one writer of `rank`; a rank makes one only.
    pub(crate) fn new(region: Arc<Region>, rank: usize) -> Self {
        Self { region, rank, next: 0 }
    }

    /// The next slot to fill, once all readers are done with what it held.
    pub(crate) fn slot(&mut self, watch: &Watch<'_>) -> Result<&mut [u8], Error> {
        let needed = self.next.wrapping_sub(Layout::SLOTS as u32 - 1);
        for reader in (0..self.region.world_size()).filter(|&reader| reader != self.rank) {
            let released = self.region.released(reader, self.rank);
            watch.wait(reader, released, |released| reached(released, needed))?;
        }
        let slot = self.region.slot(self.rank, self.next);
        // SAFETY: the slot has SLOT_BYTES mapped bytes that live as long as `self.region`, which the borrow of
        // `self` keeps. Every reader has released number next - SLOTS, and none reads number `next` before it is
        // published, which needs `&mut self` again; so this is the only access.
        Ok(unsafe { std::slice::from_raw_parts_mut(slot.as_ptr(), Layout::SLOT_BYTES) })
    }

    /// Hands the slot that was filled to the readers.
    pub(crate) fn publish(&mut self) {
        self.next = self.next.wrapping_add(1);
        self.region.published(self.rank).set(self.next);
    }

    /// The slot that was published last, still readable here: it is written again only through `&mut self`.
    pub(crate) fn last(&self) -> &[u8] {
        let slot = self.region.slot(self.rank, self.next.wrapping_sub(1));
        // SAFETY: the slot is mapped as long as `self.region` lives. Nobody writes it but this outbox, through
        // `slot(&mut self)`, which cannot be called while the result is borrowed; readers only read.
        unsafe { std::slice::from_raw_parts(slot.as_ptr(), Layout::SLOT_BYTES) }
    }
}

/// The reading end of a peer's stream.
#[derive(Debug)]
pub(crate) struct Inbox {
    region: Arc<Region>,
    rank: usize,
    peer: usize,
    /// Slots released so far, which is the number of the one to read.
    next: u32,
}

impl Inbox {
    /// The one reader of `peer`'s stream for `rank`; a rank makes one only for each peer.
    pub(crate) fn new(region: Arc<Region>, rank: usize, peer: usize) -> Self {
        Self { region, rank, peer, next: 0 }
    }

    pub(crate) fn peer(&self) -> usize {
        self.peer
    }

    /// The next slot of the peer, once it is published.
    pub(crate) fn slot(&self, watch: &Watch<'_>) -> Result<&[u8], Error> {
        let target = self.next.wrapping_add(1);
        watch.wait(self.peer, self.region.published(self.peer), |published| reached(published, target))?;
        Ok(self.published_slot())
    }

    /// The next slot, where it is published already.
    pub(crate) fn slot_if_there(&self) -> Option<&[u8]> {
        let published = self.region.published(self.peer).get();
        reached(published, self.next.wrapping_add(1)).then(|| self.published_slot())
    }

    fn published_slot(&self) -> &[u8] {
        let slot = self.region.slot(self.peer, self.next);
        // SAFETY: the slot has SLOT_BYTES mapped bytes that live as long as `self.region`. Both callers have seen,
        // with acquire ordering, that its writer published number `next`; the writer waits for this inbox to
        // release it before it writes the slot again, and `release` needs `&mut self`, which ends the borrow.
        unsafe { std::slice::from_raw_parts(slot.as_ptr(), Layout::SLOT_BYTES) }
    }

    /// Is done with the slot that was read.
    pub(crate) fn release(&mut self) {
        self.next = self.next.wrapping_add(1);
        self.region.released(self.rank, self.peer).set(self.next);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_compared_across_their_wrap() {
        assert!(reached(5, 5) && reached(6, 5) && !reached(4, 5));
        assert!(reached(2, u32::MAX - 1) && !reached(u32::MAX - 1, 2));
        assert!(reached(0, 0u32.wrapping_sub(7)), "the first slots are free from the start");
    }
}
