//! Sums in shared memory: each rank adds its part of a block straight from the others' slots.
//!
//! A vector is cut into blocks, and a block among the ranks. For each block a rank publishes what it adds to
//! the other ranks' parts, adds up its own part, and publishes the sum. Blocks are small enough for the caches,
//! so main memory is read once and written once; a few blocks are under way at a time, so that ranks seldom
//! wait for each other.

use std::ops::Range;

use super::Peer;
use super::opening::Opening;
use super::region::Layout;
use super::stream::Outbox;
use super::watch::Watch;
use crate::error::Error;
use crate::plan::Plan;
use crate::reduce::Terms;
use crate::segment::{BLOCK, segment};

/// Fewest elements of a part, where the vector is long enough to be cut.
const MIN_PART: usize = 4096;
/// Blocks into which a vector is cut at least, so that ranks work at the same time.
const MIN_BLOCKS: usize = 4;
/// Blocks that are offered before the first is added, and added before the first sum is taken.
const LEAD: usize = 2;
/// Elements of a slot after its opening.
const SLOT_ELEMENTS: usize = (Layout::SLOT_BYTES - Opening::SIZE) / size_of::<f32>();

// When the rank that has come least far reads a slot, at most this many of any rank's slots are not released by
// it, the one that is written included. With fewer slots, ranks would wait for each other in a circle.
const _: () = assert!(2 * LEAD + 2 <= Layout::SLOTS);

/// How a vector is cut into blocks and parts; the same on all ranks.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cut {
    len: usize,
    world_size: usize,
    /// Elements of the longest part.
    part: usize,
}

impl Cut {
    /// The most terms that a rank can have, so that a block of each fits a slot for every other rank.
    pub(super) fn most_terms(world_size: usize) -> usize {
        SLOT_ELEMENTS / BLOCK / (world_size - 1)
    }

    /// The cut for ranks with this many terms each, or nothing where a rank has more than it can have.
    pub(super) fn new(len: usize, counts: &[usize]) -> Option<Self> {
        let world_size = counts.len();
        let most = *counts.iter().max()?.max(&1);
        if most > Self::most_terms(world_size) {
            return None;
        }
        let fitting = SLOT_ELEMENTS / (most * (world_size - 1)) / BLOCK * BLOCK;
        let wanted = len.div_ceil(MIN_BLOCKS * world_size).next_multiple_of(BLOCK).max(MIN_PART);
        Some(Self { len, world_size, part: fitting.min(wanted) })
    }

    fn blocks(&self) -> usize {
        self.len.div_ceil(self.part * self.world_size)
    }

    /// The elements of a block that `owner` adds.
    fn part(&self, block: usize, owner: usize) -> Range<usize> {
        let start = block * self.part * self.world_size;
        let len = (self.len - start).min(self.part * self.world_size);
        let part = segment(len, self.world_size, owner);
        start + part.start..start + part.end
    }
}

/// A sum under way.
pub(super) struct Pipeline<'a, 'w> {
    pub(super) outbox: &'a mut Outbox,
    pub(super) peers: &'a mut [Peer],
    pub(super) watch: &'a Watch<'w>,
    pub(super) terms: Terms<'a>,
    /// Terms of each rank.
    pub(super) counts: &'a [usize],
    pub(super) cut: Cut,
    pub(super) plan: Plan,
}

impl Pipeline<'_, '_> {
    /// Sums into `out`.
    pub(super) fn run(&mut self, out: &mut [f32]) -> Result<(), Error> {
        let blocks = self.cut.blocks();
        for step in 0..blocks + 2 * LEAD {
            if step < blocks {
                self.offer(step, out)?;
            }
            if let Some(block) = step.checked_sub(LEAD).filter(|&block| block < blocks) {
                self.add(block, out)?;
            }
            if let Some(block) = step.checked_sub(2 * LEAD) {
                self.take(block, out)?;
            }
        }
        Ok(())
    }

    fn rank(&self) -> usize {
        self.watch.tcp.rank
    }

    /// Publishes this rank's terms for the other ranks' parts.
    fn offer(&mut self, block: usize, out: &[f32]) -> Result<(), Error> {
        let rank = self.rank();
        let slot = &mut self.outbox.slot(self.watch)?[Opening::SIZE..];
        let mut places = bytemuck::cast_slice_mut::<u8, f32>(slot).chunks_exact_mut(self.cut.part);
        for owner in (0..self.cut.world_size).filter(|&owner| owner != rank) {
            let part = self.cut.part(block, owner);
            for (term, place) in (0..self.counts[rank]).zip(&mut places) {
                place[..part.len()].copy_from_slice(&self.terms.own(term, out)[part.clone()]);
            }
        }
        self.outbox.publish();
        Ok(())
    }

    /// Adds this rank's part and publishes the sum.
    fn add(&mut self, block: usize, out: &mut [f32]) -> Result<(), Error> {
        let rank = self.rank();
        let part = self.cut.part(block, rank);
        let mut terms: Vec<&[f32]> = Vec::with_capacity(self.counts.iter().sum());
        let mut peers = self.peers.iter();
        for (from, &count) in self.counts.iter().enumerate() {
            if from == rank {
                terms.extend((0..count).map(|term| &self.terms.own(term, out)[part.clone()]));
            } else if let Some(peer) = peers.next() {
                let slot = &peer.inbox.slot(self.watch)?[Opening::SIZE..];
                // A rank leaves itself out of its slot, so places after its own move up by one.
                let first = (rank - usize::from(rank > from)) * count;
                let places = bytemuck::cast_slice::<u8, f32>(slot).chunks_exact(self.cut.part);
                terms.extend(places.skip(first).take(count).map(|place| &place[..part.len()]));
            }
        }
        let slot = &mut self.outbox.slot(self.watch)?[Opening::SIZE..];
        let sum = &mut bytemuck::cast_slice_mut::<u8, f32>(slot)[..part.len()];
        self.plan.add(&terms, sum);
        out[part].copy_from_slice(sum);
        self.outbox.publish();
        self.peers.iter_mut().for_each(|peer| peer.inbox.release());
        Ok(())
    }

    /// Takes the other ranks' sums.
    fn take(&mut self, block: usize, out: &mut [f32]) -> Result<(), Error> {
        for peer in self.peers.iter_mut() {
            let part = self.cut.part(block, peer.inbox.peer());
            let slot = &peer.inbox.slot(self.watch)?[Opening::SIZE..];
            let len = part.len();
            out[part].copy_from_slice(&bytemuck::cast_slice::<u8, f32>(slot)[..len]);
            peer.inbox.release();
        }
        Ok(())
    }
}
