//! Random numbers as a pure function of what they are for: no state, no order, no thread.
//!
//! Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", 2011). A [`Stream`] is one
//! purpose of one seed; its 128-bit counter `(a, b)` names the logical thing that the number belongs to, such as
//! a sample and a position. Whoever computes it, on any worker, gets the same number.

mod permutation;

pub use permutation::Permutation;

use crate::math;

const MULTIPLIERS: [u32; 2] = [0xD251_1F53, 0xCD9E_8D57];
const WEYL: [u32; 2] = [0x9E37_79B9, 0xBB67_AE85];

/// Returns the four 32-bit numbers of Philox4x32-10 for that key and counter.
#[inline(always)]
pub fn philox4x32(key: [u32; 2], counter: [u32; 4]) -> [u32; 4] {
    let (mut key, mut x) = (key, counter);
    for _ in 0..10 {
        let low = u64::from(MULTIPLIERS[0]) * u64::from(x[0]);
        let high = u64::from(MULTIPLIERS[1]) * u64::from(x[2]);
        x = [
            (high >> 32) as u32 ^ x[1] ^ key[0],
            high as u32,
            (low >> 32) as u32 ^ x[3] ^ key[1],
            low as u32,
        ];
        key = [key[0].wrapping_add(WEYL[0]), key[1].wrapping_add(WEYL[1])];
    }
    x
}

/// The random numbers of one purpose: a key, from which each pair `(a, b)` draws four words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stream {
    key: [u32; 2],
}

impl Stream {
    /// Returns the stream of `purpose` (a number that the caller assigns) under `seed`.
    pub fn new(seed: u64, purpose: u32) -> Self {
        let words = philox4x32([seed as u32, (seed >> 32) as u32], [purpose, 0, 0, u32::MAX]);
        Self { key: [words[0], words[1]] }
    }

    /// Returns the stream for one `(a, b)` within this one, such as one step and layer.
    #[must_use]
    pub fn derive(&self, a: u64, b: u64) -> Self {
        let words = self.words(a, b);
        Self { key: [words[0], words[1]] }
    }

    /// Returns the key, for devices that draw the same numbers.
    pub(crate) fn key(&self) -> [u32; 2] {
        self.key
    }

    /// Returns the four words of `(a, b)`.
    #[inline(always)]
    pub fn words(&self, a: u64, b: u64) -> [u32; 4] {
        philox4x32(self.key, [a as u32, (a >> 32) as u32, b as u32, (b >> 32) as u32])
    }

    /// Returns four numbers uniform in [0, 1).
    #[inline(always)]
    pub fn uniform(&self, a: u64, b: u64) -> [f32; 4] {
        self.words(a, b).map(unit)
    }

    /// Returns four independent numbers of the standard normal distribution (Box-Muller).
    #[inline(always)]
    pub fn normal(&self, a: u64, b: u64) -> [f32; 4] {
        let [r0, t0, r1, t1] = self.words(a, b);
        let ([x0, x1], [x2, x3]) = (box_muller(r0, t0), box_muller(r1, t1));
        [x0, x1, x2, x3]
    }

    /// Returns a number in `0..bound` from the first two words of `(a, b)`.
    ///
    /// Each value's probability is off by less than 2^-64 in absolute terms. Panics where `bound` is 0.
    #[inline(always)]
    pub fn below(&self, a: u64, b: u64, bound: u64) -> u64 {
        assert!(bound > 0, "a number below 0 was asked for");
        let [low, high, ..] = self.words(a, b);
        let word = u64::from(high) << 32 | u64::from(low);
        ((u128::from(word) * u128::from(bound)) >> 64) as u64
    }
}

/// Maps a word to [0, 1): its upper 24 bits times 2^-24, exactly.
#[inline(always)]
pub fn unit(word: u32) -> f32 {
    (word >> 8) as f32 * (1.0 / 16_777_216.0)
}

#[inline(always)]
fn box_muller(radius: u32, turns: u32) -> [f32; 2] {
    // 1 - u lies in (0, 1], so the logarithm is finite.
    let radius = (-2.0 * math::ln(1.0 - unit(radius))).sqrt();
    let (s, c) = math::sin_cos_turns(unit(turns));
    [radius * c, radius * s]
}

#[cfg(test)]
mod tests;
