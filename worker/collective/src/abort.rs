//! Stopping a rank's collectives from another thread.
//!
//! An abort is a flag that every wait checks and a socket that every poll watches. It also shuts the links
//! down, so that peers which wait for this rank fail at once instead of at their timeout.

use std::io::Write;
use std::net::{Shutdown, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use crate::error::Error;

/// Ends every pending and later collective of one rank.
///
/// An abort is for good: the next generation's group gets a handle of its own.
#[derive(Debug, Clone)]
pub struct AbortHandle {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    reason: OnceLock<String>,
    /// Becomes readable with the abort and stays so.
    alarm: UnixStream,
    bell: UnixStream,
    targets: Mutex<Vec<Target>>,
    beats: AtomicU64,
}

/// What an abort closes.
#[derive(Debug)]
pub(crate) enum Target {
    /// A link to a peer.
    Link(TcpStream),
    /// Memory on which this rank may sleep.
    #[cfg(target_os = "linux")]
    Region(Arc<crate::shm::Region>),
}

impl Target {
    fn close(&self) {
        match self {
            // A link that is closed already needs no closing.
            Self::Link(stream) => drop(stream.shutdown(Shutdown::Both)),
            #[cfg(target_os = "linux")]
            Self::Region(region) => region.wake_all(),
        }
    }
}

impl AbortHandle {
    /// Makes a handle that is not tied to a group yet; [`crate::Config`] takes it.
    ///
    /// # Errors
    /// The operating system is out of file descriptors.
    pub fn new() -> Result<Self, Error> {
        let (alarm, bell) = UnixStream::pair().map_err(Error::io("make a socket pair"))?;
        let (reason, targets, beats) = Default::default();
        let shared = Shared { reason, alarm, bell, targets, beats };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// Aborts: pending and later calls on this rank return [`Error::Aborted`], and peers lose their links.
    ///
    /// The first reason stands; a second call changes nothing.
    pub fn abort(&self, reason: &str) {
        if self.shared.reason.set(reason.to_owned()).is_err() {
            return;
        }
        // One byte in an empty socket buffer cannot fail or block.
        drop((&self.shared.bell).write_all(&[1]));
        for target in self.targets().drain(..) {
            target.close();
        }
    }

    /// The reason, once aborted.
    pub fn reason(&self) -> Option<&str> {
        self.shared.reason.get().map(String::as_str)
    }

    /// Notes that the rank lives. Each collective does; what takes long without one does it on its own.
    pub fn beat(&self) {
        self.shared.beats.fetch_add(1, Ordering::Relaxed);
    }

    /// How often the rank has said that it lives: whoever sees the same number for long may take it for hung.
    #[must_use]
    pub fn beats(&self) -> u64 {
        self.shared.beats.load(Ordering::Relaxed)
    }

    /// # Errors
    /// [`Error::Aborted`], once aborted.
    pub(crate) fn check(&self) -> Result<(), Error> {
        match self.reason() {
            Some(reason) => Err(Error::Aborted { reason: reason.to_owned() }),
            None => Ok(()),
        }
    }

    /// A file descriptor that becomes readable with the abort.
    pub(crate) fn alarm(&self) -> BorrowedFd<'_> {
        self.shared.alarm.as_fd()
    }

    /// Adds what the abort closes; closes it at once where the abort came first.
    pub(crate) fn register(&self, target: Target) {
        let mut targets = self.targets();
        if self.reason().is_some() {
            target.close();
        } else {
            targets.push(target);
        }
    }

    /// Forgets the group's targets; called when the group ends.
    pub(crate) fn release(&self) {
        self.targets().clear();
    }

    fn targets(&self) -> std::sync::MutexGuard<'_, Vec<Target>> {
        // The list is only pushed to and drained, so a panic elsewhere leaves it usable.
        self.shared.targets.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
