//! Panels: the order in which the tile kernel reads A and B.
//!
//! B is cut into blocks of [`KC`] rows and panels of `nr` columns; a panel holds `nr` consecutive elements per
//! k, zeros past the last column. A block of A is cut into panels of `mr` rows in the same way.

use super::KC;
use crate::isa::Isa;
use crate::matrix::MatrixRef;
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
        let nr = tile_cols(self.isa);
        let padded = b.cols().next_multiple_of(nr);
        (self.rows, self.cols) = (b.rows(), b.cols());
        let panels = self.panels.resize(b.rows() * padded);
        for start in (0..b.rows()).step_by(KC) {
            let kc = KC.min(b.rows() - start);
            let block = &mut panels[start * padded..(start + kc) * padded];
            for (panel, first) in block.chunks_exact_mut(kc * nr).zip((0..b.cols()).step_by(nr)) {
                pack_panel(panel, b.transposed(), first..b.cols().min(first + nr), start..start + kc);
            }
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
        let padded = self.cols.next_multiple_of(tile_cols(self.isa));
        let kc = KC.min(self.rows - start);
        &self.panels.as_slice()[start * padded + first_col * kc..(start + kc) * padded]
    }
}

/// Returns the rows of a tile at that level.
pub(super) const fn tile_rows(isa: Isa) -> usize {
    if isa.lanes() == 16 { 14 } else { 6 }
}

/// Returns the columns of a tile at that level.
pub(super) const fn tile_cols(isa: Isa) -> usize {
    2 * isa.lanes()
}

/// Packs rows `rows` of `from` for the steps `steps` (its columns) into one panel, zeros past the last row.
///
/// The panel's width is `panel.len() / steps.len()`.
pub(super) fn pack_panel(
    panel: &mut [f32],
    from: MatrixRef<'_>,
    rows: std::ops::Range<usize>,
    steps: std::ops::Range<usize>,
) {
    let width = panel.len() / steps.len();
    for (line, step) in panel.chunks_exact_mut(width).zip(steps) {
        for (lane, value) in line.iter_mut().enumerate() {
            *value = if lane < rows.len() { from.at(rows.start + lane, step) } else { 0.0 };
        }
    }
}
