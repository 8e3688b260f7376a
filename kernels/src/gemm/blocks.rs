//! The loops around the tile kernel: rows of A in blocks that fit the L2 cache, panels of B one by one.

use super::pack::{pack_panel, tile_rows};
use super::tile::{Target, Tile};
use super::{Beta, KC};
use crate::isa::{Isa, Kernel, Simd};
use crate::matrix::{MatrixMut, MatrixRef};
use crate::scratch::AlignedBuffer;

/// Rows of A that are packed at a time; a multiple of every tile's rows.
const MC: usize = 84;

/// Where a block of B starts: step in k, first column of C, and how many columns.
pub(super) struct Block<'a> {
    pub(super) panels: &'a [f32],
    pub(super) step: usize,
    pub(super) first_col: usize,
    pub(super) cols: usize,
}

/// Adds the product of A's columns of one block of k with that block of B to C.
pub(super) fn multiply_block(
    isa: Isa,
    a: MatrixRef<'_>,
    block: &Block<'_>,
    c: &mut MatrixMut<'_>,
    beta: Beta,
    packed_a: &mut AlignedBuffer,
) {
    let kc = KC.min(a.cols() - block.step);
    let mr = tile_rows(isa);
    let accumulate = beta == Beta::Accumulate || block.step > 0;
    let stride = c.row_stride();
    for first_row in (0..a.rows()).step_by(MC) {
        let rows = MC.min(a.rows() - first_row);
        let packed = packed_a.resize(rows.next_multiple_of(mr) * kc);
        for (panel, first) in packed.chunks_exact_mut(mr * kc).zip((0..rows).step_by(mr)) {
            let panel_rows = first_row + first..first_row + rows.min(first + mr);
            pack_panel(panel, a, panel_rows, block.step..block.step + kc);
        }
        let start = first_row * stride + block.first_col;
        isa.dispatch(Panels {
            a: packed,
            b: block.panels,
            c: &mut c.data()[start..],
            shape: [rows, block.cols, kc],
            stride,
            accumulate,
        });
    }
}

/// All tiles of some packed rows of A with some packed columns of B.
struct Panels<'a> {
    a: &'a [f32],
    b: &'a [f32],
    c: &'a mut [f32],
    shape: [usize; 3],
    stride: usize,
    accumulate: bool,
}

impl Kernel for Panels<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        if S::LANES == 16 { self.tiles::<S, 14, 32>(simd) } else { self.tiles::<S, 6, 16>(simd) }
    }
}

impl Panels<'_> {
    #[inline(always)]
    fn tiles<S: Simd, const MR: usize, const NR: usize>(self, simd: S) {
        let [rows, cols, kc] = self.shape;
        for first_col in (0..cols).step_by(NR) {
            let b = self.b[first_col * kc..][..kc * NR].as_chunks::<NR>().0;
            for first_row in (0..rows).step_by(MR) {
                let a = self.a[first_row * kc..][..kc * MR].as_chunks::<MR>().0;
                let tile = Tile { a, b: [b] };
                let target = Target {
                    c: &mut self.c[first_row * self.stride + first_col..],
                    stride: self.stride,
                    cols: NR.min(cols - first_col),
                    accumulate: self.accumulate,
                };
                run_rows(simd, &tile, target, MR.min(rows - first_row));
            }
        }
    }
}

/// Calls the tile kernel compiled for that number of rows.
#[inline(always)]
fn run_rows<S: Simd, const MR: usize, const NR: usize, const P: usize>(
    simd: S,
    tile: &Tile<'_, MR, NR, P>,
    target: Target<'_>,
    rows: usize,
) {
    match rows {
        1 => tile.run::<S, 1>(simd, target),
        2 => tile.run::<S, 2>(simd, target),
        3 => tile.run::<S, 3>(simd, target),
        4 => tile.run::<S, 4>(simd, target),
        5 => tile.run::<S, 5>(simd, target),
        6 => tile.run::<S, 6>(simd, target),
        7 if MR > 6 => tile.run::<S, 7>(simd, target),
        8 if MR > 6 => tile.run::<S, 8>(simd, target),
        9 if MR > 6 => tile.run::<S, 9>(simd, target),
        10 if MR > 6 => tile.run::<S, 10>(simd, target),
        11 if MR > 6 => tile.run::<S, 11>(simd, target),
        12 if MR > 6 => tile.run::<S, 12>(simd, target),
        13 if MR > 6 => tile.run::<S, 13>(simd, target),
        14 if MR > 6 => tile.run::<S, 14>(simd, target),
        _ => unreachable!("a tile has at most {MR} rows, not {rows}"),
    }
}
