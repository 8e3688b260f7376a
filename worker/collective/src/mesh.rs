//! Linking every rank with every other: a rank dials the lower ones and listens for the higher ones.
//!
//! A listener answers whoever comes, takes only members of its own group, and goes on listening: a straggler of
//! an older generation or a stranger costs the group nothing but an answer.
//!
//! A pair is linked twice: for data, and by a lifeline that shows whether the other host is there. A peer may come
//! late, but its kernel has to answer: a dialer that is not answered does not wait for the timeout.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Duration;

use rustix::event::PollFlags;

use crate::abort::AbortHandle;
use crate::error::Error;
use crate::handshake::{Hello, Line, Membership, Refusal, Reply};
use crate::host::HostIdentity;
use crate::lifeline::{self, Lifelines};
use crate::wait::{Deadline, ready};

/// Callers that may be in the middle of their hello, beyond the ranks that are expected.
const STRANGERS: usize = 16;
/// Longest wait for the peer's host to answer before the abort is looked at again.
const DIAL_SLICE: Duration = Duration::from_secs(1);
/// How long a host may take to answer when it is only asked whether it is there.
const GLANCE: Duration = Duration::from_millis(250);
/// Wait before a peer that is still in an older generation, or cannot be reached at all, is dialed again.
const REDIAL: Duration = Duration::from_millis(20);

/// What linking needs to know.
pub(crate) struct Mesh<'a> {
    pub(crate) rank: usize,
    pub(crate) membership: Membership,
    pub(crate) host: HostIdentity,
    pub(crate) listener: &'a TcpListener,
    pub(crate) peers: &'a [SocketAddr],
    pub(crate) timeout: Duration,
    /// How long a host may not answer.
    pub(crate) silence: Duration,
    pub(crate) abort: &'a AbortHandle,
}

/// A linked peer.
#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) stream: TcpStream,
    /// There once the peer is linked.
    pub(crate) lifeline: Option<TcpStream>,
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
            let (stream, host) = self.dial(peer, Line::Data, deadline)?;
            lifeline::never_give_up(&stream)?;
            let (lifeline, _) = self.dial(peer, Line::Life, deadline)?;
            *place = Some(Peer { stream, lifeline: Some(lifeline), host });
        }
        self.accept(&mut peers, deadline)?;
        Ok(peers)
    }

    /// Joins a lower rank; dials again while that one is in an older generation.
    fn dial(&self, peer: usize, line: Line, deadline: Deadline) -> Result<(TcpStream, HostIdentity), Error> {
        loop {
            let stream = self.dial_once(peer, deadline)?;
            lifeline::give_up_after(&stream, self.silence)?;
            let reply = self.introduce(peer, line, &stream, deadline)?;
            match reply.verdict {
                Ok(()) => return Ok((stream, reply.host)),
                Err(Refusal::Generation { theirs }) if theirs < self.membership.generation => {}
                Err(refusal) => return Err(Error::Refused { peer, refusal }),
            }
            let left = deadline.remaining().ok_or_else(|| timeout(peer))?;
            self.pause(left)?;
        }
    }

    fn dial_once(&self, peer: usize, deadline: Deadline) -> Result<TcpStream, Error> {
        let address = self.peers[peer];
        let patience = Deadline::after(self.silence);
        loop {
            self.abort.check()?;
            let left = deadline.remaining().ok_or_else(|| timeout(peer))?;
            let Some(answer) = patience.remaining() else { return Err(self.silent(peer)) };
            match TcpStream::connect_timeout(&address, left.min(answer).min(DIAL_SLICE)) {
                Ok(stream) => return Ok(stream),
                Err(error) if is_unanswered(&error) => self.pause(left.min(answer))?,
                Err(source) => return Err(Error::Connect { peer, address, source: Arc::new(source) }),
            }
        }
    }

    /// A moment in which the abort is heard.
    fn pause(&self, left: Duration) -> Result<(), Error> {
        ready(std::iter::empty(), &Lifelines::default(), self.abort, left.min(REDIAL))
    }

    /// The loss of a peer that does not answer, or of this rank where no other host answers either.
    fn silent(&self, peer: usize) -> Error {
        let mut others = (0..self.peers.len()).filter(|&other| other != peer && other != self.rank);
        let answers = |other: usize| match TcpStream::connect_timeout(&self.peers[other], GLANCE) {
            Ok(_) => true,
            Err(error) => !is_unanswered(&error),
        };
        match self.peers.len() > 2 && !others.any(answers) {
            true => Error::CutOff { rank: self.rank },
            false => Error::PeerSilent { rank: peer },
        }
    }

    /// Says hello to a lower rank and waits for its answer.
    fn introduce(
        &self,
        peer: usize,
        line: Line,
        mut stream: &TcpStream,
        deadline: Deadline,
    ) -> Result<Reply, Error> {
        stream.set_nonblocking(true).map_err(Error::io("make a socket non-blocking"))?;
        let membership = self.membership.clone();
        let hello = Hello { rank: self.rank as u32, line, membership, host: self.host };
        // A hello is far smaller than the empty send buffer of a new socket.
        if stream.write_all(&hello.encode()).is_err() {
            return Err(Error::PeerLost { rank: peer });
        }
        let mut wire = Vec::with_capacity(Reply::SIZE);
        while wire.len() < Reply::SIZE {
            match read_up_to(stream, &mut wire, Reply::SIZE) {
                Arrived::Closed => return Err(Error::PeerLost { rank: peer }),
                Arrived::Silence => return Err(self.silent(peer)),
                Arrived::Some => continue,
                Arrived::Nothing => {}
            }
            let left = deadline.remaining().ok_or_else(|| timeout(peer))?;
            let socket = std::iter::once((&stream as &dyn AsFd, PollFlags::IN));
            ready(socket, &Lifelines::default(), self.abort, left)?;
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
                if matches!(arrived, Arrived::Closed | Arrived::Silence) || caller.hello.len() == Hello::SIZE
                {
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
            ready(sockets.chain(listener), &Lifelines::default(), self.abort, left)?;
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
        let place = peers.get_mut(rank).filter(|_| rank > self.rank).ok_or(Refusal::Rank)?;
        let stream = stream.try_clone().map_err(|_| Refusal::Rank)?;
        match (hello.line, place) {
            (Line::Data, place @ None) => *place = Some(Peer { stream, lifeline: None, host: hello.host }),
            (Line::Life, Some(Peer { lifeline: lifeline @ None, .. })) => *lifeline = Some(stream),
            (Line::Data | Line::Life, _) => return Err(Refusal::Rank),
        }
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
    /// The other host does not answer.
    Silence,
}

/// Appends what has arrived, until there are `size` bytes.
fn read_up_to(stream: &TcpStream, bytes: &mut Vec<u8>, size: usize) -> Arrived {
    let before = bytes.len();
    let outcome = stream.take((size - before) as u64).read_to_end(bytes);
    match outcome {
        Err(error) if error.kind() == ErrorKind::WouldBlock && bytes.len() == before => Arrived::Nothing,
        Err(error) if lifeline::is_silence(error.kind()) => Arrived::Silence,
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
        .filter(|(_, peer)| peer.as_ref().is_none_or(|peer| peer.lifeline.is_none()))
        .map(|(peer, _)| peer)
        .collect();
    (!missing.is_empty()).then_some(missing)
}

/// Whether a dial failed because nothing came back, now or any more. A host that knows no way fails at once, with
/// EINVAL where the way leads into a black hole.
fn is_unanswered(error: &std::io::Error) -> bool {
    lifeline::is_silence(error.kind()) || error.kind() == ErrorKind::InvalidInput
}

fn timeout(peer: usize) -> Error {
    Error::ConnectTimeout { waiting_for: vec![peer] }
}
