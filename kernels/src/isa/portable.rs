//! Vectors as plain arrays, for machines without a level of their own.

use super::Simd;

const LANES: usize = 8;

/// The level that every machine has.
#[derive(Debug, Clone, Copy)]
pub(super) struct Portable;

impl Simd for Portable {
    type Vector = [f32; LANES];
    const LANES: usize = LANES;

    #[inline(always)]
    fn splat(self, value: f32) -> Self::Vector {
        [value; LANES]
    }

    #[inline(always)]
    fn load(self, from: &[f32]) -> Self::Vector {
        std::array::from_fn(|lane| from[lane])
    }

    #[inline(always)]
    fn store(self, value: Self::Vector, to: &mut [f32]) {
        to[..LANES].copy_from_slice(&value);
    }

    #[inline(always)]
    fn mul_add(self, a: Self::Vector, b: Self::Vector, c: Self::Vector) -> Self::Vector {
        std::array::from_fn(|lane| a[lane].mul_add(b[lane], c[lane]))
    }

    #[inline(always)]
    fn add(self, a: Self::Vector, b: Self::Vector) -> Self::Vector {
        std::array::from_fn(|lane| a[lane] + b[lane])
    }
}
