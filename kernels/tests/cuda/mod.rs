//! What the tests of the CUDA backend share: the modes that they run in, a device, numbers and comparisons.

#![allow(dead_code, reason = "each test file uses its part")]

use std::path::{Path, PathBuf};

use muster_cuda_double::{Modes, Suite};
use muster_kernels::cuda::{Buffer, Device, Scalar, Settings, View};
use muster_kernels::rng::Stream;

/// The kernels of the product, on the double; on a GPU with `MUSTER_REQUIRE_CUDA=1`.
///
/// `kernels/cuda/mutations.py` names another folder, with a planted fault in it.
pub(crate) fn kernels() -> Suite {
    let product = Path::new(env!("CARGO_MANIFEST_DIR")).join("cuda");
    Suite::of_folder(std::env::var_os("MUSTER_KERNELS").map_or(product, PathBuf::from))
}

/// Runs a body in every stream mode, in three orders of threads, and under each sanitizer.
pub(crate) fn everywhere<F: FnOnce()>(body: F) {
    kernels().everywhere(&Modes::watched(), body);
}

/// Opens the first device, with buffers of exactly their bytes: an access past the end of one is seen.
pub(crate) fn device() -> Device {
    Device::open(Settings { exact_memory: true, ..Settings::of(0) }).unwrap()
}

/// Opens the first device as the product does, with memory that is kept from buffer to buffer.
pub(crate) fn caching_device() -> Device {
    Device::open(Settings::of(0)).unwrap()
}

/// Copies to the host.
pub(crate) fn host<T: Scalar>(device: &Device, buffer: &Buffer<T>) -> Vec<T> {
    device.download(buffer.view()).unwrap()
}

/// Copies to the host.
pub(crate) fn host_view<T: Scalar>(device: &Device, view: View<'_, T>) -> Vec<T> {
    device.download(view).unwrap()
}

/// Numbers in [-1, 1) that depend on `purpose` only.
pub(crate) fn values(len: usize, purpose: u32) -> Vec<f32> {
    let stream = Stream::new(11, purpose);
    let blocks = (0..len.div_ceil(4) as u64).flat_map(|block| stream.uniform(block, 0));
    blocks.map(|x| 2.0 * x - 1.0).take(len).collect()
}

/// Numbers below `bound` of which small ones come often, as popular items do.
pub(crate) fn ids(len: usize, bound: u32, purpose: u32) -> Vec<u32> {
    let stream = Stream::new(12, purpose);
    let id = |i| {
        let u = stream.uniform(i, 0)[0];
        ((u * u * u * bound as f32) as u32).min(bound - 1)
    };
    (0..len as u64).map(id).collect()
}

/// Compares bit by bit: the kernel has the CPU's order of operations.
pub(crate) fn assert_same_bits(what: &str, got: &[f32], expected: &[f32]) {
    assert_eq!(got.len(), expected.len(), "length of {what}");
    for (at, (got, expected)) in got.iter().zip(expected).enumerate() {
        assert_eq!(got.to_bits(), expected.to_bits(), "{what}[{at}]: {got:e}, expected {expected:e}");
    }
}

/// Compares within `tolerance` of the larger of 1 and the expected size: sums have another order than the CPU's.
pub(crate) fn assert_close(what: &str, got: &[f32], expected: &[f32], tolerance: f32) {
    assert_eq!(got.len(), expected.len(), "length of {what}");
    for (at, (got, expected)) in got.iter().zip(expected).enumerate() {
        let error = (got - expected).abs();
        assert!(error <= tolerance * expected.abs().max(1.0), "{what}[{at}]: {got:e}, expected {expected:e}");
    }
}
