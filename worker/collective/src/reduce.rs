//! Sums over ranks by exchanges of messages: each rank adds its segment, then all gather the segments.
//!
//! The order of additions is that of the [`Plan`], whoever owns which segment, so a transport that sums another
//! way (shared memory does) gets the same bits.

use crate::error::Error;
use crate::exchange::{Exchange, Outgoing, deliver_own};
use crate::plan::Plan;
use crate::receive::Receive;
use crate::segment::segment;
use crate::signature::Signature;
use crate::tree::Root;

/// Vectors up to this size go to every rank whole: one exchange costs less than two.
const SMALL_BYTES: usize = 8 << 10;

/// What a rank adds to the sum.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Terms<'a> {
    /// One term per rank, which is in the output vector; added in rank order.
    InPlace,
    /// Roots of the canonical tree over `leaves` leaves.
    Roots { roots: &'a [Root<'a>], leaves: usize },
}

impl<'a> Terms<'a> {
    /// How many terms this rank has.
    pub(crate) fn count(&self) -> usize {
        match self {
            Self::InPlace => 1,
            Self::Roots { roots, .. } => roots.len(),
        }
    }

    /// One of this rank's terms; one that is summed in place is in the output.
    pub(crate) fn own(&self, term: usize, out: &'a [f32]) -> &'a [f32] {
        match self {
            Self::InPlace => out,
            Self::Roots { roots, .. } => roots[term].values,
        }
    }

    /// First and past-the-last leaf of each root, as the words of a message.
    pub(crate) fn ranges(&self) -> Vec<u32> {
        let Self::Roots { roots, .. } = self else { return Vec::new() };
        // Both are at most `leaves`, which the group checks against u32.
        roots.iter().flat_map(|root| [root.lo as u32, root.hi as u32]).collect()
    }
}

/// Buffers that outlive a call, so that steps do not allocate.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    received: Vec<Vec<f32>>,
}

/// Sums the terms of all ranks into `out` on every rank.
pub(crate) fn by_segments<E: Exchange>(
    exchange: &mut E,
    signature: &Signature,
    terms: Terms<'_>,
    out: &mut [f32],
    scratch: &mut Scratch,
) -> Result<(), Error> {
    let (rank, world_size, len) = (exchange.rank(), exchange.world_size(), out.len());
    if size_of_val(out) <= SMALL_BYTES {
        send_terms(exchange, signature, terms, (out, |_| 0..len), scratch)?;
        return add_received(terms, scratch, out);
    }
    send_terms(exchange, signature, terms, (out, |owner| segment(len, world_size, owner)), scratch)?;
    let part = segment(len, world_size, rank);
    let (before, rest) = out.split_at_mut(part.start);
    let (mine, after) = rest.split_at_mut(part.len());
    add_received(terms, scratch, mine)?;
    let mut others = Others { rank, world_size, len, before, after };
    exchange.exchange(signature, Outgoing::Same(&[bytemuck::cast_slice(mine)]), &mut others)
}

/// Sums the vectors of all ranks; `mine` gets this rank's segment.
pub(crate) fn scatter<E: Exchange>(
    exchange: &mut E,
    signature: &Signature,
    (data, mine): (&[f32], &mut [f32]),
    scratch: &mut Scratch,
) -> Result<(), Error> {
    let world_size = exchange.world_size();
    let part_of = |owner| segment(data.len(), world_size, owner);
    send_terms(exchange, signature, Terms::InPlace, (data, part_of), scratch)?;
    add_received(Terms::InPlace, scratch, mine)
}

/// Sends each owner its part of this rank's terms, and receives this rank's part of all.
fn send_terms<E: Exchange>(
    exchange: &mut E,
    signature: &Signature,
    terms: Terms<'_>,
    (data, part_of): (&[f32], impl Fn(usize) -> std::ops::Range<usize>),
    scratch: &mut Scratch,
) -> Result<(), Error> {
    let (count, ranges) = ([terms.count() as u32], terms.ranges());
    let messages: Vec<Vec<&[u8]>> = (0..exchange.world_size())
        .map(|owner| match terms {
            Terms::InPlace => vec![bytemuck::cast_slice(&data[part_of(owner)])],
            Terms::Roots { roots, .. } => {
                let head = [bytemuck::cast_slice(&count), bytemuck::cast_slice(&ranges)];
                let parts = roots.iter().map(|root| bytemuck::cast_slice(&root.values[part_of(owner)]));
                head.into_iter().chain(parts).collect()
            }
        })
        .collect();
    let messages: Vec<&[&[u8]]> = messages.iter().map(Vec::as_slice).collect();
    exchange.exchange(signature, Outgoing::Each(&messages), &mut scratch.received)?;
    let rank = exchange.rank();
    deliver_own(rank, messages[rank], &mut scratch.received)
}

/// Adds what `send_terms` received.
fn add_received(terms: Terms<'_>, scratch: &Scratch, out: &mut [f32]) -> Result<(), Error> {
    let size_of = |from: usize, message: &[f32]| Error::Size { from, bytes: size_of_val(message) as u64 };
    let Terms::Roots { leaves, .. } = terms else {
        for (from, message) in scratch.received.iter().enumerate() {
            if message.len() != out.len() {
                return Err(size_of(from, message));
            }
        }
        let terms: Vec<&[f32]> = scratch.received.iter().map(Vec::as_slice).collect();
        Plan::in_order(terms.len()).add(&terms, out);
        return Ok(());
    };
    let (mut ranges, mut terms) = (Vec::new(), Vec::new());
    for (from, message) in scratch.received.iter().enumerate() {
        let fault = || size_of(from, message);
        let (&count, rest) = message.split_first().ok_or_else(fault)?;
        let count = count.to_bits() as usize;
        let words = count.checked_mul(2).filter(|&words| words <= rest.len()).ok_or_else(fault)?;
        let (words, values) = rest.split_at(words);
        if count.checked_mul(out.len()) != Some(values.len()) {
            return Err(fault());
        }
        ranges.extend(
            words.chunks_exact(2).map(|word| (word[0].to_bits() as usize, word[1].to_bits() as usize)),
        );
        terms.extend((0..count).map(|root| &values[root * out.len()..][..out.len()]));
    }
    Plan::tree(leaves, &ranges)?.add(&terms, out);
    Ok(())
}

/// Takes the other ranks' segments of the sum into their places before and after this rank's own.
struct Others<'a> {
    rank: usize,
    world_size: usize,
    len: usize,
    before: &'a mut [f32],
    after: &'a mut [f32],
}

impl Receive for Others<'_> {
    fn slot(&mut self, rank: usize, bytes: usize) -> Option<&mut [u8]> {
        let part = segment(self.len, self.world_size, rank);
        let part = if rank < self.rank {
            &mut self.before[part]
        } else {
            let after = self.len - self.after.len();
            &mut self.after[part.start - after..part.end - after]
        };
        (bytes == size_of_val(part)).then(|| bytemuck::cast_slice_mut(part))
    }
}
