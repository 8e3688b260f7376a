//! The exchange over TCP: a socket per peer, all driven by one loop on the caller's thread.
//!
//! Messages go out and come in as the sockets allow, so no order of sends and receives can deadlock. The loop
//! waits in `poll` only, at most `timeout` without progress, and the abort handle ends the wait.

use std::os::fd::AsFd;
use std::time::Duration;

use rustix::event::PollFlags;

use crate::abort::AbortHandle;
use crate::error::Error;
use crate::exchange::{Exchange, Outgoing, bounded, bytes};
use crate::lifeline::Lifelines;
use crate::link::{Incoming, Link, Outbound};
use crate::receive::Receive;
use crate::signature::{Header, Signature};
use crate::wait::{Deadline, ready};

/// How long signatures may still be on their way when a link is lost.
const ECHO: Duration = Duration::from_millis(250);

/// One rank's links to all peers.
pub(crate) struct Tcp {
    pub(crate) rank: usize,
    /// By rank; this rank's own place is empty.
    pub(crate) links: Vec<Option<Link>>,
    pub(crate) lifelines: Lifelines,
    pub(crate) timeout: Duration,
    pub(crate) max_message: usize,
    pub(crate) abort: AbortHandle,
}

/// One peer's part in the exchange that is under way.
struct Transfer<'a> {
    peer: usize,
    link: &'a Link,
    outbound: Outbound<'a>,
    incoming: Incoming,
    is_lost: bool,
}

impl Exchange for Tcp {
    fn rank(&self) -> usize {
        self.rank
    }

    fn world_size(&self) -> usize {
        self.links.len()
    }

    fn exchange(
        &mut self,
        signature: &Signature,
        send: Outgoing<'_>,
        recv: &mut dyn Receive,
    ) -> Result<(), Error> {
        let mut transfers = Vec::with_capacity(self.links.len());
        for (peer, link) in self.links.iter().enumerate() {
            let Some(link) = link else { continue };
            let parts = send.to(peer);
            let bytes = bytes(parts) as u64;
            bounded(self.rank, bytes, self.max_message)?;
            let header = Header { signature: *signature, bytes }.encode();
            let outbound = Outbound::new(header, parts);
            transfers.push(Transfer { peer, link, outbound, incoming: Incoming::default(), is_lost: false });
        }
        let outcome = self.drive(signature, &mut transfers, recv);
        if matches!(outcome, Err(Error::Mismatch { .. } | Error::TooLarge { .. })) {
            self.deliver_headers(&mut transfers);
        }
        outcome
    }

    fn close(&mut self) {
        for link in self.links.iter().flatten() {
            link.close();
        }
    }
}

impl Tcp {
    /// Moves bytes until all messages are out and in.
    ///
    /// A link that is lost may be the echo of a disagreement between two other ranks, so the signatures that are
    /// on their way are heard before the loss is believed. Meanwhile it also shows whether a silent peer is the only
    /// one, or all are.
    fn drive(
        &self,
        signature: &Signature,
        transfers: &mut [Transfer<'_>],
        recv: &mut dyn Receive,
    ) -> Result<(), Error> {
        let mut deadline = Deadline::after(self.timeout);
        let mut loss: Option<(Error, Deadline)> = None;
        loop {
            self.abort.check()?;
            let mut progress = false;
            for transfer in &mut *transfers {
                progress |= transfer.outbound.advance(transfer.link);
            }
            for transfer in transfers.iter_mut().filter(|transfer| !transfer.is_lost) {
                match self.receive(signature, transfer, recv) {
                    Ok(received) => progress |= received,
                    Err(error @ Error::PeerLost { .. }) => {
                        transfer.is_lost = true;
                        loss.get_or_insert((error, Deadline::after(self.timeout.min(ECHO))));
                    }
                    Err(error) => return Err(error),
                }
            }
            if let Some(peer) = self.lose_silent(transfers) {
                let error = Error::PeerSilent { rank: peer };
                loss.get_or_insert((error, Deadline::after(self.timeout.min(ECHO))));
            }
            if let Some((error, echo)) = &loss {
                let Some(limit) = echo.remaining().filter(|_| self.may_hear_more(error, transfers)) else {
                    return Err(match error {
                        Error::PeerSilent { rank } => self.lifelines.loss(self.rank, *rank),
                        error => error.clone(),
                    });
                };
                let unheard = transfers.iter().filter_map(Transfer::unheard);
                ready(unheard, &self.lifelines, &self.abort, limit)?;
                continue;
            }
            if transfers.iter().all(Transfer::is_done) {
                return Ok(());
            }
            if progress {
                deadline.extend();
                continue;
            }
            let Some(limit) = deadline.remaining() else {
                let waiting_for = transfers.iter().filter(|t| !t.is_done()).map(|t| t.peer).collect();
                return Err(Error::Timeout { op: signature.op, seq: signature.seq, waiting_for });
            };
            ready(transfers.iter().filter_map(Transfer::interest), &self.lifelines, &self.abort, limit)?;
        }
    }

    /// Marks the transfers of silent peers as lost; returns the first peer that is lost by it.
    fn lose_silent(&self, transfers: &mut [Transfer<'_>]) -> Option<usize> {
        let mut lost = transfers.iter_mut().filter(|transfer| {
            !transfer.is_lost && !transfer.is_done() && self.lifelines.is_silent(transfer.peer)
        });
        let first = lost.next()?;
        first.is_lost = true;
        lost.for_each(|transfer| transfer.is_lost = true);
        Some(first.peer)
    }

    /// Whether it is worth to wait for what is on its way, once a peer is lost.
    fn may_hear_more(&self, loss: &Error, transfers: &[Transfer<'_>]) -> bool {
        let unheard = transfers.iter().any(|transfer| !transfer.is_lost && !transfer.incoming.is_heard());
        let others = self.links.len() > 2 && !self.lifelines.are_all_silent();
        unheard || (others && matches!(loss, Error::PeerSilent { .. }))
    }

    /// Whether a peer closed its end, on links that carry nothing else.
    pub(crate) fn has_left(&self, peer: usize) -> bool {
        self.links[peer].as_ref().is_some_and(Link::is_closed)
    }

    /// Takes what has arrived from one peer; says whether anything had.
    fn receive(
        &self,
        mine: &Signature,
        transfer: &mut Transfer<'_>,
        recv: &mut dyn Receive,
    ) -> Result<bool, Error> {
        let peer = transfer.peer;
        let lost = |_| Error::PeerLost { rank: peer };
        let mut progress = false;
        if transfer.incoming.bytes.is_none() {
            progress |= transfer.incoming.read_header(transfer.link).map_err(lost)?;
            let Some(wire) = transfer.incoming.header() else { return Ok(progress) };
            let header = Header::decode(wire).ok_or(Error::Garbled { from: peer })?;
            if header.signature != *mine {
                let theirs = header.signature;
                return Err(Error::Mismatch { seq: mine.seq, rank: self.rank, mine: *mine, peer, theirs });
            }
            transfer.incoming.bytes = Some(bounded(peer, header.bytes, self.max_message)?);
        }
        if let Some(bytes) = transfer.incoming.bytes {
            let slot = recv.slot(peer, bytes).ok_or(Error::Size { from: peer, bytes: bytes as u64 })?;
            progress |= transfer.incoming.read_body(transfer.link, slot).map_err(lost)?;
        }
        if transfer.outbound.is_broken() && transfer.incoming.is_done() {
            return Err(Error::PeerLost { rank: peer });
        }
        Ok(progress)
    }

    /// Gets this rank's headers out before its links close, so that every peer learns of a disagreement.
    fn deliver_headers(&self, transfers: &mut [Transfer<'_>]) {
        let mut deadline = Deadline::after(self.timeout);
        while transfers.iter().any(|transfer| transfer.outbound.owes_header()) {
            let mut progress = false;
            for transfer in transfers.iter_mut().filter(|transfer| transfer.outbound.owes_header()) {
                progress |= transfer.outbound.advance(transfer.link);
            }
            if progress {
                deadline.extend();
                continue;
            }
            let waiting = transfers.iter().filter(|transfer| transfer.outbound.owes_header());
            let Some(limit) = deadline.remaining() else { return };
            if ready(waiting.filter_map(Transfer::interest), &self.lifelines, &self.abort, limit).is_err() {
                return;
            }
        }
    }
}

impl<'a> Transfer<'a> {
    fn is_done(&self) -> bool {
        self.outbound.is_done() && self.incoming.is_done()
    }

    /// The link, where the peer's signature is still to come.
    fn unheard(&self) -> Option<(&'a dyn AsFd, PollFlags)> {
        (!self.is_lost && !self.incoming.is_heard()).then_some((self.link.socket(), PollFlags::IN))
    }

    /// What the loop waits for on this link, if anything.
    fn interest(&self) -> Option<(&'a dyn AsFd, PollFlags)> {
        let mut flags = PollFlags::empty();
        if !self.outbound.is_done() && !self.outbound.is_broken() {
            flags |= PollFlags::OUT;
        }
        if !self.incoming.is_done() {
            flags |= PollFlags::IN;
        }
        (!flags.is_empty()).then_some((self.link.socket(), flags))
    }
}
