//! Matrix products `C = A B` and `C += A B` in f32, in an order that no instruction set changes.
//!
//! Each element of C is computed per block of [`KC`] steps in k: an accumulator starts at zero and takes one
//! fused multiply-add per k, in order; the blocks' results are added to C in order of k (the first block of
//! [`Beta::Overwrite`] is stored instead). Tiles and vectors only run over rows and columns, so each level
//! of [`Isa`](crate::isa::Isa) and [`reference::gemm`](crate::reference::gemm) give the same bits.
//!
//! A call is single-threaded. Its panels live in [`Scratch`]; a B that is used often is packed once as
//! [`PackedB`].

mod blocks;
mod pack;
mod tile;

use std::ops::Range;

use crate::error::{Error, check_shape};
use crate::matrix::{MatrixMut, MatrixRef};
use crate::scratch::Scratch;
use blocks::{Block, multiply_block};
pub use pack::PackedB;
use pack::{Side, pack_panels};

/// Steps in k that one accumulator covers; part of the numeric contract, not a tuning knob.
pub const KC: usize = 256;

/// Columns of B that are packed at a time, so that the panels stay in the L3 cache.
const NC: usize = 1024;

/// What happens to the old contents of C.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Beta {
    /// `C = A B`; the old contents are not read.
    Overwrite,
    /// `C = C + A B`.
    Accumulate,
}

/// Arguments of [`gemm`]: `a [m, k]`, `b [k, n]`, `c [m, n]`.
#[derive(Debug)]
pub struct Gemm<'a> {
    /// Left factor `[m, k]`.
    pub a: MatrixRef<'a>,
    /// Right factor `[k, n]`.
    pub b: MatrixRef<'a>,
    /// Result `[m, n]`.
    pub c: MatrixMut<'a>,
    /// Whether the result replaces C or is added to it.
    pub beta: Beta,
}

/// Arguments of [`gemm_packed`]: `a [m, k]`, `b [k, n]` packed before, `c [m, columns.len()]`.
#[derive(Debug)]
pub struct GemmPacked<'a> {
    /// Left factor `[m, k]`.
    pub a: MatrixRef<'a>,
    /// Right factor `[k, n]`.
    pub b: &'a PackedB,
    /// The columns of `b` to use; the start is a multiple of [`PackedB::COLUMN_MULTIPLE`].
    pub columns: Range<usize>,
    /// Result `[m, columns.len()]`.
    pub c: MatrixMut<'a>,
    /// Whether the result replaces C or is added to it.
    pub beta: Beta,
}

/// Computes `C = A B` or `C += A B`.
///
/// # Errors
/// [`Error::Shape`] where the three shapes do not fit together.
pub fn gemm(args: Gemm<'_>, scratch: &mut Scratch) -> Result<(), Error> {
    let Gemm { a, b, mut c, beta } = args;
    check_shape("gemm", "rows of b", a.cols(), b.rows())?;
    check_shape("gemm", "rows of c", a.rows(), c.rows())?;
    check_shape("gemm", "columns of c", b.cols(), c.cols())?;
    if a.cols() == 0 {
        fill_empty(&mut c, beta);
        return Ok(());
    }
    let isa = scratch.isa();
    let nr = Side::Right.width(isa);
    for step in (0..a.cols()).step_by(KC) {
        let kc = KC.min(a.cols() - step);
        for first_col in (0..b.cols()).step_by(NC) {
            let cols = NC.min(b.cols() - first_col);
            let panels = scratch.packed_b.resize(kc * cols.next_multiple_of(nr));
            let lanes = first_col..first_col + cols;
            pack_panels(isa, Side::Right, panels, b.transposed(), [lanes, step..step + kc]);
            let block = Block { panels, step, first_col, cols };
            multiply_block(isa, a, &block, &mut c, beta, &mut scratch.packed_a);
        }
    }
    Ok(())
}

/// Computes `C = A B` or `C += A B` with some columns of a B that was packed before.
///
/// # Errors
/// [`Error::Shape`] where shapes do not fit; [`Error::Value`] where `columns` is not a range of `b` that
/// starts at a panel, or `b` was packed for another level than the scratch has.
pub fn gemm_packed(args: GemmPacked<'_>, scratch: &mut Scratch) -> Result<(), Error> {
    let op = "gemm_packed";
    let GemmPacked { a, b, columns, mut c, beta } = args;
    check_shape(op, "rows of b", a.cols(), b.rows())?;
    check_shape(op, "rows of c", a.rows(), c.rows())?;
    check_shape(op, "columns of c", columns.len(), c.cols())?;
    let starts_a_panel = columns.start.is_multiple_of(PackedB::COLUMN_MULTIPLE);
    if !starts_a_panel || columns.start > columns.end || columns.end > b.cols() {
        let got = format!("{columns:?}");
        return Err(Error::Value {
            op,
            what: "columns",
            expected: "a range of b from a multiple of 32 on",
            got,
        });
    }
    if b.isa() != scratch.isa() {
        let got = b.isa().to_string();
        return Err(Error::Value { op, what: "level of b", expected: "the scratch's level", got });
    }
    if a.cols() == 0 {
        fill_empty(&mut c, beta);
        return Ok(());
    }
    for step in (0..a.cols()).step_by(KC) {
        let panels = b.block(step, columns.start);
        let block = Block { panels, step, first_col: 0, cols: columns.len() };
        multiply_block(scratch.isa(), a, &block, &mut c, beta, &mut scratch.packed_a);
    }
    Ok(())
}

/// Gives C the value of a product over no steps.
fn fill_empty(c: &mut MatrixMut<'_>, beta: Beta) {
    if beta == Beta::Overwrite {
        (0..c.rows()).for_each(|i| c.row(i).fill(0.0));
    }
}

#[cfg(test)]
mod tests;
