//! Counter-based random numbers: the n-th number of a stream is a function of (seed, stream, n).
//!
//! The mixer is the finalizer of SplitMix64 (Steele, Lea and Flood 2014), applied to each part of the key in turn.

use muster_proto::checkpoint::mix;

/// A stream of numbers.
#[derive(Debug, Clone)]
pub struct Stream {
    key: u64,
    next: u64,
}

impl Stream {
    /// One of a seed's streams.
    #[must_use]
    pub fn new(seed: u64, stream: u64) -> Self {
        Self { key: mix(mix(seed) ^ stream), next: 0 }
    }

    /// Uniform in (0, 1].
    pub fn uniform(&mut self) -> f64 {
        self.next += 1;
        let bits = mix(self.key ^ mix(self.next)) >> 11;
        (bits + 1) as f64 / (1_u64 << 53) as f64
    }

    /// Exponential with mean 1.
    pub fn exponential(&mut self) -> f64 {
        -self.uniform().ln()
    }

    /// Standard normal (Box and Muller 1958).
    pub fn normal(&mut self) -> f64 {
        (2.0 * self.exponential()).sqrt() * (std::f64::consts::TAU * self.uniform()).cos()
    }
}
