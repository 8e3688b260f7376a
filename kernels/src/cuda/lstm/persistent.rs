//! Whether and how w_hh is placed in the shared memory of the device's blocks.

use super::{Layout, Recurrence};
use crate::cuda::Error;
use crate::cuda::device::Device;
use crate::cuda::error::count;
use crate::cuda::launch::{Launch, Shape, THREADS};
use crate::cuda::memory::Buffer;

/// Units of a block that are tried, most first; fewer units need less shared memory and more blocks.
const UNITS: [usize; 3] = [32, 16, 8];
/// Hidden units and sequences of a thread, and k that is staged at a time with its padding; see `lstm_persistent.cu`.
const UNITS_OF_THREAD: usize = 2;
const SEQUENCES_OF_THREAD: usize = 4;
const CHUNK_ROW: usize = 36;

/// How a persistent launch divides the work: `unit_slices * batch_slices` blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Placement {
    /// Hidden units of a block, all four gates of them.
    pub units: u32,
    /// Blocks that share a set of sequences.
    pub unit_slices: u32,
    /// Sets of sequences; only blocks of one set wait for each other.
    pub batch_slices: u32,
    /// Bytes of shared memory of a block.
    pub shared: u32,
    hidden: u32,
}

impl Placement {
    /// Launches with the arguments that forward and backward end with.
    pub(super) fn run(
        self,
        launch: Launch<'_>,
        layout: &Layout,
        mut counters: Buffer<u32>,
    ) -> Result<(), Error> {
        launch
            .input(layout.offsets.view())
            .output(&mut counters.view_mut())
            .value(count("lstm", "number of steps", layout.host().steps())?)
            .value(self.hidden)
            .value(self.units)
            .value(self.unit_slices)
            .value(self.batch_slices)
            .run_cooperatively(Shape {
                grid: [(self.unit_slices * self.batch_slices) as usize, 1],
                threads: THREADS,
                shared: self.shared,
            })
    }
}

/// Returns how a layer of `hidden` units over `sequences` sequences is placed, or `None` where w_hh does not fit the
/// shared memory of the blocks that the device holds at once.
///
/// # Errors
/// The driver's.
pub fn placement(
    device: &Device,
    kernel: &'static str,
    hidden: usize,
    sequences: usize,
) -> Result<Option<Placement>, Error> {
    let limits = device.limits();
    if !limits.cooperative || hidden == 0 {
        return Ok(None);
    }
    for units in UNITS {
        let tile = SEQUENCES_OF_THREAD * THREADS as usize / (units / UNITS_OF_THREAD);
        // Forward: 4 rows of H per unit; backward: 1 row of 4H. Rows are padded alike, so the larger one counts.
        let weights = units * 4 * (hidden.next_multiple_of(4) + 4);
        let shared = (weights + tile * CHUNK_ROW) * size_of::<f32>();
        if shared > limits.shared_per_block as usize {
            continue;
        }
        let unit_slices = hidden.div_ceil(units);
        let resident = device.module().resident_blocks(kernel, THREADS, shared as u32)?;
        let blocks = (resident * limits.multiprocessors) as usize;
        if unit_slices > blocks {
            continue;
        }
        let batch_slices = (blocks / unit_slices).min(sequences.div_ceil(tile)).max(1);
        let op = "lstm";
        return Ok(Some(Placement {
            units: units as u32,
            unit_slices: count(op, "number of slices", unit_slices)?,
            batch_slices: count(op, "number of slices", batch_slices)?,
            shared: shared as u32,
            hidden: count(op, "hidden size", hidden)?,
        }));
    }
    Ok(None)
}

/// Follows the wish for a recurrence.
pub(super) fn choose(
    device: &Device,
    recurrence: Recurrence,
    kernel: &'static str,
    hidden: usize,
    sequences: usize,
) -> Result<Option<Placement>, Error> {
    if recurrence == Recurrence::Steps {
        return Ok(None);
    }
    let found = placement(device, kernel, hidden, sequences)?;
    if found.is_none() && recurrence == Recurrence::Persistent {
        let (op, what, expected) = ("lstm", "hidden size", "one whose w_hh fits the device's shared memory");
        return Err(crate::Error::Value { op, what, expected, got: hidden.to_string() }.into());
    }
    Ok(found)
}
