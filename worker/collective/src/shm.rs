//! The exchange over memory that the ranks of one host share.
//!
//! Each rank has a stream of slots, which it writes and all others read; see [`stream`] for why this is free of
//! data races. The first slot of a rank in every call opens with its signature. TCP links stay open beside it,
//! silent: they tell who has left, and carry nothing else.

mod join;
mod messages;
mod opening;
mod pipeline;
mod region;
mod stream;
mod sum;
mod watch;

use std::sync::Arc;

pub(crate) use join::{Joined, join};
pub(crate) use region::Region;

use crate::error::Error;
use crate::exchange::{Exchange, Outgoing};
use crate::receive::Receive;
use crate::reduce::{Scratch, Terms, by_segments};
use crate::signature::Signature;
use crate::tcp::Tcp;
use opening::Opening;
use stream::{Inbox, Outbox};
use sum::Outcome;
use watch::Watch;

/// One rank's streams.
pub(crate) struct Shm {
    tcp: Tcp,
    outbox: Outbox,
    /// One per peer, in rank order.
    inboxes: Vec<Peer>,
    spins: u32,
}

/// A peer's stream and how far this call has come with it.
struct Peer {
    inbox: Inbox,
    /// Whether the peer's signature was seen in this call, and agreed.
    is_heard: bool,
}

impl Peer {
    /// Looks whether a peer that was not heard yet disagrees.
    ///
    /// A rank that left over a disagreement did so after the other one had published its signature.
    fn hear(&self, watch: &Watch<'_>) -> Result<(), Error> {
        if !self.is_heard
            && let Some(slot) = self.inbox.slot_if_there()
        {
            Opening::read(slot, self.inbox.peer(), watch)?;
        }
        Ok(())
    }
}

impl Shm {
    fn new(tcp: Tcp, region: &Arc<Region>) -> Self {
        let (rank, world_size) = (tcp.rank, tcp.links.len());
        let peers = (0..world_size).filter(|&peer| peer != rank);
        let inboxes = peers
            .map(|peer| Peer { inbox: Inbox::new(Arc::clone(region), rank, peer), is_heard: false })
            .collect();
        let outbox = Outbox::new(Arc::clone(region), rank);
        Self { tcp, outbox, inboxes, spins: watch::spins(world_size) }
    }

    /// Runs one call; a loss that is the echo of a disagreement is reported as the disagreement.
    fn call<T>(
        &mut self,
        signature: &Signature,
        body: impl FnOnce((&mut Outbox, &mut [Peer]), &Watch<'_>) -> Result<T, Error>,
    ) -> Result<T, Error> {
        for peer in &mut self.inboxes {
            peer.is_heard = false;
        }
        let watch = Watch { signature, tcp: &self.tcp, spins: self.spins };
        let outcome = body((&mut self.outbox, &mut self.inboxes), &watch);
        match outcome {
            Err(Error::PeerLost { .. }) => self.inboxes.iter().try_for_each(|peer| peer.hear(&watch))?,
            Err(Error::Timeout { op, seq, mut waiting_for }) => {
                let silent =
                    self.inboxes.iter().filter(|peer| !peer.is_heard && peer.inbox.slot_if_there().is_none());
                waiting_for.extend(silent.map(|peer| peer.inbox.peer()));
                waiting_for.sort_unstable();
                waiting_for.dedup();
                return Err(Error::Timeout { op, seq, waiting_for });
            }
            _ => {}
        }
        outcome
    }
}

impl Exchange for Shm {
    fn rank(&self) -> usize {
        self.tcp.rank
    }

    fn world_size(&self) -> usize {
        self.tcp.links.len()
    }

    fn exchange(
        &mut self,
        signature: &Signature,
        send: Outgoing<'_>,
        recv: &mut dyn Receive,
    ) -> Result<(), Error> {
        self.call(signature, |streams, watch| messages::exchange(streams, watch, send, recv))
    }

    fn reduce(
        &mut self,
        signature: &Signature,
        terms: Terms<'_>,
        out: &mut [f32],
        scratch: &mut Scratch,
    ) -> Result<(), Error> {
        match self.call(signature, |streams, watch| sum::reduce(streams, watch, terms, out))? {
            Outcome::Done => Ok(()),
            Outcome::TooManyTerms => by_segments(self, signature, terms, out, scratch),
        }
    }

    fn close(&mut self) {
        self.tcp.close();
    }
}
