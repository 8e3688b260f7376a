//! The loops around the tile kernel: rows of A in blocks that fit the L2 cache, panels of B one by one.

use std::ops::Range;

use super::pack::{Cut, Side, pack_panels};
use super::tile::{PackedRows, PlainRows, Target, Tile};
use super::{Beta, KC};
use crate::isa::Isa;
use crate::matrix::{MatrixMut, MatrixRef};
use crate::scratch::AlignedBuffer;

/// Elements of A that are worked on at a time: a part of the L2 cache, which C and panels of B need too.
const BLOCK: usize = 24 * 1024;

/// Rows of A that are packed at a time, so that what is read of each step is long; whole tiles at every level.
const PACKED: usize = 12 * 42;

/// Contiguous rows further apart than this (in elements) are packed: as they are, each would cost a page.
const FAR: usize = 1024;

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
    let steps = block.step..block.step + kc;
    let stride = c.row_stride();
    let direct = a.col_stride() == 1 && a.row_stride() <= FAR;
    let most = if direct { a.rows().max(1) } else { PACKED };
    for first_row in (0..a.rows()).step_by(most) {
        let rows = first_row..a.rows().min(first_row + most);
        let tiles = Cut::new(Side::Left, isa, rows.len());
        let left = if direct {
            Rows::Plain { data: &a.data()[block.step..], stride: a.row_stride() }
        } else {
            let packed = packed_a.resize(tiles.panels() * kc * Side::Left.width(isa));
            pack_panels(isa, Side::Left, packed, a, [rows.clone(), steps.clone()]);
            Rows::Packed(packed)
        };
        let start = first_row * stride + block.first_col;
        let target = Target {
            c: c.data().get_mut(start..).unwrap_or_default(),
            stride,
            cols: block.cols,
            accumulate: beta == Beta::Accumulate || block.step > 0,
        };
        let mut panels = Panels { isa, left, b: block.panels, tiles, steps: kc, target };
        let at_a_time = (BLOCK / kc / Side::Left.width(isa)).max(1);
        for first in (0..tiles.panels()).step_by(at_a_time) {
            let some = first..tiles.panels().min(first + at_a_time);
            if isa.lanes() == 16 { panels.multiply::<14, 32>(some) } else { panels.multiply::<6, 16>(some) }
        }
    }
}

/// Rows of A, packed or as they lie.
#[derive(Clone, Copy)]
enum Rows<'a> {
    Packed(&'a [f32]),
    Plain { data: &'a [f32], stride: usize },
}

/// Some rows of A and some packed columns of B.
struct Panels<'a> {
    isa: Isa,
    left: Rows<'a>,
    b: &'a [f32],
    tiles: Cut,
    steps: usize,
    target: Target<'a>,
}

impl Panels<'_> {
    /// Computes some tiles; each panel of B stays in the L1 cache while their rows pass.
    fn multiply<const MR: usize, const NR: usize>(&mut self, some: Range<usize>) {
        let panels = self.target.cols.div_ceil(NR);
        for first in 0..panels {
            for index in some.clone() {
                let rows = self.tiles.panel(index);
                if rows.len() > 3 {
                    self.tall_tile::<MR, NR>(index, rows, first);
                }
            }
        }
        for index in some {
            let rows = self.tiles.panel(index);
            let mut first = if rows.len() > 3 { panels } else { 0 };
            while first < panels {
                first += self.flat_tile::<MR, NR>(index, rows.clone(), first, panels - first);
            }
        }
    }

    /// Computes a tile of four rows or more, which keep the multiply-adds busy with one panel.
    fn tall_tile<const MR: usize, const NR: usize>(
        &mut self,
        index: usize,
        rows: Range<usize>,
        first: usize,
    ) {
        match rows.len() {
            4 => self.tile::<MR, NR, 4, 1>(index, rows, first),
            5 => self.tile::<MR, NR, 5, 1>(index, rows, first),
            6 => self.tile::<MR, NR, 6, 1>(index, rows, first),
            7 => self.tile::<MR, NR, 7, 1>(index, rows, first),
            8 => self.tile::<MR, NR, 8, 1>(index, rows, first),
            9 => self.tile::<MR, NR, 9, 1>(index, rows, first),
            10 => self.tile::<MR, NR, 10, 1>(index, rows, first),
            11 => self.tile::<MR, NR, 11, 1>(index, rows, first),
            12 => self.tile::<MR, NR, 12, 1>(index, rows, first),
            13 => self.tile::<MR, NR, 13, 1>(index, rows, first),
            14 => self.tile::<MR, NR, 14, 1>(index, rows, first),
            rows => unreachable!("a tile has at most {MR} rows, not {rows}"),
        }
    }

    /// Computes a tile of one to three rows with as many panels as keep the multiply-adds busy; returns how many.
    fn flat_tile<const MR: usize, const NR: usize>(
        &mut self,
        index: usize,
        rows: Range<usize>,
        first: usize,
        panels: usize,
    ) -> usize {
        let count = rows.len();
        match (count, panels) {
            (1, 4..) => self.tile::<MR, NR, 1, 4>(index, rows, first),
            (1, _) => self.tile::<MR, NR, 1, 1>(index, rows, first),
            (2, 2..) => self.tile::<MR, NR, 2, 2>(index, rows, first),
            (2, _) => self.tile::<MR, NR, 2, 1>(index, rows, first),
            _ => self.tile::<MR, NR, 3, 1>(index, rows, first),
        }
        match (count, panels) {
            (1, 4..) => 4,
            (2, 2..) => 2,
            _ => 1,
        }
    }

    /// Computes tile `index`, rows `rows`, with the `P` panels from `first` on.
    fn tile<const MR: usize, const NR: usize, const R: usize, const P: usize>(
        &mut self,
        index: usize,
        rows: Range<usize>,
        first: usize,
    ) {
        let steps = self.steps;
        let b = std::array::from_fn(|p| self.b[(first + p) * steps * NR..][..steps * NR].as_chunks().0);
        let target = Target {
            c: &mut self.target.c[rows.start * self.target.stride + first * NR..],
            cols: (P * NR).min(self.target.cols - first * NR),
            ..self.target
        };
        match self.left {
            Rows::Packed(panels) => {
                let a = PackedRows::<MR>(panels[index * steps * MR..][..steps * MR].as_chunks().0);
                self.isa.dispatch(Tile::<_, R, P, NR> { a, b, target });
            }
            Rows::Plain { data, stride } => {
                let a = PlainRows(std::array::from_fn(|r| &data[(rows.start + r) * stride..][..steps]));
                self.isa.dispatch(Tile::<PlainRows<'_, R>, R, P, NR> { a, b, target });
            }
        }
    }
}
