//! Linking every rank with every other: a rank dials the lower ones and listens for the higher ones.
//!
//! A listener answers whoever comes, takes only members of its own group, and goes on listening: a straggler of
//! an older generation or a stranger costs the group nothing but an answer.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Duration;

use rustix::event::PollFlags;

use crate::abort::AbortHandle;
use crate::error::Error;
use crate::handshake::{Hello, Membership, Refusal, Reply};
use crate::host::HostIdentity;
use crate::wait::{Deadline, ready};

/// Callers that may be in the middle of their hello, beyond the ranks that are expected.
const STRANGERS: usize = 16;
/// Longest wait for the peer's host to answer before the abort is looked at again.
const DIAL_SLICE: Duration = Duration::from_secs(1);
/// Wait before a peer that is still in an older generation is dialed again.
const REDIAL: Duration = Duration::from_millis(20);

/// What linking needs to know.
pub(crate) struct Mesh<'a> {
    pub(crate) rank: usize,
    pub(crate) membership: Membership,
    pub(crate) host: HostIdentity,
    pub(crate) listener: &'a TcpListener,
    pub(crate) peers: &'a [SocketAddr],
    pub(crate) timeout: Duration,
    pub(crate) abort: &'a AbortHandle,
}

/// A linked peer.
#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) stream: TcpStream,
    pub(crate) host: HostIdentity,
}

/// A caller whose hello is not complete.
struct Caller {
    stream: TcpStream,
    hello: Vec<u8>,
}

impl Mesh<'_> {
    /// Links all ranks; returns them by rank, this rank's own place empty.
    pub(crate) fn link(&self) -> Result<Vec<Option<Peer>>, Error> {
        let mut peers: Vec<Option<Peer>> = self.peers.iter().map(|_| None).collect();
        let deadline = Deadline::after(self.timeout);
        for (peer, place) in peers.iter_mut().enumerate().take(self.rank) {
            *place = Some(self.dial(peer, deadline)?);
        }
        self.accept(&mut peers, deadline)?;
        Ok(peers)
    }

    /// Joins a lower rank; dials again while that one is in an older generation.
    fn dial(&self, peer: usize, deadline: Deadline) -> Result<Peer, Error> {
        loop {
            let stream = self.dial_once(peer, deadline)?;
            let reply = self.introduce(peer, &stream, deadline)?;
            match reply.verdict {
                Ok(()) => return Ok(Peer { stream, host: reply.host }),
                Err(Refusal::Generation { theirs }) if theirs < self.membership.generation => {}
                Err(refusal) => return Err(Error::Refused { peer, refusal }),
            }
            let left = deadline.remaining().ok_or_else(|| timeout(peer))?;
            ready(std::iter::empty(), self.abort, left.min(REDIAL))?;
        }
    }

    fn dial_once(&self, peer: usize, deadline: Deadline) -> Result<TcpStream, Error> {
        let address = self.peers[peer];
        loop {
            self.abort.check()?;
            let left = deadline.remaining().ok_or_else(|| timeout(peer))?;
            match TcpStream::connect_timeout(&address, left.min(DIAL_SLICE)) {
                Ok(stream) => return Ok(stream),
                Err(error) if error.kind() == ErrorKind::TimedOut => {}
                Err(source) => return Err(Error::Connect { peer, address, source: Arc::new(source) }),
            }
        }
    }

    /// Says hello to a lower rank and waits for its answer.
    fn introduce(&self, peer: usize, mut stream: &TcpStream, deadline: Deadline) -> Result<Reply, Error> {
        stream.set_nonblocking(true).map_err(Error::io("make a socket non-blocking"))?;
        let hello = Hello { rank: self.rank as u32, membership: self.membership.clone(), host: self.host };
        // A hello is far smaller than the empty send buffer of a new socket.
        if stream.write_all(&hello.encode()).is_err() {
            return Err(Error::PeerLost { rank: peer });
        }
        let mut wire = Vec::with_capacity(Reply::SIZE);
        while wire.len() < Reply::SIZE {
            match read_up_to(stream, &mut wire, Reply::SIZE) {
                Arrived::Closed => return Err(Error::PeerLost { rank: peer }),
                Arrived::Some => continue,
                Arrived::Nothing => {}
            }
            let left = deadline.remaining().ok_or_else(|| timeout(peer))?;
            ready(std::iter::once((&stream as &dyn AsFd, PollFlags::IN)), self.abort, left)?;
        }
        Reply::decode(&wire).ok_or(Error::Garbled { from: peer })
    }

    /// Takes the higher ranks as they come.
    fn accept(&self, peers: &mut [Option<Peer>], deadline: Deadline) -> Result<(), Error> {
        self.listener.set_nonblocking(true).map_err(Error::io("make a listener non-blocking"))?;
        let mut callers: Vec<Caller> = Vec::new();
        while let Some(waiting_for) = missing(peers, self.rank) {
            let mut progress = self.take_caller(&mut callers, peers.len())?;
            callers.retain_mut(|caller| {
                let (arrived, mut stream) = (caller.read(), &caller.stream);
                progress |= !matches!(arrived, Arrived::Nothing);
                if matches!(arrived, Arrived::Closed) || caller.hello.len() == Hello::SIZE {
                    if caller.hello.len() == Hello::SIZE {
                        let verdict = self.judge(&caller.hello, stream, peers);
                        // A caller that has gone again learns nothing, and needs nothing.
                        drop(stream.write_all(&Reply { verdict, host: self.host }.encode()));
                    }
                    return false;
                }
                true
            });
            if progress {
                continue;
            }
            let left = deadline.remaining().ok_or(Error::ConnectTimeout { waiting_for })?;
            let sockets = callers.iter().map(|caller| (&caller.stream as &dyn AsFd, PollFlags::IN));
            let listener = std::iter::once((self.listener as &dyn AsFd, PollFlags::IN));
            ready(sockets.chain(listener), self.abort, left)?;
        }
        Ok(())
    }

    /// Accepts a caller, if there is one; drops the oldest where there are too many.
    fn take_caller(&self, callers: &mut Vec<Caller>, world_size: usize) -> Result<bool, Error> {
        match self.listener.accept() {
            Ok((stream, _)) => {
                stream.set_nonblocking(true).map_err(Error::io("make a socket non-blocking"))?;
                if callers.len() >= world_size + STRANGERS {
                    callers.remove(0);
                }
                callers.push(Caller { stream, hello: Vec::with_capacity(Hello::SIZE) });
                Ok(true)
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(false),
            // The caller hung up before it was accepted.
            Err(error) if matches!(error.kind(), ErrorKind::ConnectionAborted | ErrorKind::Interrupted) => {
                Ok(true)
            }
            Err(error) => Err(Error::io("accept a peer")(error)),
        }
    }

    /// Takes a caller into the group, or says why not.
    fn judge(&self, hello: &[u8], stream: &TcpStream, peers: &mut [Option<Peer>]) -> Result<(), Refusal> {
        let hello = Hello::decode(hello).ok_or(Refusal::Protocol)?;
        self.membership.admit(&hello.membership)?;
        let rank = hello.rank as usize;
        let place = peers.get_mut(rank).ok_or(Refusal::Rank)?;
        if rank <= self.rank || place.is_some() {
            return Err(Refusal::Rank);
        }
        let stream = stream.try_clone().map_err(|_| Refusal::Rank)?;
        *place = Some(Peer { stream, host: hello.host });
        Ok(())
    }
}

impl Caller {
    fn read(&mut self) -> Arrived {
        read_up_to(&self.stream, &mut self.hello, Hello::SIZE)
    }
}

enum Arrived {
    Some,
    Nothing,
    Closed,
}

/// Appends what has arrived, until there are `size` bytes.
fn read_up_to(stream: &TcpStream, bytes: &mut Vec<u8>, size: usize) -> Arrived {
    let before = bytes.len();
    let outcome = stream.take((size - before) as u64).read_to_end(bytes);
    match outcome {
        Err(error) if error.kind() == ErrorKind::WouldBlock && bytes.len() == before => Arrived::Nothing,
        Err(error) if error.kind() != ErrorKind::WouldBlock => Arrived::Closed,
        _ if bytes.len() == before => Arrived::Closed,
        _ => Arrived::Some,
    }
}

/// The higher ranks that have not joined, if any.
fn missing(peers: &[Option<Peer>], rank: usize) -> Option<Vec<usize>> {
    let missing: Vec<usize> = peers
        .iter()
        .enumerate()
        .skip(rank + 1)
        .filter(|(_, peer)| peer.is_none())
        .map(|(peer, _)| peer)
        .collect();
    (!missing.is_empty()).then_some(missing)
}

fn timeout(peer: usize) -> Error {
    Error::ConnectTimeout { waiting_for: vec![peer] }
}
