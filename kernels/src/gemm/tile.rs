//! The tile kernel: `R` rows times `P` panels of B, all of one block of k, kept in registers.
#![allow(
    clippy::needless_range_loop,
    reason = "one index walks several arrays, which must not become iterator chains"
)]

use crate::isa::{Kernel, Simd};
use crate::prefetch::prefetch;

/// Steps whose bounds are checked once, which leaves none to check in the loop over them.
const UNROLL: usize = 8;

/// Rows of A as a tile reads them: one element per row and step.
pub(super) trait Left: Copy {
    /// [`UNROLL`] steps of all rows.
    type Chunk: Copy;

    /// Returns the steps from `UNROLL * index` on.
    fn chunk(self, index: usize) -> Self::Chunk;

    /// Returns the element of row `r` at `step` of a chunk.
    fn of_chunk(chunk: Self::Chunk, step: usize, r: usize) -> f32;

    /// Returns the element of row `r` at `step`.
    fn at(self, step: usize, r: usize) -> f32;
}

/// A packed panel: `MR` elements per step.
#[derive(Clone, Copy)]
pub(super) struct PackedRows<'a, const MR: usize>(pub(super) &'a [[f32; MR]]);

/// Rows that are contiguous in memory already, each as long as the block of k.
#[derive(Clone, Copy)]
pub(super) struct PlainRows<'a, const R: usize>(pub(super) [&'a [f32]; R]);

impl<'a, const MR: usize> Left for PackedRows<'a, MR> {
    type Chunk = &'a [[f32; MR]; UNROLL];

    #[inline(always)]
    fn chunk(self, index: usize) -> Self::Chunk {
        &self.0.as_chunks().0[index]
    }

    #[inline(always)]
    fn of_chunk(chunk: Self::Chunk, step: usize, r: usize) -> f32 {
        chunk[step][r]
    }

    #[inline(always)]
    fn at(self, step: usize, r: usize) -> f32 {
        self.0[step][r]
    }
}

impl<'a, const R: usize> Left for PlainRows<'a, R> {
    type Chunk = [&'a [f32; UNROLL]; R];

    #[inline(always)]
    fn chunk(self, index: usize) -> Self::Chunk {
        // A loop, since `array::map` may become a call, around which every register would be saved.
        let mut chunk = [&[0.0; UNROLL]; R];
        for (chunk, row) in chunk.iter_mut().zip(self.0) {
            *chunk = &row.as_chunks().0[index];
        }
        chunk
    }

    #[inline(always)]
    fn of_chunk(chunk: Self::Chunk, step: usize, r: usize) -> f32 {
        chunk[r][step]
    }

    #[inline(always)]
    fn at(self, step: usize, r: usize) -> f32 {
        self.0[r][step]
    }
}

/// Where a tile goes: rows `stride` apart, `cols` wide; `accumulate` adds to what is there.
pub(super) struct Target<'a> {
    pub(super) c: &'a mut [f32],
    pub(super) stride: usize,
    pub(super) cols: usize,
    pub(super) accumulate: bool,
}

/// `R` rows of A times `P` panels of B, each `NR` = two vectors wide and as long as the block of k.
pub(super) struct Tile<'a, L, const R: usize, const P: usize, const NR: usize> {
    pub(super) a: L,
    pub(super) b: [&'a [[f32; NR]]; P],
    pub(super) target: Target<'a>,
}

impl<L: Left, const R: usize, const P: usize, const NR: usize> Kernel for Tile<'_, L, R, P, NR> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        // Levels are called with their own panels only; the others' combinations need no code.
        if 2 * S::LANES == NR {
            self.multiply(simd);
        }
    }
}

impl<L: Left, const R: usize, const P: usize, const NR: usize> Tile<'_, L, R, P, NR> {
    #[inline(always)]
    fn multiply<S: Simd>(self, simd: S) {
        let Self { a, b, target: Target { c, stride, cols, accumulate } } = self;
        let mut sums = [[[simd.splat(0.0); 2]; P]; R];
        let steps = b[0].len();
        for index in 0..steps / UNROLL {
            // Rows of C are needed at the end; until then there is time to fetch them from a far cache.
            if index < R {
                prefetch(c, index * stride, P * NR);
            }
            let a = a.chunk(index);
            let mut chunk = [&[[0.0; NR]; UNROLL]; P];
            for (chunk, panel) in chunk.iter_mut().zip(b) {
                *chunk = &panel.as_chunks().0[index];
            }
            for step in 0..UNROLL {
                add_step(simd, &mut sums, |r| L::of_chunk(a, step, r), |p| &chunk[p][step]);
            }
        }
        for step in steps / UNROLL * UNROLL..steps {
            add_step(simd, &mut sums, |r| a.at(step, r), |p| &b[p][step]);
        }
        if cols < P * NR {
            return store_edge::<S, R, P, NR>(simd, sums, Target { c, stride, cols, accumulate });
        }
        for r in 0..R {
            let row = &mut c[r * stride..][..P * NR];
            for p in 0..P {
                for half in 0..2 {
                    let c = &mut row[p * NR + half * S::LANES..][..S::LANES];
                    let sum = sums[r][p][half];
                    simd.store(if accumulate { simd.add(simd.load(c), sum) } else { sum }, c);
                }
            }
        }
    }
}

/// Adds the products of one step.
#[inline(always)]
fn add_step<'b, S: Simd, const R: usize, const P: usize, const NR: usize>(
    simd: S,
    sums: &mut [[[S::Vector; 2]; P]; R],
    left: impl Fn(usize) -> f32,
    right: impl Fn(usize) -> &'b [f32; NR],
) {
    for p in 0..P {
        let right = [simd.load(right(p)), simd.load(&right(p)[S::LANES..])];
        for (r, sums) in sums.iter_mut().enumerate() {
            let left = simd.splat(left(r));
            sums[p][0] = simd.mul_add(left, right[0], sums[p][0]);
            sums[p][1] = simd.mul_add(left, right[1], sums[p][1]);
        }
    }
}

/// Stores a tile that is cut off by the last column.
#[inline(always)]
fn store_edge<S: Simd, const R: usize, const P: usize, const NR: usize>(
    simd: S,
    sums: [[[S::Vector; 2]; P]; R],
    target: Target<'_>,
) {
    let Target { c, stride, cols, accumulate } = target;
    for (r, row) in sums.into_iter().enumerate() {
        let c = &mut c[r * stride..][..cols];
        for (vectors, c) in row.into_iter().zip(c.chunks_mut(NR)) {
            let mut edge = [0.0; NR];
            for (vector, lanes) in vectors.into_iter().zip(edge.chunks_exact_mut(S::LANES)) {
                simd.store(vector, lanes);
            }
            for (c, value) in c.iter_mut().zip(edge) {
                *c = if accumulate { *c + value } else { value };
            }
        }
    }
}
