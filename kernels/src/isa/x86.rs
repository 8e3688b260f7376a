//! AVX2 + FMA and AVX-512F: the functions that switch them on, and their vectors.
#![allow(unsafe_code, reason = "vector intrinsics and raw loads; each block states what makes it sound")]

use std::arch::x86_64::{
    __m256, __m512, _mm256_add_ps, _mm256_fmadd_ps, _mm256_loadu_ps, _mm256_set1_ps, _mm256_storeu_ps,
    _mm512_add_ps, _mm512_fmadd_ps, _mm512_loadu_ps, _mm512_set1_ps, _mm512_storeu_ps,
};

use super::{Kernel, Simd};

/// Proof of AVX2 and FMA: made only inside of [`run_avx2`].
#[derive(Debug, Clone, Copy)]
struct Avx2(());

/// Proof of AVX-512F: made only inside of [`run_avx512`].
#[derive(Debug, Clone, Copy)]
struct Avx512(());

#[target_feature(enable = "avx2,fma")]
pub(super) fn run_avx2<K: Kernel>(kernel: K) -> K::Output {
    kernel.run(Avx2(()))
}

#[target_feature(enable = "avx512f,avx2,fma")]
pub(super) fn run_avx512<K: Kernel>(kernel: K) -> K::Output {
    kernel.run(Avx512(()))
}

impl Simd for Avx2 {
    type Vector = __m256;
    const LANES: usize = 8;

    #[inline(always)]
    fn splat(self, value: f32) -> __m256 {
        // SAFETY: `self` exists only inside of `run_avx2`, whose caller had to prove AVX2.
        unsafe { _mm256_set1_ps(value) }
    }

    #[inline(always)]
    fn load(self, from: &[f32]) -> __m256 {
        let from = &from[..Self::LANES];
        // SAFETY: AVX2 as above; the slice above holds exactly the eight f32 that are read.
        unsafe { _mm256_loadu_ps(from.as_ptr()) }
    }

    #[inline(always)]
    fn store(self, value: __m256, to: &mut [f32]) {
        let to = &mut to[..Self::LANES];
        // SAFETY: AVX2 as above; the slice above holds exactly the eight f32 that are written.
        unsafe { _mm256_storeu_ps(to.as_mut_ptr(), value) }
    }

    #[inline(always)]
    fn mul_add(self, a: __m256, b: __m256, c: __m256) -> __m256 {
        // SAFETY: `self` exists only inside of `run_avx2`, whose caller had to prove FMA.
        unsafe { _mm256_fmadd_ps(a, b, c) }
    }

    #[inline(always)]
    fn add(self, a: __m256, b: __m256) -> __m256 {
        // SAFETY: `self` exists only inside of `run_avx2`, whose caller had to prove AVX2.
        unsafe { _mm256_add_ps(a, b) }
    }
}

impl Simd for Avx512 {
    type Vector = __m512;
    const LANES: usize = 16;

    #[inline(always)]
    fn splat(self, value: f32) -> __m512 {
        // SAFETY: `self` exists only inside of `run_avx512`, whose caller had to prove AVX-512F.
        unsafe { _mm512_set1_ps(value) }
    }

    #[inline(always)]
    fn load(self, from: &[f32]) -> __m512 {
        let from = &from[..Self::LANES];
        // SAFETY: AVX-512F as above; the slice above holds exactly the sixteen f32 that are read.
        unsafe { _mm512_loadu_ps(from.as_ptr()) }
    }

    #[inline(always)]
    fn store(self, value: __m512, to: &mut [f32]) {
        let to = &mut to[..Self::LANES];
        // SAFETY: AVX-512F as above; the slice above holds exactly the sixteen f32 that are written.
        unsafe { _mm512_storeu_ps(to.as_mut_ptr(), value) }
    }

    #[inline(always)]
    fn mul_add(self, a: __m512, b: __m512, c: __m512) -> __m512 {
        // SAFETY: `self` exists only inside of `run_avx512`, whose caller had to prove AVX-512F.
        unsafe { _mm512_fmadd_ps(a, b, c) }
    }

    #[inline(always)]
    fn add(self, a: __m512, b: __m512) -> __m512 {
        // SAFETY: `self` exists only inside of `run_avx512`, whose caller had to prove AVX-512F.
        unsafe { _mm512_add_ps(a, b) }
    }
}
