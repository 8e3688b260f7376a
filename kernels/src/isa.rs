//! The instruction set that kernels run with, chosen at run time.
//!
//! Every kernel gives the same bits on every [`Isa`]; it only changes the speed. An `Isa` can only be made for
//! a level that this machine has, which is what makes [`Isa::dispatch`] sound.
#![allow(
    unsafe_code,
    reason = "calling a function compiled for a wider instruction set is unsafe; this file checks"
)]

mod portable;
#[cfg(target_arch = "x86_64")]
mod x86;

use std::fmt;

use portable::Portable;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Level {
    Portable,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    #[cfg(target_arch = "x86_64")]
    Avx512,
}

/// An instruction-set level that this machine was found to have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Isa(Level);

/// A piece of work that is compiled once per instruction set.
///
/// `run` must be `#[inline(always)]` and so must everything in its inner loops, since only inlined code is
/// compiled for the wider instruction set. Plain loops are vectorized by the compiler; where that is not
/// enough, `simd` has explicit vectors.
pub trait Kernel {
    /// What the work returns.
    type Output;

    /// Does the work.
    fn run<S: Simd>(self, simd: S) -> Self::Output;
}

/// Vectors of f32 of one instruction set; a value of this type is proof that the machine has it.
pub trait Simd: Copy {
    /// A vector of [`Simd::LANES`] f32.
    type Vector: Copy;

    /// The number of f32 in a vector; a power of two.
    const LANES: usize;

    /// Returns a vector whose lanes all are `value`.
    fn splat(self, value: f32) -> Self::Vector;

    /// Returns the first [`Simd::LANES`] elements of `from`; panics where there are fewer.
    fn load(self, from: &[f32]) -> Self::Vector;

    /// Writes the lanes to the first [`Simd::LANES`] elements of `to`; panics where there are fewer.
    fn store(self, value: Self::Vector, to: &mut [f32]);

    /// Returns `a * b + c` with one rounding.
    fn mul_add(self, a: Self::Vector, b: Self::Vector, c: Self::Vector) -> Self::Vector;

    /// Returns `a + b`.
    fn add(self, a: Self::Vector, b: Self::Vector) -> Self::Vector;

    /// Returns the square with rows and columns swapped.
    #[inline(always)]
    fn transpose(self, square: [[f32; 8]; 8]) -> [[f32; 8]; 8] {
        std::array::from_fn(|i| std::array::from_fn(|j| square[j][i]))
    }
}

impl Isa {
    /// Returns the widest level of this machine.
    pub fn detect() -> Self {
        #[cfg(target_arch = "x86_64")]
        {
            let avx2 = std::is_x86_feature_detected!("avx2") && std::is_x86_feature_detected!("fma");
            if avx2 && std::is_x86_feature_detected!("avx512f") {
                return Self(Level::Avx512);
            }
            if avx2 {
                return Self(Level::Avx2);
            }
        }
        Self::portable()
    }

    /// Returns the level that every machine has.
    pub const fn portable() -> Self {
        Self(Level::Portable)
    }

    /// Returns every level of this machine, narrowest first.
    pub fn available() -> Vec<Self> {
        let widest = Self::detect();
        let all = [
            Self::portable(),
            #[cfg(target_arch = "x86_64")]
            Self(Level::Avx2),
            #[cfg(target_arch = "x86_64")]
            Self(Level::Avx512),
        ];
        all.into_iter().filter(|isa| *isa <= widest).collect()
    }

    /// Returns the level of that name if this machine has it; see [`Isa::name`].
    pub fn from_name(name: &str) -> Option<Self> {
        Self::available().into_iter().find(|isa| isa.name() == name)
    }

    /// Returns the level's name: `portable`, `avx2` or `avx512`.
    pub const fn name(self) -> &'static str {
        match self.0 {
            Level::Portable => "portable",
            #[cfg(target_arch = "x86_64")]
            Level::Avx2 => "avx2",
            #[cfg(target_arch = "x86_64")]
            Level::Avx512 => "avx512",
        }
    }

    /// Returns the number of f32 in a vector of this level.
    pub const fn lanes(self) -> usize {
        match self.0 {
            Level::Portable => <Portable as Simd>::LANES,
            #[cfg(target_arch = "x86_64")]
            Level::Avx2 => 8,
            #[cfg(target_arch = "x86_64")]
            Level::Avx512 => 16,
        }
    }

    /// Runs `kernel` compiled for this level.
    #[inline]
    pub fn dispatch<K: Kernel>(self, kernel: K) -> K::Output {
        match self.0 {
            Level::Portable => kernel.run(Portable),
            // SAFETY: an `Isa` of level Avx2 exists only where `detect` saw AVX2 and FMA on this machine.
            #[cfg(target_arch = "x86_64")]
            Level::Avx2 => unsafe { x86::run_avx2(kernel) },
            // SAFETY: an `Isa` of level Avx512 exists only where `detect` saw AVX-512F, AVX2 and FMA.
            #[cfg(target_arch = "x86_64")]
            Level::Avx512 => unsafe { x86::run_avx512(kernel) },
        }
    }
}

impl fmt::Display for Isa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_widest_level_is_available_by_its_name() {
        let widest = Isa::detect();
        assert_eq!(Isa::from_name(widest.name()), Some(widest));
        assert_eq!(Isa::available().first(), Some(&Isa::portable()));
        assert_eq!(Isa::from_name("sve"), None);
    }
}
