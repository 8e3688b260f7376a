//! Noticing a peer whose host has gone silent: no close, no reset, nothing.
//!
//! A pair of ranks has a second connection that never carries a byte, the lifeline. The kernels at both ends ask
//! each other over it, by TCP keepalive, whether anybody is there; so a rank that computes for an hour, or does not
//! read what it is sent, is never taken for lost, and a host that is down or cut off is, by both ends and in either
//! direction, since a question that arrives and an answer that does not are a silence too.
//!
//! The data's own connection cannot tell. Keepalive asks nothing while data is unacknowledged; `TCP_USER_TIMEOUT`
//! also cuts a peer that does not read, though its kernel answers; and while a peer's window is closed, the time of
//! its last acknowledgement says nothing, as the kernel asks ever more rarely, up to two minutes apart.

use std::cell::Cell;
use std::io::ErrorKind;
use std::net::TcpStream;
use std::os::fd::AsFd;
use std::time::Duration;

use rustix::net::sockopt;

use crate::error::Error;

/// Keepalive is set in whole seconds.
const SECOND: Duration = Duration::from_secs(1);

/// How often a silent peer is asked, and how often in vain.
///
/// The first question comes `every` after the last answer, and after `count` of them without one the peer is lost:
/// `every * (count + 1)` is at most the silence that is allowed, or two seconds where that is less.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Questions {
    every: Duration,
    count: u32,
}

impl Questions {
    /// Some ten questions, so that a lost packet is no lost peer where there is time for more than one.
    fn within(silence: Duration) -> Self {
        let every = (silence.as_secs() / 10).max(1);
        let count = (silence.as_secs() / every).saturating_sub(1).clamp(1, 127);
        Self { every: SECOND * every as u32, count: count as u32 }
    }
}

/// Has the kernel give a connection up whose other end is silent for that long.
///
/// # Errors
/// The system does not take the options.
pub(crate) fn give_up_after(stream: &TcpStream, silence: Duration) -> Result<(), Error> {
    let Questions { every, count } = Questions::within(silence);
    sockopt::set_tcp_keepidle(stream, every)
        .and_then(|()| sockopt::set_tcp_keepintvl(stream, every))
        .and_then(|()| sockopt::set_tcp_keepcnt(stream, count))
        .and_then(|()| sockopt::set_socket_keepalive(stream, true))
        .map_err(Error::io("set TCP keepalive"))?;
    set_user_timeout(stream, every * (count + 1))
}

/// Takes that back, for a connection that will carry data.
///
/// # Errors
/// The system does not take the options.
pub(crate) fn never_give_up(stream: &TcpStream) -> Result<(), Error> {
    sockopt::set_socket_keepalive(stream, false).map_err(Error::io("set TCP keepalive"))?;
    set_user_timeout(stream, Duration::ZERO)
}

/// Bounds how long the few bytes of a handshake may be unacknowledged, where the system can.
fn set_user_timeout(stream: &TcpStream, limit: Duration) -> Result<(), Error> {
    #[cfg(target_os = "linux")]
    sockopt::set_tcp_user_timeout(stream, limit.as_millis() as u32)
        .map_err(Error::io("set TCP_USER_TIMEOUT"))?;
    #[cfg(not(target_os = "linux"))]
    let _ = (stream, limit);
    Ok(())
}

/// Whether an error of a connection says that nobody answered; a reset is an answer.
pub(crate) fn is_silence(kind: ErrorKind) -> bool {
    use ErrorKind as E;
    matches!(kind, E::TimedOut | E::HostUnreachable | E::NetworkUnreachable | E::NetworkDown)
}

/// What is known of a peer's host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Answers,
    Silent,
    /// The peer closed the lifeline, or its kernel does not know it any more: the data's link tells the rest.
    Closed,
}

/// The connection to one peer that carries nothing.
#[derive(Debug)]
pub(crate) struct Lifeline {
    stream: TcpStream,
    state: Cell<State>,
}

impl Lifeline {
    /// Watches a connected socket; its peer's host may be silent for so long.
    ///
    /// # Errors
    /// The system does not take the socket's options.
    pub(crate) fn new(stream: TcpStream, silence: Duration) -> Result<Self, Error> {
        stream.set_nonblocking(true).map_err(Error::io("make a socket non-blocking"))?;
        give_up_after(&stream, silence)?;
        Ok(Self { stream, state: Cell::new(State::Answers) })
    }

    /// Looks what the kernel has found out.
    fn look(&self) {
        if self.state.get() != State::Answers {
            return;
        }
        match self.stream.take_error() {
            Ok(None) => {}
            Ok(Some(error)) if !is_silence(error.kind()) => self.state.set(State::Closed),
            Ok(Some(_)) | Err(_) => self.state.set(State::Silent),
        }
    }
}

/// The lifelines to all peers, by rank; this rank's own place is empty.
#[derive(Debug, Default)]
pub(crate) struct Lifelines(pub(crate) Vec<Option<Lifeline>>);

impl Lifelines {
    /// The sockets that still have something to tell.
    pub(crate) fn sockets(&self) -> impl Iterator<Item = &dyn AsFd> {
        let open = |line: &&Lifeline| line.state.get() == State::Answers;
        self.0.iter().flatten().filter(open).map(|line| &line.stream as &dyn AsFd)
    }

    /// Looks at all of them; called when one of their sockets was reported.
    pub(crate) fn look(&self) {
        self.0.iter().flatten().for_each(Lifeline::look);
    }

    /// Whether a peer's host is known to be silent; asks the kernel.
    pub(crate) fn look_at(&self, peer: usize) -> bool {
        let line = self.0.get(peer).and_then(Option::as_ref);
        line.inspect(|line| line.look()).is_some_and(|line| line.state.get() == State::Silent)
    }

    /// Whether a peer's host was found to be silent.
    pub(crate) fn is_silent(&self, peer: usize) -> bool {
        self.0[peer].as_ref().is_some_and(|line| line.state.get() == State::Silent)
    }

    /// Whether there are several peers and all of them are silent, which is more likely this rank's doing.
    pub(crate) fn are_all_silent(&self) -> bool {
        let mut lines = self.0.iter().flatten();
        self.0.len() > 2 && lines.all(|line| line.state.get() == State::Silent)
    }

    /// The loss of a silent peer, or of this rank where it hears nobody.
    pub(crate) fn loss(&self, rank: usize, peer: usize) -> Error {
        if self.are_all_silent() { Error::CutOff { rank } } else { Error::PeerSilent { rank: peer } }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn questions_end_within_the_silence_allowed_and_leave_room_for_lost_packets() {
        for seconds in 2..=600 {
            let silence = Duration::from_secs(seconds);
            let Questions { every, count } = Questions::within(silence);
            assert!(every * (count + 1) <= silence, "{silence:?}: {every:?}, {count}");
            assert!(every * (count + 2) > silence, "{silence:?} is made use of: {every:?}, {count}");
        }
        assert_eq!(Questions::within(SECOND * 10), Questions { every: SECOND, count: 9 });
        assert_eq!(Questions::within(SECOND / 2), Questions { every: SECOND, count: 1 });
    }

    #[test]
    fn a_reset_is_an_answer_and_an_unreachable_host_is_not() {
        assert!(!is_silence(ErrorKind::ConnectionReset) && !is_silence(ErrorKind::BrokenPipe));
        assert!(is_silence(ErrorKind::TimedOut) && is_silence(ErrorKind::HostUnreachable));
    }
}
