//! How a sum in shared memory begins: every rank tells which terms it has, and small ones go along.
//!
//! The first slot holds, after the opening, the ranges of the rank's roots and then, if they are small, the
//! terms themselves. Every rank sees every first slot, so all take the same way from there.

use super::Peer;
use super::opening::Opening;
use super::pipeline::{Cut, Pipeline};
use super::stream::Outbox;
use super::watch::Watch;
use crate::error::Error;
use crate::plan::Plan;
use crate::reduce::Terms;

/// Terms of a rank up to this size go with its opening: one wait instead of three.
const SMALL_BYTES: usize = 16 << 10;
/// Small terms start at cache lines.
const ALIGN: usize = 64;
/// Bytes of a root's range: two u32.
const RANGE: usize = 8;

/// What came of a sum.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It is in the output.
    Done,
    /// A rank has more terms than its slots can take, so nothing was added.
    TooManyTerms,
}

/// Sums the terms of all ranks into `out` on every rank.
pub(super) fn reduce(
    (outbox, peers): (&mut Outbox, &mut [Peer]),
    watch: &Watch<'_>,
    terms: Terms<'_>,
    out: &mut [f32],
) -> Result<Outcome, Error> {
    announce(outbox, watch, terms, out)?;
    let (rank, world_size) = (watch.tcp.rank, watch.tcp.links.len());
    let mut slots = Vec::with_capacity(world_size);
    for peer in peers.iter_mut() {
        let slot = peer.inbox.slot(watch)?;
        slots.push((slot, Opening::read(slot, peer.inbox.peer(), watch)?));
        peer.is_heard = true;
    }
    slots.insert(rank, (outbox.last(), Opening::read(outbox.last(), rank, watch)?));

    let counts: Vec<usize> = slots.iter().map(|(_, number)| (number >> 1) as usize).collect();
    let are_small = slots.iter().all(|(_, number)| number & 1 == 1);
    let cut = Cut::new(out.len(), &counts);
    let mut plan = match terms {
        Terms::Roots { leaves, .. } if cut.is_some() => {
            let ranges: Vec<_> =
                slots.iter().zip(&counts).flat_map(|((slot, _), &count)| ranges(slot, count)).collect();
            Plan::tree(leaves, &ranges)?
        }
        _ => Plan::in_order(world_size),
    };
    if are_small {
        let len = out.len();
        let terms: Vec<_> =
            slots.iter().zip(&counts).flat_map(|((slot, _), &count)| small_terms(slot, count, len)).collect();
        plan.add(&terms, out);
    }
    peers.iter_mut().for_each(|peer| peer.inbox.release());
    match cut {
        _ if are_small => Ok(Outcome::Done),
        Some(cut) => {
            Pipeline { outbox, peers, watch, terms, counts: &counts, cut, plan }.run(out)?;
            Ok(Outcome::Done)
        }
        None => Ok(Outcome::TooManyTerms),
    }
}

/// Publishes how many terms this rank has, their ranges, and the terms themselves where they are small.
fn announce(outbox: &mut Outbox, watch: &Watch<'_>, terms: Terms<'_>, out: &[f32]) -> Result<(), Error> {
    let count = terms.count();
    let fits = count <= Cut::most_terms(watch.tcp.links.len());
    let is_small = fits && count * size_of_val(out) <= SMALL_BYTES;
    let slot = outbox.slot(watch)?;
    Opening::write(slot, watch, (count as u64) << 1 | u64::from(is_small));
    if fits {
        let ranges = terms.ranges();
        slot[Opening::SIZE..][..size_of_val(&*ranges)].copy_from_slice(bytemuck::cast_slice(&ranges));
    }
    if is_small {
        let places = slot[small_terms_at(count)..].chunks_exact_mut(size_of_val(out).max(1));
        for (term, place) in (0..count).zip(places) {
            place[..size_of_val(out)].copy_from_slice(bytemuck::cast_slice(terms.own(term, out)));
        }
    }
    outbox.publish();
    Ok(())
}

fn small_terms_at(count: usize) -> usize {
    (Opening::SIZE + count * RANGE).next_multiple_of(ALIGN)
}

/// The ranges of a rank's roots.
fn ranges(slot: &[u8], count: usize) -> impl Iterator<Item = (usize, usize)> {
    let words: &[u32] = bytemuck::cast_slice(&slot[Opening::SIZE..][..count * RANGE]);
    words.chunks_exact(2).map(|range| (range[0] as usize, range[1] as usize))
}

/// A rank's small terms.
fn small_terms(slot: &[u8], count: usize, len: usize) -> impl Iterator<Item = &[f32]> {
    let values: &[f32] = bytemuck::cast_slice(&slot[small_terms_at(count)..]);
    (0..count).map(move |term| &values[term * len..][..len])
}
