//! The tile kernel: `R` rows times `P` panels of B, all of one block of k, kept in registers.

use crate::isa::Simd;

/// One tile's operands: `a` holds `MR` elements per k, each panel of `b` holds `NR`.
pub(super) struct Tile<'a, const MR: usize, const NR: usize, const P: usize> {
    pub(super) a: &'a [[f32; MR]],
    pub(super) b: [&'a [[f32; NR]]; P],
}

/// Where a tile goes: rows `stride` apart, `cols` wide; `accumulate` adds to what is there.
pub(super) struct Target<'a> {
    pub(super) c: &'a mut [f32],
    pub(super) stride: usize,
    pub(super) cols: usize,
    pub(super) accumulate: bool,
}

impl<const MR: usize, const NR: usize, const P: usize> Tile<'_, MR, NR, P> {
    /// Computes the first `R` rows; `NR` is two vectors wide.
    #[inline(always)]
    pub(super) fn run<S: Simd, const R: usize>(&self, simd: S, target: Target<'_>) {
        let Target { c, stride, cols, accumulate } = target;
        let mut sums = [[[simd.splat(0.0); 2]; P]; R];
        let steps = self.a.len();
        let b = self.b.map(|panel| &panel[..steps]);
        for (step, a) in self.a.iter().enumerate() {
            for p in 0..P {
                let right = [simd.load(&b[p][step]), simd.load(&b[p][step][S::LANES..])];
                for r in 0..R {
                    let left = simd.splat(a[r]);
                    sums[r][p][0] = simd.mul_add(left, right[0], sums[r][p][0]);
                    sums[r][p][1] = simd.mul_add(left, right[1], sums[r][p][1]);
                }
            }
        }
        for (r, row) in sums.into_iter().enumerate() {
            let start = r * stride;
            let c = &mut c[start..start + cols];
            for (vectors, c) in row.into_iter().zip(c.chunks_mut(NR)) {
                store::<S, NR>(simd, vectors, c, accumulate);
            }
        }
    }
}

/// Stores or adds up to two vectors to `c`.
#[inline(always)]
fn store<S: Simd, const NR: usize>(simd: S, vectors: [S::Vector; 2], c: &mut [f32], accumulate: bool) {
    if c.len() == NR {
        for (vector, c) in vectors.into_iter().zip(c.chunks_exact_mut(S::LANES)) {
            let value = if accumulate { simd.add(simd.load(c), vector) } else { vector };
            simd.store(value, c);
        }
        return;
    }
    let mut edge = [0.0; NR];
    for (vector, lanes) in vectors.into_iter().zip(edge.chunks_exact_mut(S::LANES)) {
        simd.store(vector, lanes);
    }
    for (c, value) in c.iter_mut().zip(edge) {
        *c = if accumulate { *c + value } else { value };
    }
}
