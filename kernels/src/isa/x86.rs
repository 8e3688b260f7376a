//! AVX2 + FMA and AVX-512F: the functions that switch them on, and their vectors.
#![allow(unsafe_code, reason = "vector intrinsics and raw loads; each block states what makes it sound")]

use std::arch::x86_64::{
    __m256, __m512, _mm256_add_ps, _mm256_fmadd_ps, _mm256_loadu_ps, _mm256_permute2f128_ps, _mm256_set1_ps,
    _mm256_setzero_ps, _mm256_shuffle_ps, _mm256_storeu_ps, _mm256_unpackhi_ps, _mm256_unpacklo_ps,
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

/// Swaps rows and columns: pairs, then quadruples, then halves of rows change places.
#[inline]
#[target_feature(enable = "avx2")]
fn transpose_avx2(square: [[f32; 8]; 8]) -> [[f32; 8]; 8] {
    let mut rows = [_mm256_setzero_ps(); 8];
    for (row, from) in rows.iter_mut().zip(&square) {
        // SAFETY: each row of the square holds exactly the eight f32 that are read.
        *row = unsafe { _mm256_loadu_ps(from.as_ptr()) };
    }
    let mut pairs = rows;
    for i in (0..8).step_by(2) {
        pairs[i] = _mm256_unpacklo_ps(rows[i], rows[i + 1]);
        pairs[i + 1] = _mm256_unpackhi_ps(rows[i], rows[i + 1]);
    }
    let mut fours = pairs;
    for i in (0..8).step_by(4) {
        fours[i] = _mm256_shuffle_ps::<0x44>(pairs[i], pairs[i + 2]);
        fours[i + 1] = _mm256_shuffle_ps::<0xee>(pairs[i], pairs[i + 2]);
        fours[i + 2] = _mm256_shuffle_ps::<0x44>(pairs[i + 1], pairs[i + 3]);
        fours[i + 3] = _mm256_shuffle_ps::<0xee>(pairs[i + 1], pairs[i + 3]);
    }
    let mut result = [[0.0; 8]; 8];
    for i in 0..4 {
        let low = _mm256_permute2f128_ps::<0x20>(fours[i], fours[i + 4]);
        let high = _mm256_permute2f128_ps::<0x31>(fours[i], fours[i + 4]);
        // SAFETY: each row of the result holds exactly the eight f32 that are written.
        unsafe {
            _mm256_storeu_ps(result[i].as_mut_ptr(), low);
            _mm256_storeu_ps(result[i + 4].as_mut_ptr(), high);
        }
    }
    result
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

    #[inline(always)]
    fn transpose(self, square: [[f32; 8]; 8]) -> [[f32; 8]; 8] {
        // SAFETY: `self` exists only inside of `run_avx2`, whose caller had to prove AVX2.
        unsafe { transpose_avx2(square) }
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

    #[inline(always)]
    fn transpose(self, square: [[f32; 8]; 8]) -> [[f32; 8]; 8] {
        // SAFETY: `self` exists only inside of `run_avx512`, whose caller had to prove AVX2 too.
        unsafe { transpose_avx2(square) }
    }
}
