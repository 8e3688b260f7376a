//! The caching pool: freed blocks are kept for requests of a similar size, and a bound holds over all of them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use cudarc::driver::result;

use crate::cuda::Error;
use crate::cuda::streams::Streams;

/// Small requests are rounded to this; it is also the alignment that vector loads and cuBLAS like best.
const GRAIN: usize = 512;
/// Requests above this are rounded to a multiple of it.
const LARGE: usize = 1 << 20;

/// A piece of device memory.
#[derive(Debug)]
pub(in crate::cuda) struct Block {
    pub(super) address: u64,
    bytes: usize,
}

/// Where the buffers of one device come from.
#[derive(Debug)]
pub(in crate::cuda) struct Pool {
    streams: Arc<Streams>,
    bound: usize,
    /// Whether each buffer is an allocation of its own, of exactly its bytes.
    exact: bool,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Freed blocks by size.
    free: BTreeMap<usize, Vec<u64>>,
    /// Blocks that a graph that is being captured has used and freed: they stay with the graph.
    captured: Option<BTreeMap<usize, Vec<u64>>>,
    in_use: usize,
    cached: usize,
}

/// How much memory is in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Usage {
    /// Bytes of live buffers, rounded up to the pool's grains.
    pub in_use: usize,
    /// Bytes that are kept for later buffers.
    pub cached: usize,
    /// The most that both may be together.
    pub bound: usize,
}

fn rounded(bytes: usize) -> usize {
    bytes.next_multiple_of(if bytes > LARGE { LARGE } else { GRAIN })
}

/// Takes the smallest block that fits without wasting more than half of it.
fn fitting(free: &mut BTreeMap<usize, Vec<u64>>, bytes: usize) -> Option<Block> {
    let size = *free.range(bytes..=bytes * 2).next()?.0;
    let blocks = free.get_mut(&size)?;
    let address = blocks.pop()?;
    if blocks.is_empty() {
        free.remove(&size);
    }
    Some(Block { address, bytes: size })
}

impl Pool {
    pub(in crate::cuda) fn new(streams: Arc<Streams>, bound: usize, exact: bool) -> Self {
        Self { streams, bound, exact, state: Mutex::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A panic while the lock was held leaves at worst a block unlisted, never one listed twice.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(in crate::cuda) fn usage(&self) -> Usage {
        let state = self.state();
        Usage { in_use: state.in_use, cached: state.cached, bound: self.bound }
    }

    /// Returns a block of at least that many bytes.
    pub(super) fn take(&self, bytes: usize) -> Result<Block, Error> {
        let bytes = if self.exact { bytes } else { rounded(bytes) };
        let mut state = self.state();
        if let Some(captured) = &mut state.captured {
            let block = fitting(captured, bytes);
            let block = match block {
                Some(block) => block,
                None => {
                    let block =
                        fitting(&mut state.free, bytes).ok_or(Error::ColdCapture { requested: bytes })?;
                    state.cached -= block.bytes;
                    block
                }
            };
            state.in_use += block.bytes;
            return Ok(block);
        }
        if let Some(block) = fitting(&mut state.free, bytes) {
            state.cached -= block.bytes;
            state.in_use += block.bytes;
            return Ok(block);
        }
        if state.in_use + state.cached + bytes > self.bound {
            self.release_cached(&mut state);
        }
        if state.in_use + bytes > self.bound {
            let (in_use, bound) = (state.in_use, self.bound);
            return Err(Error::OutOfMemory { requested: bytes, in_use, bound });
        }
        let address = match self.allocate(bytes) {
            Ok(address) => address,
            Err(Error::OutOfMemory { .. }) => {
                self.release_cached(&mut state);
                self.allocate(bytes).map_err(|error| match error {
                    Error::OutOfMemory { requested, bound, .. } => {
                        Error::OutOfMemory { requested, in_use: state.in_use, bound }
                    }
                    other => other,
                })?
            }
            Err(other) => return Err(other),
        };
        state.in_use += bytes;
        Ok(Block { address, bytes })
    }

    /// Takes a block back; `on_communication` where that stream may still use it.
    pub(super) fn give_back(&self, Block { address, bytes }: Block, on_communication: bool) {
        if on_communication && self.streams.compute_waits_for_communication().is_err() {
            // The device has failed, and every further call reports it; the memory is not used again.
            return;
        }
        let mut state = self.state();
        state.in_use -= bytes;
        if self.exact {
            self.free(address);
            return;
        }
        if let Some(captured) = &mut state.captured {
            captured.entry(bytes).or_default().push(address);
        } else {
            state.cached += bytes;
            state.free.entry(bytes).or_default().push(address);
        }
    }

    /// From now on, freed blocks stay with the graph that is being captured.
    pub(in crate::cuda) fn begin_capture(&self) {
        self.state().captured = Some(BTreeMap::new());
    }

    /// Ends the capture and returns the graph's blocks.
    pub(in crate::cuda) fn end_capture(&self) -> Vec<Block> {
        let captured = self.state().captured.take().unwrap_or_default();
        let blocks = captured.into_iter();
        blocks
            .flat_map(|(bytes, addresses)| addresses.into_iter().map(move |address| Block { address, bytes }))
            .collect()
    }

    /// Takes back the blocks of a graph that will not run any more.
    pub(in crate::cuda) fn give_back_captured(&self, blocks: Vec<Block>) {
        let mut state = self.state();
        for block in blocks {
            state.cached += block.bytes;
            state.free.entry(block.bytes).or_default().push(block.address);
        }
    }

    fn allocate(&self, bytes: usize) -> Result<u64, Error> {
        self.streams.bind()?;
        // SAFETY: the compute stream is alive as long as the pool; the memory is used and freed in its order.
        let got = unsafe { result::malloc_async(self.streams.compute.cu_stream(), bytes) };
        got.map_err(|error| {
            if error.0 == cudarc::driver::sys::CUresult::CUDA_ERROR_OUT_OF_MEMORY {
                return Error::OutOfMemory { requested: bytes, in_use: 0, bound: self.bound };
            }
            Error::driver("allocate")(error)
        })
    }

    fn release_cached(&self, state: &mut State) {
        for address in std::mem::take(&mut state.free).into_values().flatten() {
            self.free(address);
        }
        state.cached = 0;
    }

    /// Gives memory that no buffer has any more back to the driver.
    fn free(&self, address: u64) {
        if self.streams.bind().is_ok() {
            // SAFETY: the address came from `malloc_async` on this stream, it is in no list and no buffer any more, and
            // work that used it was launched on this stream before. A failure means a lost device, which later calls
            // report.
            let _ = unsafe { result::free_async(address, self.streams.compute.cu_stream()) };
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        let mut state = std::mem::take(&mut *self.state());
        self.release_cached(&mut state);
    }
}
