//! A pseudo-random order of 0..n that needs no memory: element i is computed, not looked up.

use super::philox4x32;

const ROUNDS: u32 = 4;

/// A bijection of `0..n`, chosen by a key.
///
/// A Feistel network permutes the smallest `0..2^even` that holds n; a result past n is fed in again until it
/// falls below n (cycle walking), four times at most on average.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Permutation {
    n: u64,
    key: u64,
    half_bits: u32,
}

impl Permutation {
    /// Returns the permutation of `0..n` for `key`.
    pub fn new(n: u64, key: u64) -> Self {
        let bits = u64::BITS - n.saturating_sub(1).leading_zeros();
        Self { n, key, half_bits: bits.div_ceil(2).max(1) }
    }

    /// Returns the element at place `i`; panics where `i` is not below n.
    pub fn at(&self, i: u64) -> u64 {
        assert!(i < self.n, "place {i} of a permutation of {} elements", self.n);
        let mut x = self.shuffle(i);
        while x >= self.n {
            x = self.shuffle(x);
        }
        x
    }

    fn shuffle(&self, x: u64) -> u64 {
        let mask = (1u64 << self.half_bits) - 1;
        let (mut left, mut right) = (x >> self.half_bits, x & mask);
        let key = [self.key as u32, (self.key >> 32) as u32];
        for round in 0..ROUNDS {
            let words = philox4x32(key, [right as u32, (right >> 32) as u32, round, 0]);
            (left, right) = (right, left ^ (u64::from(words[0]) & mask));
        }
        left << self.half_bits | right
    }
}
