//! What waits to be written, with its bound.
//!
//! Whoever wants in takes room for its bytes first, before it reads them where their number is known. The room is given back when
//! the events are answered for, so that the bound covers what is read, what waits and what is being written.

use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender};
use std::time::Instant;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, TryAcquireError, oneshot};

use crate::metrics::Metrics;
use crate::schema::Checked;

/// What a request costs at least, for what it takes besides its bytes.
const LEAST: usize = 512;

/// Why nothing of a request is taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refused {
    /// There is no room.
    #[error("the queue is full: send the same again in a second")]
    Full,
    /// The disk does not take it.
    #[error("events cannot be written ({what}), none of these was taken: send the same again later")]
    Unwritable { what: String },
    /// The process is about to end.
    #[error("the process is ending: send the same again to the next one")]
    Ending,
}

/// What became of events that reached the disk.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Kept {
    pub(crate) accepted: u64,
    pub(crate) duplicates: u64,
}

/// Events of one request, to be written together.
#[derive(Debug)]
pub(crate) struct Submission {
    pub(crate) events: Vec<Checked>,
    pub(crate) done: oneshot::Sender<Result<Kept, Refused>>,
    _room: OwnedSemaphorePermit,
}

impl Submission {
    /// The way to who waits for the answer; what the events took is given back.
    pub(crate) fn into_answer(self) -> oneshot::Sender<Result<Kept, Refused>> {
        self.done
    }
}

/// What the writer is sent.
#[derive(Debug)]
pub(crate) enum Message {
    Write(Submission),
    /// Write what came before, and end.
    Stop,
}

/// Room in the queue.
#[derive(Debug)]
pub(crate) struct Room(OwnedSemaphorePermit);

/// The way to the writer.
#[derive(Debug, Clone)]
pub(crate) struct Queue {
    // Unbounded as a channel: each message holds room, so there are at most `capacity / LEAST`.
    sender: Sender<Message>,
    room: Arc<Semaphore>,
    capacity: usize,
    metrics: Arc<Metrics>,
}

impl Queue {
    /// A queue for `capacity` bytes.
    pub(crate) fn new(capacity: usize, metrics: Arc<Metrics>) -> (Self, Receiver<Message>) {
        let (sender, receiver) = mpsc::channel();
        let room = Arc::new(Semaphore::new(capacity));
        (Self { sender, room, capacity, metrics }, receiver)
    }

    fn permits(&self, bytes: usize) -> u32 {
        bytes.clamp(LEAST.min(self.capacity), self.capacity) as u32
    }

    /// Takes room for a request of `bytes`, now or not at all.
    pub(crate) fn try_room(&self, bytes: usize) -> Result<Room, Refused> {
        match Arc::clone(&self.room).try_acquire_many_owned(self.permits(bytes)) {
            Ok(permit) => Ok(Room(permit)),
            Err(TryAcquireError::NoPermits) => Err(Refused::Full),
            Err(TryAcquireError::Closed) => Err(Refused::Ending),
        }
    }

    /// Waits for room.
    pub(crate) async fn room(&self, bytes: usize) -> Result<Room, Refused> {
        let permit = Arc::clone(&self.room).acquire_many_owned(self.permits(bytes)).await;
        permit.map(Room).map_err(|_| Refused::Ending)
    }

    /// Hands events over; what becomes of them is told by the one that is returned.
    pub(crate) fn submit(&self, room: Room, events: Vec<Checked>) -> Result<Pending, Refused> {
        let (done, answer) = oneshot::channel();
        let message = Message::Write(Submission { events, done, _room: room.0 });
        self.sender.send(message).map_err(|_| Refused::Ending)?;
        Ok(Pending { answer, since: Instant::now(), metrics: Arc::clone(&self.metrics) })
    }

    /// Bytes that are taken.
    pub(crate) fn used(&self) -> usize {
        self.capacity - self.room.available_permits().min(self.capacity)
    }

    /// Lets nobody in any more, and has the writer end once it wrote what came before.
    pub(crate) fn stop(&self) {
        self.room.close();
        // A writer that is gone need not be told.
        let _ = self.sender.send(Message::Stop);
    }
}

/// Events on their way to the disk.
#[derive(Debug)]
pub(crate) struct Pending {
    answer: oneshot::Receiver<Result<Kept, Refused>>,
    since: Instant,
    metrics: Arc<Metrics>,
}

impl Pending {
    /// Waits until the events are on disk.
    pub(crate) async fn kept(self) -> Result<Kept, Refused> {
        // A writer that ends drops what it cannot write any more.
        let kept = self.answer.await.unwrap_or(Err(Refused::Ending))?;
        self.metrics.acknowledged(self.since.elapsed());
        Ok(kept)
    }
}
