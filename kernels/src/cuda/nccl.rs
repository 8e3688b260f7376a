//! Collectives between GPUs by NCCL, on the communication stream.
//!
//! A communicator does not block: each call is polled, under the deadline given at the start, until its work is on the
//! stream, which is before it is done. A collective is ordered after what the compute stream had when it was called; [`Communicator::join`] orders the compute
//! stream after it. A peer that is gone shows in [`Communicator::wait`], as NCCL's error or as a deadline, and then
//! [`Communicator::abort`] ends the communicator.
#![allow(unsafe_code, reason = "calls of NCCL; each block says what makes it sound")]

use std::ops::Range;
use std::sync::Arc;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use cudarc::nccl::result::{self, NcclError, NcclStatus};
use cudarc::nccl::sys;

use super::Error;
use super::device::Device;
use super::launch::Element;
use super::memory::{Buffer, Scalar};
use super::probe;
use super::streams::Streams;
use crate::error::check_shape;

/// How long a poll lets go of the processor.
const POLL: Duration = Duration::from_micros(200);
/// Says that an integer of NCCL's settings is left to NCCL.
const UNDEFINED: i32 = i32::MIN;
/// What NCCL's settings begin with.
const MAGIC: u32 = 0xcafe_beef;
/// NCCL 2.18, the first version whose settings all of our supported ones take.
const SETTINGS_VERSION: u32 = 21_800;

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
        let id = result::get_uniqueid().map_err(failed("make an id"))?;
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

/// One rank's end of a communicator.
#[derive(Debug)]
pub struct Communicator {
    /// Null once aborted.
    comm: sys::ncclComm_t,
    rank: usize,
    world_size: usize,
    /// How long a call may take until its work is on the stream.
    deadline: Duration,
    streams: Arc<Streams>,
}

// SAFETY: NCCL allows a communicator to be used from any thread, one at a time; `Communicator` is not `Sync`.
unsafe impl Send for Communicator {}

fn failed(call: &'static str) -> impl FnOnce(NcclError) -> Error {
    move |error| Error::Nccl { call, text: format!("{:?}", error.0) }
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

/// Settings that leave everything to NCCL, but that calls do not block.
fn settings() -> sys::ncclConfig_t {
    sys::ncclConfig_t {
        size: size_of::<sys::ncclConfig_t>(),
        magic: MAGIC,
        version: SETTINGS_VERSION,
        blocking: 0,
        cgaClusterSize: UNDEFINED,
        minCTAs: UNDEFINED,
        maxCTAs: UNDEFINED,
        netName: std::ptr::null(),
        splitShare: UNDEFINED,
        trafficClass: UNDEFINED,
        commName: std::ptr::null(),
        collnetEnable: UNDEFINED,
        CTAPolicy: UNDEFINED,
        shrinkShare: UNDEFINED,
        nvlsCTAs: UNDEFINED,
        nChannelsPerNetPeer: UNDEFINED,
        nvlinkCentricSched: UNDEFINED,
        graphUsageMode: UNDEFINED,
        numRmaCtx: UNDEFINED,
        maxP2pPeers: UNDEFINED,
    }
}

impl Communicator {
    /// Joins the communicator of `id` as `rank` of `world_size`; all ranks call it.
    ///
    /// # Errors
    /// [`Error::Unavailable`] without NCCL, [`Error::Deadline`] where the ranks did not meet in time, else NCCL's.
    pub fn connect(
        device: &Device,
        rank: usize,
        world_size: usize,
        id: UniqueId,
        deadline: Duration,
    ) -> Result<Self, Error> {
        probe::nccl()?;
        if rank >= world_size {
            let got = format!("{rank} of {world_size}");
            let (op, what, expected) = ("nccl", "rank", "below the world size");
            return Err(crate::Error::Value { op, what, expected, got }.into());
        }
        let streams = Arc::clone(device.streams());
        streams.bind()?;
        let id = sys::ncclUniqueId { internal: id.0.map(|byte| byte as std::ffi::c_char) };
        let mut settings = settings();
        let mut this = Self { comm: std::ptr::null_mut(), rank, world_size, deadline, streams };
        // SAFETY: `comm` and `settings` are valid for the call, the device is current, and rank < world_size.
        unsafe {
            result::comm_init_rank_config(
                &raw mut this.comm,
                world_size as i32,
                id,
                rank as i32,
                &raw mut settings,
            )
        }
        .map_err(failed("join"))?;
        this.settle("join", deadline)?;
        Ok(this)
    }

    /// Returns this end's rank.
    pub fn rank(&self) -> usize {
        self.rank
    }

    /// Returns the number of ranks.
    pub fn world_size(&self) -> usize {
        self.world_size
    }

    /// Adds up elements `range` of `buffer` over the ranks, in NCCL's order. A part of a buffer is a bucket: it goes out
    /// as soon as the compute stream has made it, while what is launched later goes on.
    ///
    /// # Errors
    /// NCCL's.
    pub fn all_reduce(&mut self, buffer: &mut Buffer<f32>, range: Range<usize>) -> Result<(), Error> {
        self.after_compute(&[&*buffer])?;
        let mut whole = buffer.view_mut();
        let bucket = whole.range(range);
        let (address, sum) = (bucket.address(), sys::ncclRedOp_t::ncclSum);
        let kind = data_type(Element::F32);
        // SAFETY: the address has `bucket.len()` elements of a buffer that `after_compute` marked: its memory is used
        // again only after the communication stream. The communicator is alive (`after_compute` checks).
        unsafe {
            let stream = self.streams.communication.cu_stream().cast();
            result::all_reduce(address as _, address as _, bucket.len(), kind, sum, self.comm, stream)
        }
        .map_err(failed("all_reduce"))?;
        self.settle("all_reduce", self.deadline)
    }

    /// Gathers `from` of every rank in `to` `[world_size * from.len()]`, in the order of ranks.
    ///
    /// # Errors
    /// [`crate::Error::Shape`] where lengths do not fit, else NCCL's.
    pub fn all_gather<T: Scalar>(&mut self, from: &Buffer<T>, to: &mut Buffer<T>) -> Result<(), Error> {
        check_shape("all_gather", "length of the result", self.world_size * from.len(), to.len())?;
        if from.is_empty() {
            return Ok(());
        }
        self.after_compute(&[from, &*to])?;
        let (send, receive) = (from.view().address(), to.view_mut().address());
        // SAFETY: both addresses have the lengths that NCCL reads and writes (checked above), in buffers that
        // `after_compute` marked; the communicator is alive.
        unsafe {
            let stream = self.streams.communication.cu_stream().cast();
            result::all_gather(send as _, receive as _, from.len(), data_type(T::ELEMENT), self.comm, stream)
        }
        .map_err(failed("all_gather"))?;
        self.settle("all_gather", self.deadline)
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
        check_shape(OP, "number of send counts", self.world_size, send_counts.len())?;
        check_shape(OP, "number of receive counts", self.world_size, receive_counts.len())?;
        check_shape(OP, "length sent", send_counts.iter().sum(), from.len())?;
        check_shape(OP, "length received", receive_counts.iter().sum(), to.len())?;
        self.after_compute(&[from, &*to])?;
        let (kind, stream) = (data_type(T::ELEMENT), self.streams.communication.cu_stream().cast());
        let (mut send, mut receive) = (from.view().address(), to.view_mut().address());
        result::group_start().map_err(failed("begin a group"))?;
        let mut sent = Ok(());
        for (peer, (&out, &back)) in send_counts.iter().zip(receive_counts).enumerate() {
            // SAFETY: the counts add up to the buffers' lengths (checked above), so both addresses stay inside of
            // them; `after_compute` marked the buffers, and the communicator is alive.
            let queued = unsafe {
                let sending = match out {
                    0 => Ok(NcclStatus::Success),
                    _ => result::send(send as _, out, kind, peer as i32, self.comm, stream),
                };
                let receiving = match back {
                    0 => Ok(NcclStatus::Success),
                    _ => result::recv(receive as _, back, kind, peer as i32, self.comm, stream),
                };
                sending.and(receiving)
            };
            sent = sent.and(queued.map(drop).map_err(failed(OP)));
            send += (out * size_of::<T>()) as u64;
            receive += (back * size_of::<T>()) as u64;
        }
        // A group that was begun has to end, also after a failure.
        let ended = result::group_end().map(drop).map_err(failed("end a group"));
        sent.and(ended)?;
        self.settle(OP, self.deadline)
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
    /// [`Error::Deadline`] or NCCL's where a peer is gone; the communicator is then good for [`Communicator::abort`].
    pub fn wait(&self, deadline: Duration) -> Result<(), Error> {
        let start = Instant::now();
        self.settle("wait", deadline)?;
        let event =
            self.streams.communication.record_event(None).map_err(Error::driver("record an event"))?;
        loop {
            if event.try_is_complete().map_err(Error::driver("ask for an event"))? {
                return Ok(());
            }
            self.state("wait")?;
            let waited = start.elapsed();
            if waited > deadline {
                return Err(Error::Deadline { call: "wait", waited });
            }
            std::thread::park_timeout(POLL);
        }
    }

    /// Ends the communicator at once, whatever the peers do. NCCL is known to hang in this at times: after `patience`
    /// the process ends itself, so that its supervisor can start it anew.
    ///
    /// # Errors
    /// NCCL's.
    pub fn abort(mut self, patience: Duration) -> Result<(), Error> {
        let (done, watch) = mpsc::channel::<()>();
        let watchdog = std::thread::spawn(move || {
            if watch.recv_timeout(patience) == Err(mpsc::RecvTimeoutError::Timeout) {
                std::process::abort();
            }
        });
        let aborted = self.end();
        drop(done);
        let watched = watchdog.join();
        aborted.and(watched.map_err(|_| Error::Nccl { call: "abort", text: "the watchdog failed".into() }))
    }

    fn end(&mut self) -> Result<(), Error> {
        let comm = std::mem::replace(&mut self.comm, std::ptr::null_mut());
        if comm.is_null() {
            return Ok(());
        }
        // SAFETY: the communicator was made by `connect`, and with null in its place nothing uses it after this.
        unsafe { result::comm_abort(comm) }.map(drop).map_err(failed("abort"))
    }

    /// Orders the communication stream after the compute stream, and notes that it uses the buffers.
    fn after_compute<T: Scalar>(&self, buffers: &[&Buffer<T>]) -> Result<(), Error> {
        assert!(!self.comm.is_null(), "a communicator is not used after it failed to join");
        self.streams.bind()?;
        buffers.iter().for_each(|buffer| buffer.used_by_communication());
        self.streams.communication_waits_for_compute()
    }

    /// Returns whether earlier calls are through.
    fn state(&self, call: &'static str) -> Result<bool, Error> {
        let mut state = sys::ncclResult_t::ncclSuccess;
        // SAFETY: the communicator is alive, and `state` is valid for the call.
        let asked = unsafe { sys::ncclCommGetAsyncError(self.comm, &raw mut state) };
        asked.result().map_err(failed(call))?;
        Ok(state.result().map_err(failed(call))? == NcclStatus::Success)
    }

    /// Waits until earlier calls are through.
    fn settle(&self, call: &'static str, deadline: Duration) -> Result<(), Error> {
        let start = Instant::now();
        while !self.state(call)? {
            let waited = start.elapsed();
            if waited > deadline {
                return Err(Error::Deadline { call, waited });
            }
            std::thread::park_timeout(POLL);
        }
        Ok(())
    }
}

impl Drop for Communicator {
    fn drop(&mut self) {
        if self.comm.is_null() || self.streams.bind().is_err() {
            return;
        }
        // Work on the stream is given up with the communicator; whoever needs its result has waited.
        let _ = self.end();
    }
}
