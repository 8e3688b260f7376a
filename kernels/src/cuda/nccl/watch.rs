//! The thread that watches a communicator, so that no wait for NCCL is for ever.
//!
//! Wherever the ranks' threads wait, on the host or in the driver for a stream, this one asks every few milliseconds
//! whether the job was told to stop, whether NCCL has an error, and whether a collective is overdue. The first of these
//! becomes the communicator's [`Failure`] and aborts it; NCCL's kernels then leave the stream, so waits in the driver end
//! as well. The results of an aborted communicator are worthless: whoever waited asks [`Watched::check`] before use.

use std::collections::VecDeque;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use cudarc::driver::CudaEvent;
use cudarc::nccl::result::NcclError;

use super::ending::{Ending, Sentinel, Stuck};
use super::raw::Raw;
use crate::cuda::Error;
use crate::cuda::streams::{Streams, mark};

/// How long a thread that waits lets go of the processor.
pub(super) const POLL: Duration = Duration::from_micros(200);
/// How often the watching thread looks.
const LOOK: Duration = Duration::from_millis(2);
/// Collectives that may be under way; the host waits before it calls more.
const MOST_PENDING: usize = 1024;

/// Why a communicator ended.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// Ranks were missing.
    #[error(
        "the {world_size} ranks did not all join within {deadline:?}; look for one that did not start or cannot be reached"
    )]
    Join {
        /// How many ranks there are.
        world_size: usize,
        /// How long they had.
        deadline: Duration,
    },
    /// The job was told to stop.
    #[error("aborted: {reason}")]
    Cancelled {
        /// Why.
        reason: String,
    },
    /// NCCL refused a call, or lost a peer.
    #[error("{call} failed: {text}; NCCL_DEBUG=WARN in the workers' environment has NCCL say why")]
    Nccl {
        /// What was being done.
        call: &'static str,
        /// NCCL's status.
        text: String,
    },
    /// A collective was not done in time.
    #[error("{call} was not done within {deadline:?}; look for a rank that is stuck or gone")]
    Deadline {
        /// What was waited for.
        call: &'static str,
        /// How long it had.
        deadline: Duration,
    },
}

/// What bounds the waits of a communicator.
#[derive(Clone)]
pub struct Guard {
    /// How long the ranks may take to join, and a collective to be done once its turn on the stream has come.
    pub deadline: Duration,
    /// Says why the job was told to stop, once it was; asked every few milliseconds.
    pub cancelled: Arc<dyn Fn() -> Option<String> + Send + Sync>,
    /// How long NCCL may take to abort.
    pub patience: Duration,
    /// What is done where it takes longer.
    pub ending: Ending,
}

impl Guard {
    /// Deadlines of that length, without a way to cancel; a process that NCCL does not let go of ends.
    pub fn within(deadline: Duration) -> Self {
        let cancelled = Arc::new(|| None);
        Self { deadline, cancelled, patience: deadline, ending: Ending::leave() }
    }
}

impl fmt::Debug for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { deadline, patience, .. } = self;
        f.debug_struct("Guard")
            .field("deadline", deadline)
            .field("patience", patience)
            .finish_non_exhaustive()
    }
}

/// A collective that was called and not yet seen done.
#[derive(Debug)]
struct Pending {
    call: &'static str,
    /// What comes before it on the stream is done.
    turn: CudaEvent,
    done: CudaEvent,
    /// When its turn was first seen.
    since: Option<Instant>,
}

/// A communicator with what its watch needs.
#[derive(Debug)]
pub(super) struct Watched {
    pub(super) rank: usize,
    pub(super) world_size: usize,
    guard: Guard,
    streams: Arc<Streams>,
    /// None once aborted.
    raw: Mutex<Option<Raw>>,
    pending: Mutex<VecDeque<Pending>>,
    failure: OnceLock<Failure>,
    retired: AtomicBool,
    /// Tells [`Watch`]'s drop that the watching thread, or an ending, is through.
    over: Sender<()>,
}

// A panic elsewhere leaves what these locks hold whole: each section takes or puts whole values.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Watched {
    /// # Errors
    /// What ended the communicator, if anything did.
    pub(super) fn check(&self) -> Result<(), Error> {
        let (rank, world_size) = (self.rank, self.world_size);
        match self.failure.get() {
            Some(failure) => Err(Error::Communicator { rank, world_size, failure: failure.clone() }),
            None => Ok(()),
        }
    }

    /// Calls NCCL and waits until the work is on the stream, which is before it is done.
    pub(super) fn call(
        &self,
        call: &'static str,
        queue: impl FnOnce(&Raw) -> Result<(), NcclError>,
    ) -> Result<(), Error> {
        while lock(&self.pending).len() >= MOST_PENDING {
            self.look();
            self.check()?;
            thread::park_timeout(POLL);
        }
        let mark = || mark(&self.streams.communication);
        let turn = mark()?;
        let queued = match &*lock(&self.raw) {
            Some(raw) => queue(raw),
            None => return self.check(),
        };
        if let Err(error) = queued {
            self.fail(nccl_failure(call, &error));
        }
        self.settle(&Failure::Deadline { call, deadline: self.guard.deadline })?;
        lock(&self.pending).push_back(Pending { call, turn, done: mark()?, since: None });
        Ok(())
    }

    /// Waits until NCCL is through with earlier calls; `late` is what it means if it takes too long.
    pub(super) fn settle(&self, late: &Failure) -> Result<(), Error> {
        let start = Instant::now();
        loop {
            self.check()?;
            let settled = lock(&self.raw).as_ref().map(Raw::is_settled);
            match settled {
                Some(Ok(true)) => return self.check(),
                Some(Err(error)) => self.fail(nccl_failure(self.call_under_way(), &error)),
                _ if start.elapsed() > self.guard.deadline => self.fail(late.clone()),
                _ => thread::park_timeout(POLL),
            }
        }
    }

    /// Waits on the host until the collectives that were called so far are done.
    pub(super) fn wait(&self) -> Result<(), Error> {
        loop {
            self.look();
            self.check()?;
            if lock(&self.pending).is_empty() {
                return Ok(());
            }
            thread::park_timeout(POLL);
        }
    }

    /// Ends the communicator where there is a reason to.
    fn look(&self) {
        if self.failure.get().is_none()
            && let Some(failure) = self.reason_to_end()
        {
            self.fail(failure);
        }
    }

    fn reason_to_end(&self) -> Option<Failure> {
        if let Some(reason) = (self.guard.cancelled)() {
            return Some(Failure::Cancelled { reason });
        }
        // Where another thread is in a call, the next look asks.
        if let Ok(raw) = self.raw.try_lock()
            && let Some(Err(error)) = raw.as_ref().map(Raw::is_settled)
        {
            drop(raw);
            return Some(nccl_failure(self.call_under_way(), &error));
        }
        self.overdue()
    }

    /// Forgets the collectives that are done; returns what it means if the next one should be.
    fn overdue(&self) -> Option<Failure> {
        let mut pending = lock(&self.pending);
        while let Some(next) = pending.front_mut() {
            // An event that cannot be asked for is of a device that failed: whoever waits for it is told so there.
            if next.done.try_is_complete().unwrap_or(true) {
                pending.pop_front();
                continue;
            }
            if next.since.is_none() && next.turn.try_is_complete().unwrap_or(true) {
                next.since = Some(Instant::now());
            }
            let (call, deadline) = (next.call, self.guard.deadline);
            let late = next.since.is_some_and(|since| since.elapsed() > deadline);
            return late.then_some(Failure::Deadline { call, deadline });
        }
        None
    }

    fn call_under_way(&self) -> &'static str {
        lock(&self.pending).front().map_or("join", |pending| pending.call)
    }

    /// Aborts because of `failure`, unless there was one before. Where the job was told to stop, that is why: a peer's
    /// abort for the same reason may show here first.
    fn fail(&self, failure: Failure) {
        let told = (self.guard.cancelled)().map(|reason| Failure::Cancelled { reason });
        let failure = told.unwrap_or(failure);
        if self.failure.set(failure).is_ok() {
            self.abort();
        }
    }

    /// Aborts, if nobody has; where that takes too long, the guard's ending is called.
    fn abort(&self) {
        let Guard { patience, ending, .. } = &self.guard;
        let stuck = Stuck {
            rank: self.rank,
            world_size: self.world_size,
            patience: *patience,
            cause: self.failure.get().cloned(),
        };
        let sentinel = Sentinel::start(ending, stuck, self.over.clone());
        // The lock is held by a call at most for as long as NCCL takes to accept it; the sentinel bounds that too.
        let raw = lock(&self.raw).take();
        // What NCCL says about an abort is of no use: the communicator is gone either way.
        let _ = raw.map(Raw::abort);
        drop(sentinel);
    }
}

fn nccl_failure(call: &'static str, error: &NcclError) -> Failure {
    Failure::Nccl { call, text: format!("{:?}", error.0) }
}

/// The watching thread of a communicator; dropping this ends both.
#[derive(Debug)]
pub(super) struct Watch {
    pub(super) watched: Arc<Watched>,
    thread: thread::Thread,
    over: Mutex<Receiver<()>>,
}

impl Watch {
    /// Begins to watch.
    pub(super) fn start(
        raw: Raw,
        rank: usize,
        world_size: usize,
        guard: Guard,
        streams: Arc<Streams>,
    ) -> Self {
        let (over, told) = mpsc::channel();
        let watched = Arc::new(Watched {
            rank,
            world_size,
            guard,
            streams,
            raw: Mutex::new(Some(raw)),
            pending: Mutex::default(),
            failure: OnceLock::new(),
            retired: AtomicBool::new(false),
            over,
        });
        let seen = Arc::clone(&watched);
        let thread = thread::spawn(move || {
            while !seen.retired.load(Ordering::Acquire) && seen.failure.get().is_none() {
                if seen.streams.bind().is_ok() {
                    seen.look();
                }
                thread::park_timeout(LOOK);
            }
            seen.abort();
            // What it holds of the device goes before the owner is told.
            lock(&seen.pending).clear();
            let over = seen.over.clone();
            drop(seen);
            let _ = over.send(());
        });
        Self { watched, thread: thread.thread().clone(), over: Mutex::new(told) }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.watched.retired.store(true, Ordering::Release);
        self.thread.unpark();
        // The thread gives up the communicator, whose work on the stream nobody needs any more, and then says so. Where
        // NCCL hangs in that, the sentinel's ending says so, if it returns at all.
        let _ = lock(&self.over).recv();
    }
}
