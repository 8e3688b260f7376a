//! The kernels of the CUDA backend on this machine's GPU, beside the card's own limits: `cargo bench -p muster-kernels
//! --bench cuda -- run [--small]`, or the binary itself on a machine without cargo (`deploy/gpu-check`).
//!
//! Copies and products are measured first; every other line is held against them: bytes over the copy's rate, operations
//! over the product's. Prints a table, and one JSON object a line with `--json`. `--small` takes shapes that the double of
//! the CUDA libraries can run, to see that all of it runs. Without `run` (as CI calls it) it does nothing.

#![allow(clippy::print_stdout, reason = "a benchmark prints its figures")]

mod lstm;
mod ops;
mod table;

use muster_kernels::cuda::{Device, Error, Settings, probe};
use table::Table;

/// Sizes of the measured shapes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sizes {
    /// Sequences of a batch.
    pub(crate) sequences: usize,
    /// Tokens of each.
    pub(crate) steps: usize,
    /// Rows of the embedding tables.
    pub(crate) rows: usize,
    /// Rows of the scored table.
    pub(crate) items: usize,
    /// Repetitions of a measurement, of which the median counts.
    pub(crate) rounds: usize,
    /// Edge of the square product, and MiB of the copy.
    pub(crate) edge: usize,
    pub(crate) copy_mib: usize,
    /// Columns of tables, and hidden sizes.
    pub(crate) dims: &'static [usize],
    pub(crate) hidden: &'static [usize],
}

const FULL: Sizes = Sizes {
    sequences: 4096,
    steps: 50,
    rows: 1_000_000,
    items: 100_000,
    rounds: 20,
    edge: 4096,
    copy_mib: 512,
    dims: &[64, 128, 256],
    hidden: &[128, 256, 512],
};

const SMALL: Sizes = Sizes {
    sequences: 16,
    steps: 3,
    rows: 200,
    items: 90,
    rounds: 2,
    edge: 24,
    copy_mib: 1,
    dims: &[8],
    hidden: &[8],
};

fn main() -> anyhow::Result<()> {
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    if args.first().map(String::as_str) != Some("run") {
        return Ok(());
    }
    let has = |flag: &str| args.iter().any(|arg| arg == flag);
    let sizes = if has("--small") { SMALL } else { FULL };
    probe::devices()?;
    for tf32 in [false, true] {
        let device = Device::open(Settings { tf32, ..Settings::of(0) })?;
        let mut table = Table::new(&device, sizes, if tf32 { "TF32 products" } else { "f32 products" })?;
        if !tf32 {
            ops::measure(&device, sizes, &mut table)?;
        }
        lstm::measure(&device, sizes, &mut table)?;
        ops::softmax(&device, sizes, &mut table)?;
        table.print(has("--json"));
    }
    Ok(())
}

/// Reproducible values in [-0.5, 0.5).
pub(crate) fn values(len: usize) -> Vec<f32> {
    let mut state = 1_u32;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / (1 << 24) as f32 - 0.5
    };
    (0..len).map(|_| next()).collect()
}

/// Reproducible ids below `below`, uniform.
pub(crate) fn ids(len: usize, below: usize) -> Vec<u32> {
    let mut state = 7_u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((state >> 33) % below as u64) as u32
    };
    (0..len).map(|_| next()).collect()
}

/// Median seconds of one call, over `rounds` rounds after two that warm up; each round waits for the device.
pub(crate) fn seconds(
    device: &Device,
    rounds: usize,
    mut call: impl FnMut() -> Result<(), Error>,
) -> Result<f64, Error> {
    let mut times = Vec::with_capacity(rounds);
    for round in 0..rounds + 2 {
        device.synchronize()?;
        let started = std::time::Instant::now();
        call()?;
        device.synchronize()?;
        if round >= 2 {
            times.push(started.elapsed().as_secs_f64());
        }
    }
    times.sort_by(f64::total_cmp);
    Ok(times[times.len() / 2])
}
