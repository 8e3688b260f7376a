//! The purposes that a job draws random numbers for. Each is a stream of its own under the job's seed.

use muster_kernels::rng::Stream;

/// What random numbers are for. The numbers are part of the results: never change or reuse one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum Purpose {
    /// Initial values of embedding tables.
    TableInit = 1,
    /// Initial values of dense parameters.
    DenseInit = 2,
    /// Dropout masks.
    Dropout = 3,
    /// Sampled negatives.
    Negatives = 4,
}

impl Purpose {
    /// The stream of this purpose under `seed`.
    #[must_use]
    pub(crate) fn stream(self, seed: u64) -> Stream {
        Stream::new(seed, self as u32)
    }
}

/// A stable 64-bit key of a name (FNV-1a): names are short and few, and the result must never change.
#[must_use]
pub(crate) fn name_key(name: &str) -> u64 {
    name.bytes()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3))
}
