//! The last resort where NCCL does not let go: the process ends, so that its supervisor can start it anew.
#![allow(unsafe_code, reason = "the process ends without its exit handlers")]

use std::fmt;
use std::io::Write;
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread;
use std::time::Duration;

use super::Failure;

/// The exit code of a process that ended itself because NCCL hung in an abort.
pub const STUCK_EXIT_CODE: i32 = 75;

/// What an [`Ending`] is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stuck {
    /// This rank.
    pub rank: usize,
    /// How many ranks there are.
    pub world_size: usize,
    /// How long the abort was given.
    pub patience: Duration,
    /// Why the communicator was aborted; none where it was merely given up.
    pub cause: Option<Failure>,
}

impl fmt::Display for Stuck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { rank, world_size, patience, cause } = self;
        write!(f, "NCCL of rank {rank} of {world_size} did not abort within {patience:?}")?;
        cause.iter().try_for_each(|cause| write!(f, " (aborted because: {cause})"))
    }
}

/// How a process ends that NCCL does not let go of.
#[derive(Clone)]
pub struct Ending(Arc<dyn Fn(&Stuck) + Send + Sync>);

impl fmt::Debug for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Ending(..)")
    }
}

impl Ending {
    /// One that writes a line and leaves with [`STUCK_EXIT_CODE`].
    pub fn leave() -> Self {
        Self::after(|stuck| {
            // Where the line goes is the supervisor's; that it cannot be written changes nothing.
            let _ = writeln!(std::io::stderr(), "{stuck}; the process ends with exit code {STUCK_EXIT_CODE}");
        })
    }

    /// As [`Ending::leave`], with `say` in the place of the line.
    pub fn after(say: impl Fn(&Stuck) + Send + Sync + 'static) -> Self {
        Self::with(move |stuck| {
            say(stuck);
            // SAFETY: `_exit` has no preconditions. Exit handlers do not run: those of a driver that hangs would hang.
            unsafe { libc::_exit(STUCK_EXIT_CODE) }
        })
    }

    /// One that does what is given. If it returns, the abort is given as long again, and then left behind in its thread.
    pub fn with(end: impl Fn(&Stuck) + Send + Sync + 'static) -> Self {
        Self(Arc::new(end))
    }
}

/// Watches over an abort: unless dropped within the patience, the ending is called.
#[derive(Debug)]
pub(super) struct Sentinel(Option<Sender<()>>);

impl Sentinel {
    /// Begins to watch; `called` gets a message where an ending returned and the abort still hangs.
    pub(super) fn start(ending: &Ending, stuck: Stuck, called: Sender<()>) -> Self {
        let (done, watch) = mpsc::channel::<()>();
        let ending = ending.clone();
        thread::spawn(move || {
            let late = || watch.recv_timeout(stuck.patience) == Err(RecvTimeoutError::Timeout);
            if late() {
                (ending.0)(&stuck);
                // An ending that returns gives the abort as long again; nobody listens where nobody waits for it.
                if late() {
                    let _ = called.send(());
                }
            }
        });
        Self(Some(done))
    }
}

impl Drop for Sentinel {
    fn drop(&mut self) {
        drop(self.0.take());
    }
}
