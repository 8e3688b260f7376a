//! Waiting on sockets with a deadline and an abort.

use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::abort::AbortHandle;
use crate::error::Error;
use crate::lifeline::Lifelines;

/// When a wait gives up; moves on with every bit of progress.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Deadline {
    timeout: Duration,
    at: Instant,
}

impl Deadline {
    pub(crate) fn after(timeout: Duration) -> Self {
        Self { timeout, at: Instant::now() + timeout }
    }

    /// Starts the wait over, since something arrived.
    pub(crate) fn extend(&mut self) {
        self.at = Instant::now() + self.timeout;
    }

    /// What is left, or nothing once passed.
    pub(crate) fn remaining(&self) -> Option<Duration> {
        self.at.checked_duration_since(Instant::now()).filter(|left| !left.is_zero())
    }
}

/// Waits until one of the sockets is ready, a lifeline has something to tell, or for `limit`.
///
/// # Errors
/// [`Error::Aborted`] as soon as the handle is; [`Error::Io`] where the system call fails.
pub(crate) fn ready<'fd>(
    sockets: impl Iterator<Item = (&'fd dyn AsFd, PollFlags)>,
    lifelines: &Lifelines,
    abort: &AbortHandle,
    limit: Duration,
) -> Result<(), Error> {
    let alarm = abort.alarm();
    let mut fds: Vec<PollFd<'_>> =
        sockets.map(|(socket, flags)| PollFd::from_borrowed_fd(socket.as_fd(), flags)).collect();
    fds.push(PollFd::new(&alarm, PollFlags::IN));
    let first_lifeline = fds.len();
    // Nothing is asked of them, so that a peer that closes in order wakes nobody; errors are always reported.
    let open = lifelines.sockets();
    fds.extend(open.map(|socket| PollFd::from_borrowed_fd(socket.as_fd(), PollFlags::empty())));
    // A limit too long for the system call is as good as the longest it takes.
    let limit = Timespec::try_from(limit).unwrap_or(Timespec { tv_sec: i32::MAX.into(), tv_nsec: 0 });
    match poll(&mut fds, Some(&limit)) {
        Ok(_) | Err(rustix::io::Errno::INTR) => {
            if fds[first_lifeline..].iter().any(|fd| !fd.revents().is_empty()) {
                lifelines.look();
            }
            abort.check()
        }
        Err(error) => Err(Error::io("poll sockets")(error)),
    }
}
