//! Collectives between GPUs by NCCL, on the communication stream.
//!
//! A communicator does not block: each call is polled until its work is on the stream, which is before it is done. A
//! collective is ordered after what the compute stream had when it was called; [`Communicator::join`] orders the compute
//! stream after it.
//!
//! No wait for NCCL is for ever, be it here or in the driver: a thread of the communicator watches for an error of NCCL's,
//! a collective that is overdue, and the word that the job has to stop ([`Guard`]), and then aborts it. Whoever has
//! waited for a result asks [`Communicator::check`] before using it.
#![allow(unsafe_code, reason = "calls of NCCL; each block says what makes it sound")]

mod ending;
mod raw;
mod watch;

use std::ops::Range;
use std::sync::Arc;

use cudarc::nccl::result::{self, NcclError, NcclStatus};
use cudarc::nccl::sys;

use super::Error;
use super::device::Device;
use super::launch::Element;
use super::memory::{Buffer, Scalar};
use super::probe;
use super::streams::Streams;
use crate::error::check_shape;
pub use ending::{Ending, STUCK_EXIT_CODE, Stuck};
use raw::Raw;
use watch::Watch;
pub use watch::{Failure, Guard};

/// What the ranks of a communicator have in common; one of them makes it, the coordinator's generation carries it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UniqueId([u8; 128]);

impl UniqueId {
    /// Asks NCCL for a new id.
    ///
    /// # Errors
    /// [`Error::Unavailable`] without NCCL, else NCCL's.
    pub fn new() -> Result<Self, Error> {
        probe::nccl()?;
        let id = result::get_uniqueid()
            .map_err(|error| Error::Nccl { call: "make an id", text: format!("{:?}", error.0) })?;
        Ok(Self(id.internal.map(|byte| byte as u8)))
    }

    /// Returns the bytes, to be sent to the other ranks.
    pub fn to_bytes(self) -> [u8; 128] {
        self.0
    }

    /// Returns the id with those bytes.
    pub fn from_bytes(bytes: [u8; 128]) -> Self {
        Self(bytes)
    }
}

/// One rank's end of a communicator; dropping it gives up what is under way.
#[derive(Debug)]
pub struct Communicator {
    watch: Watch,
    streams: Arc<Streams>,
}

fn data_type(element: Element) -> sys::ncclDataType_t {
    match element {
        Element::Bf16 => sys::ncclDataType_t::ncclBfloat16,
        Element::F32 => sys::ncclDataType_t::ncclFloat32,
        Element::F64 => sys::ncclDataType_t::ncclFloat64,
        Element::U32 => sys::ncclDataType_t::ncclUint32,
        Element::U64 => sys::ncclDataType_t::ncclUint64,
    }
}

impl Communicator {
    /// Joins the communicator of `id` as `rank` of `world_size`; all ranks call it.
    ///
    /// # Errors
    /// [`Error::Unavailable`] without NCCL, [`Error::Communicator`] where the ranks did not meet in time, the job was told
    /// to stop, or NCCL fails.
    pub fn connect(
        device: &Device,
        rank: usize,
        world_size: usize,
        id: UniqueId,
        guard: Guard,
    ) -> Result<Self, Error> {
        probe::nccl()?;
        if rank >= world_size {
            let got = format!("{rank} of {world_size}");
            let (op, what, expected) = ("nccl", "rank", "below the world size");
            return Err(crate::Error::Value { op, what, expected, got }.into());
        }
        let streams = Arc::clone(device.streams());
        streams.bind()?;
        let raw = Raw::join(rank, world_size, id).map_err(|error| {
            let failure = Failure::Nccl { call: "join", text: format!("{:?}", error.0) };
            Error::Communicator { rank, world_size, failure }
        })?;
        let late = Failure::Join { world_size, deadline: guard.deadline };
        let watch = Watch::start(raw, rank, world_size, guard, Arc::clone(&streams));
        watch.watched.settle(&late)?;
        Ok(Self { watch, streams })
    }

    /// Returns this end's rank.
    pub fn rank(&self) -> usize {
        self.watch.watched.rank
    }

    /// Returns the number of ranks.
    pub fn world_size(&self) -> usize {
        self.watch.watched.world_size
    }

    /// Adds up elements `range` of `buffer` over the ranks, in NCCL's order. A part of a buffer is a bucket: it goes out
    /// as soon as the compute stream has made it, while what is launched later goes on.
    ///
    /// # Errors
    /// NCCL's.
    pub fn all_reduce(&mut self, buffer: &mut Buffer<f32>, range: Range<usize>) -> Result<(), Error> {
        self.after_compute(&[&*buffer])?;
        let stream = self.stream();
        let mut whole = buffer.view_mut();
        let bucket = whole.range(range);
        let (address, sum) = (bucket.address(), sys::ncclRedOp_t::ncclSum);
        let kind = data_type(Element::F32);
        self.watch.watched.call("all_reduce", |raw| {
            // SAFETY: the address has `bucket.len()` elements of a buffer that `after_compute` marked: its memory is
            // used again only after the communication stream. `raw` is alive.
            let queued = unsafe {
                let comm = raw.address();
                result::all_reduce(address as _, address as _, bucket.len(), kind, sum, comm, stream)
            };
            queued.map(drop)
        })
    }

    /// Gathers `from` of every rank in `to` `[world_size * from.len()]`, in the order of ranks.
    ///
    /// # Errors
    /// [`crate::Error::Shape`] where lengths do not fit, else NCCL's.
    pub fn all_gather<T: Scalar>(&mut self, from: &Buffer<T>, to: &mut Buffer<T>) -> Result<(), Error> {
        check_shape("all_gather", "length of the result", self.world_size() * from.len(), to.len())?;
        if from.is_empty() {
            return Ok(());
        }
        self.after_compute(&[from, &*to])?;
        let (kind, stream) = (data_type(T::ELEMENT), self.stream());
        let (send, receive) = (from.view().address(), to.view_mut().address());
        self.watch.watched.call("all_gather", |raw| {
            // SAFETY: both addresses have the lengths that NCCL reads and writes (checked above), in buffers that
            // `after_compute` marked; `raw` is alive.
            let queued = unsafe {
                result::all_gather(send as _, receive as _, from.len(), kind, raw.address(), stream)
            };
            queued.map(drop)
        })
    }

    /// Sends `send_counts[r]` elements to each rank r, one rank after the other in `from`, and receives
    /// `receive_counts[r]` from each, one after the other in `to`. Counts may differ and may be 0.
    ///
    /// # Errors
    /// [`crate::Error::Shape`] where lengths do not fit, else NCCL's.
    pub fn all_to_all<T: Scalar>(
        &mut self,
        from: &Buffer<T>,
        send_counts: &[usize],
        to: &mut Buffer<T>,
        receive_counts: &[usize],
    ) -> Result<(), Error> {
        const OP: &str = "all_to_all";
        check_shape(OP, "number of send counts", self.world_size(), send_counts.len())?;
        check_shape(OP, "number of receive counts", self.world_size(), receive_counts.len())?;
        check_shape(OP, "length sent", send_counts.iter().sum(), from.len())?;
        check_shape(OP, "length received", receive_counts.iter().sum(), to.len())?;
        self.after_compute(&[from, &*to])?;
        let parts = Parts {
            send: (from.view().address(), send_counts),
            receive: (to.view_mut().address(), receive_counts),
            kind: data_type(T::ELEMENT),
            bytes: size_of::<T>(),
            stream: self.stream(),
        };
        self.watch.watched.call(OP, |raw| parts.queue(raw))
    }

    /// Makes the compute stream wait for the collectives that were called so far; the host goes on.
    ///
    /// # Errors
    /// The driver's.
    pub fn join(&self) -> Result<(), Error> {
        self.streams.compute_waits_for_communication()
    }

    /// Waits on the host until the collectives that were called so far are done.
    ///
    /// # Errors
    /// [`Error::Communicator`], also of collectives called earlier.
    pub fn wait(&self) -> Result<(), Error> {
        self.streams.bind()?;
        self.watch.watched.wait()
    }

    /// Says whether the communicator is whole. What a collective gave is to be used only where this succeeds after the
    /// wait for it: an abort lets the streams go on.
    ///
    /// # Errors
    /// [`Error::Communicator`] with what ended it.
    pub fn check(&self) -> Result<(), Error> {
        self.watch.watched.check()
    }

    fn stream(&self) -> sys::cudaStream_t {
        self.streams.communication.cu_stream().cast()
    }

    /// Orders the communication stream after the compute stream, and notes that it uses the buffers.
    fn after_compute<T: Scalar>(&self, buffers: &[&Buffer<T>]) -> Result<(), Error> {
        self.check()?;
        self.streams.bind()?;
        buffers.iter().for_each(|buffer| buffer.used_by_communication());
        self.streams.communication_waits_for_compute()
    }
}

/// The parts of an all-to-all: for each side its address and how many elements each rank has there, back to back.
struct Parts<'a> {
    send: (u64, &'a [usize]),
    receive: (u64, &'a [usize]),
    kind: sys::ncclDataType_t,
    /// Of an element.
    bytes: usize,
    stream: sys::cudaStream_t,
}

impl Parts<'_> {
    fn queue(&self, raw: &Raw) -> Result<(), NcclError> {
        let &Self { send: (mut send, sent), receive: (mut receive, received), kind, bytes, stream } = self;
        result::group_start()?;
        let mut all = Ok(NcclStatus::Success);
        for (peer, (&out, &back)) in sent.iter().zip(received).enumerate() {
            // SAFETY: the counts add up to the lengths of buffers that `after_compute` marked (both by the caller), so
            // the addresses stay inside of them; `raw` is alive.
            let queued = unsafe {
                let sending = match out {
                    0 => Ok(NcclStatus::Success),
                    _ => result::send(send as _, out, kind, peer as i32, raw.address(), stream),
                };
                let receiving = match back {
                    0 => Ok(NcclStatus::Success),
                    _ => result::recv(receive as _, back, kind, peer as i32, raw.address(), stream),
                };
                sending.and(receiving)
            };
            all = all.and(queued);
            send += (out * bytes) as u64;
            receive += (back * bytes) as u64;
        }
        // A group that was begun has to end, also after a failure.
        let ended = result::group_end();
        all.and(ended).map(drop)
    }
}
