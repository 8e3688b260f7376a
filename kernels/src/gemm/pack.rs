//! Panels: the order in which the tile kernel reads A and B.
//!
//! B is cut into blocks of [`KC`] rows and panels of `nr` columns; a panel holds `nr` consecutive elements per
//! k, zeros past the last column. A block of A is cut into panels of `mr` rows in the same way.

use std::ops::Range;

use super::KC;
use crate::isa::{Isa, Kernel, Simd};
use crate::matrix::MatrixRef;
use crate::prefetch::prefetch;
use crate::scratch::AlignedBuffer;

/// The right factor of a product, packed once for many calls of [`gemm_packed`](super::gemm_packed).
#[derive(Debug)]
pub struct PackedB {
    isa: Isa,
    rows: usize,
    cols: usize,
    panels: AlignedBuffer,
}

impl PackedB {
    /// Column ranges passed to [`gemm_packed`](super::gemm_packed) start at a multiple of this.
    pub const COLUMN_MULTIPLE: usize = 32;

    /// Returns an empty `[0, 0]` for kernels at that level; fill it with [`PackedB::pack`].
    pub fn new(isa: Isa) -> Self {
        Self { isa, rows: 0, cols: 0, panels: AlignedBuffer::default() }
    }

    /// Replaces the contents by `b [k, n]`; memory is kept from call to call.
    pub fn pack(&mut self, b: MatrixRef<'_>) {
        let nr = Side::Right.width(self.isa);
        let padded = b.cols().next_multiple_of(nr);
        (self.rows, self.cols) = (b.rows(), b.cols());
        let panels = self.panels.resize(b.rows() * padded);
        for start in (0..b.rows()).step_by(KC) {
            let kc = KC.min(b.rows() - start);
            let block = &mut panels[start * padded..(start + kc) * padded];
            pack_panels(self.isa, Side::Right, block, b.transposed(), [0..b.cols(), start..start + kc]);
        }
    }

    /// Returns k.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Returns n.
    pub fn cols(&self) -> usize {
        self.cols
    }

    /// Returns the level that the panels were made for.
    pub fn isa(&self) -> Isa {
        self.isa
    }

    /// Returns the panels of the block that starts at row `start`, from column `first_col` on.
    pub(super) fn block(&self, start: usize, first_col: usize) -> &[f32] {
        let padded = self.cols.next_multiple_of(Side::Right.width(self.isa));
        let kc = KC.min(self.rows - start);
        &self.panels.as_slice()[start * padded + first_col * kc..(start + kc) * padded]
    }
}

/// The factor that panels are made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    /// A, whose rows are the lanes of a panel.
    Left,
    /// B, whose columns are the lanes of a panel.
    Right,
}

impl Side {
    /// Returns the lanes of a panel at that level.
    pub(super) const fn width(self, isa: Isa) -> usize {
        match (self, isa.lanes()) {
            (Self::Left, 16) => 14,
            (Self::Left, _) => 6,
            (Self::Right, lanes) => 2 * lanes,
        }
    }
}

/// How some lanes are cut into panels: B's are as wide as they can be, of A's the last two are about equal.
///
/// A tile of few rows keeps the multiply-adds waiting for one another, so 7 rows are 4 + 3, not 6 + 1.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cut {
    side: Side,
    width: usize,
    lanes: usize,
}

impl Cut {
    /// Returns the cut of `lanes` lanes at that level.
    pub(super) const fn new(side: Side, isa: Isa, lanes: usize) -> Self {
        Self { side, width: side.width(isa), lanes }
    }

    /// Returns the number of panels.
    pub(super) const fn panels(self) -> usize {
        self.lanes.div_ceil(self.width)
    }

    /// Returns the lanes of one panel.
    #[inline(always)]
    pub(super) fn panel(self, index: usize) -> Range<usize> {
        let start = index * self.width;
        let (panels, rest) = (self.panels(), self.lanes % self.width);
        if self.side == Side::Left && rest > 0 && panels > 1 && index + 2 >= panels {
            let middle = self.lanes - (self.width + rest) / 2;
            return if index + 1 == panels { middle..self.lanes } else { start..middle };
        }
        start..self.lanes.min(start + self.width)
    }
}

/// Packs the lanes and steps `[lanes, steps]` (rows and columns of `from`) into panels, zeros past the last lane.
pub(super) fn pack_panels(
    isa: Isa,
    side: Side,
    panels: &mut [f32],
    from: MatrixRef<'_>,
    [lanes, steps]: [Range<usize>; 2],
) {
    let cut = Cut::new(side, isa, lanes.len());
    match cut.width {
        6 => isa.dispatch(Pack::<6> { cut, panels, from, first: lanes.start, steps }),
        14 => isa.dispatch(Pack::<14> { cut, panels, from, first: lanes.start, steps }),
        16 => isa.dispatch(Pack::<16> { cut, panels, from, first: lanes.start, steps }),
        _ => isa.dispatch(Pack::<32> { cut, panels, from, first: lanes.start, steps }),
    }
}

/// Panels of `W` lanes.
struct Pack<'a, const W: usize> {
    cut: Cut,
    panels: &'a mut [f32],
    from: MatrixRef<'a>,
    first: usize,
    steps: Range<usize>,
}

/// Steps that are copied for all panels before the next ones, so that a cache line is read once.
const STEPS: usize = 8;

impl<const W: usize> Kernel for Pack<'_, W> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Self { cut, panels, from, first, steps } = self;
        let panels = panels.as_chunks_mut::<W>().0;
        let lanes = |index| first + cut.panel(index).start..first + cut.panel(index).end;
        if from.row_stride() == 1 {
            for start in (0..steps.len()).step_by(STEPS) {
                let some = start..steps.len().min(start + STEPS);
                for (index, panel) in panels.chunks_exact_mut(steps.len()).enumerate() {
                    copy_lines(&mut panel[some.clone()], from, lanes(index), steps.start + start);
                }
            }
        } else {
            for (index, panel) in panels.chunks_exact_mut(steps.len()).enumerate() {
                transpose(simd, panel, from, lanes(index), steps.start);
            }
        }
    }
}

/// Packs some lines of one panel where the lanes of a step are contiguous.
#[inline(always)]
fn copy_lines<const W: usize>(
    lines: &mut [[f32; W]],
    from: MatrixRef<'_>,
    lanes: Range<usize>,
    first: usize,
) {
    for (step, line) in lines.iter_mut().enumerate() {
        // Steps lie far apart, which keeps the hardware from seeing what is read next.
        prefetch(from.data(), (first + step + STEPS) * from.col_stride() + lanes.start, 1);
        let source = &from.data()[(first + step) * from.col_stride() + lanes.start..];
        if lanes.len() == W {
            line.copy_from_slice(&source[..W]);
        } else {
            line.fill(0.0);
            line[..lanes.len()].copy_from_slice(&source[..lanes.len()]);
        }
    }
}

/// Packs one panel where the steps of a lane are contiguous, or nothing is.
#[inline(always)]
fn transpose<S: Simd, const W: usize>(
    simd: S,
    panel: &mut [[f32; W]],
    from: MatrixRef<'_>,
    lanes: Range<usize>,
    first: usize,
) {
    let whole = if from.col_stride() == 1 { panel.len() / 8 * 8 } else { 0 };
    let (blocks, rest) = panel.split_at_mut(whole);
    for (block, lines) in blocks.as_chunks_mut::<8>().0.iter_mut().enumerate() {
        for group in (0..W).step_by(8) {
            let mut square = [[0.0; 8]; 8];
            for (lane, row) in (group..lanes.len()).zip(&mut square) {
                let start = (lanes.start + lane) * from.row_stride() + first + block * 8;
                row.copy_from_slice(&from.data()[start..start + 8]);
            }
            let kept = (W - group).min(8);
            for (line, values) in lines.iter_mut().zip(simd.transpose(square)) {
                line[group..group + kept].copy_from_slice(&values[..kept]);
            }
        }
    }
    for (step, line) in rest.iter_mut().enumerate() {
        for (lane, value) in line.iter_mut().enumerate() {
            let at = (lanes.start + lane, first + whole + step);
            *value = if lane < lanes.len() { from.at(at.0, at.1) } else { 0.0 };
        }
    }
}
