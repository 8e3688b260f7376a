//! Messages of any size through slots: each rank cuts its messages into as many slots as they need.
//!
//! A slot holds a piece for each rank, in a table at its start. Every rank publishes at least one slot, so that
//! its signature is heard. It fills slots ahead of what it reads, and before it waits for slot s of its peers it
//! has published its own slot s, so the rank that has come least far never waits for a rank that waits for it.

use super::Peer;
use super::opening::Opening;
use super::region::Layout;
use super::stream::Outbox;
use super::watch::Watch;
use crate::error::Error;
use crate::exchange::{Outgoing, bounded, bytes};
use crate::receive::Receive;

/// Bytes of a table entry: offset and length of the piece, u32 each, and size of the whole message, u64.
const ENTRY: usize = 16;
/// Pieces start at cache lines.
const ALIGN: usize = 64;

/// Sends and receives one message per peer.
pub(super) fn exchange(
    (outbox, peers): (&mut Outbox, &mut [Peer]),
    watch: &Watch<'_>,
    send: Outgoing<'_>,
    recv: &mut dyn Receive,
) -> Result<(), Error> {
    let mut letters = Letters::new(send, watch)?;
    let mut arrivals: Vec<Arrival> = peers.iter().map(|_| Arrival::default()).collect();
    let (mut published, mut step) = (0, 0);
    loop {
        while !letters.are_out && published < step + Layout::SLOTS {
            letters.fill(outbox.slot(watch)?, watch);
            outbox.publish();
            published += 1;
        }
        for (peer, arrival) in peers.iter_mut().zip(&mut arrivals).filter(|(_, arrival)| !arrival.is_complete)
        {
            let from = peer.inbox.peer();
            let slot = peer.inbox.slot(watch)?;
            let slots_follow = Opening::read(slot, from, watch)? != 0;
            arrival.take(slot, (from, watch), recv)?;
            arrival.is_complete = !slots_follow;
            if arrival.is_complete && !arrival.is_whole() {
                return Err(Error::Garbled { from });
            }
            peer.is_heard = true;
            peer.inbox.release();
        }
        step += 1;
        if letters.are_out && arrivals.iter().all(|arrival| arrival.is_complete) {
            return Ok(());
        }
    }
}

/// Where in a slot the first piece may start.
fn table_end(world_size: usize) -> usize {
    (Opening::SIZE + world_size * ENTRY).next_multiple_of(ALIGN)
}

/// What is left of this rank's messages.
struct Letters<'a> {
    rank: usize,
    world_size: usize,
    /// One for each rank, or one for all.
    letters: Vec<Letter<'a>>,
    is_same: bool,
    are_out: bool,
}

struct Letter<'a> {
    parts: &'a [&'a [u8]],
    /// Bytes of the first part that are out.
    part_sent: usize,
    left: usize,
    total: usize,
}

impl<'a> Letters<'a> {
    fn new(send: Outgoing<'a>, watch: &Watch<'_>) -> Result<Self, Error> {
        let (rank, world_size) = (watch.tcp.rank, watch.tcp.links.len());
        let is_same = matches!(send, Outgoing::Same(_));
        let letters = (0..if is_same { 1 } else { world_size })
            .map(|to| {
                let parts = if !is_same && to == rank { &[] } else { send.to(to) };
                let total = bounded(rank, bytes(parts) as u64, watch.tcp.max_message)?;
                Ok(Letter { parts, part_sent: 0, left: total, total })
            })
            .collect::<Result<_, Error>>()?;
        Ok(Self { rank, world_size, letters, is_same, are_out: false })
    }

    /// Writes the next piece of each message; shares the slot evenly among those that have more to send.
    fn fill(&mut self, slot: &mut [u8], watch: &Watch<'_>) {
        let mut at = table_end(self.world_size);
        let mut unfinished = self.letters.iter().filter(|letter| letter.left > 0).count();
        for (to, letter) in self.letters.iter_mut().enumerate() {
            let share = (slot.len() - at).checked_div(unfinished).unwrap_or(0) / ALIGN * ALIGN;
            let len = letter.left.min(share);
            unfinished -= usize::from(letter.left > 0);
            letter.write(&mut slot[at..at + len]);
            let ranks = if self.is_same { 0..self.world_size } else { to..to + 1 };
            for rank in ranks.filter(|&rank| rank != self.rank) {
                let entry = &mut slot[Opening::SIZE + rank * ENTRY..][..ENTRY];
                entry[..4].copy_from_slice(&(at as u32).to_le_bytes());
                entry[4..8].copy_from_slice(&(len as u32).to_le_bytes());
                entry[8..].copy_from_slice(&(letter.total as u64).to_le_bytes());
            }
            at += len.next_multiple_of(ALIGN);
        }
        self.are_out = self.letters.iter().all(|letter| letter.left == 0);
        Opening::write(slot, watch, u64::from(!self.are_out));
    }
}

impl Letter<'_> {
    /// Writes the next bytes of the message.
    fn write(&mut self, mut piece: &mut [u8]) {
        self.left -= piece.len();
        while !piece.is_empty() {
            let part = &self.parts[0][self.part_sent..];
            let len = part.len().min(piece.len());
            let (head, rest) = piece.split_at_mut(len);
            head.copy_from_slice(&part[..len]);
            piece = rest;
            self.part_sent += len;
            if self.part_sent == self.parts[0].len() {
                self.parts = &self.parts[1..];
                self.part_sent = 0;
            }
        }
    }
}

/// How much of a peer's message is here.
#[derive(Default)]
struct Arrival {
    received: usize,
    total: usize,
    is_complete: bool,
}

impl Arrival {
    /// Takes this rank's piece out of a peer's slot.
    fn take(
        &mut self,
        slot: &[u8],
        (from, watch): (usize, &Watch<'_>),
        recv: &mut dyn Receive,
    ) -> Result<(), Error> {
        let entry = &slot[Opening::SIZE + watch.tcp.rank * ENTRY..][..ENTRY];
        let word = |at: usize| u32::from_le_bytes([entry[at], entry[at + 1], entry[at + 2], entry[at + 3]]);
        let (at, len) = (word(0) as usize, word(4) as usize);
        let total = u64::from(word(8)) | u64::from(word(12)) << 32;
        self.total = bounded(from, total, watch.tcp.max_message)?;
        let target = recv.slot(from, self.total).ok_or(Error::Size { from, bytes: total })?;
        let piece = slot.get(at..).and_then(|rest| rest.get(..len));
        let target = target.get_mut(self.received..).and_then(|rest| rest.get_mut(..len));
        let (Some(piece), Some(target)) = (piece, target) else { return Err(Error::Garbled { from }) };
        target.copy_from_slice(piece);
        self.received += len;
        Ok(())
    }

    fn is_whole(&self) -> bool {
        self.received == self.total
    }
}
