//! The products inside of the softmax, at the place where their operands already lie in the right order.
//!
//! Each element is computed as [`gemm`](mod@crate::gemm) does, one chain of fused multiply-adds per [`KC`] steps, so the
//! bits are those of a product. What differs is that nothing needs packing but one transposed copy of a tile of rows:
//! positions go in lines of [`LINE`], which are the right factor's panels as they are written.

use std::ops::Range;

use crate::gemm::{Beta, KC};
use crate::isa::Simd;
use crate::prefetch::prefetch;

/// Values per line: a cache line, two AVX2 vectors.
pub(super) const LINE: usize = 16;

/// A line of values, most often of consecutive positions.
pub(super) type Line = [f32; LINE];

/// Rows of a register tile: with two vectors a row, 12 of AVX2's 16 registers hold sums.
const ROWS: usize = 6;

/// Returns how many of the remaining rows the next register tile takes: as many as fit, but no thin rest.
#[inline(always)]
fn next_rows(remaining: usize) -> usize {
    match remaining {
        7 | 8 => 4,
        _ => remaining.min(ROWS),
    }
}

/// Evaluates the expression with a constant that equals the number of rows.
macro_rules! with_rows {
    ($rows:expr, $constant:ident => $body:expr) => {
        match $rows {
            1 => with_rows!(@ 1, $constant => $body),
            2 => with_rows!(@ 2, $constant => $body),
            3 => with_rows!(@ 3, $constant => $body),
            4 => with_rows!(@ 4, $constant => $body),
            5 => with_rows!(@ 5, $constant => $body),
            6 => with_rows!(@ 6, $constant => $body),
            rows => unreachable!("a register tile has at most {ROWS} rows, not {rows}"),
        }
    };
    (@ $rows:literal, $constant:ident => $body:expr) => {{
        const $constant: usize = $rows;
        $body
    }};
}

/// Sums of `R` rows times one line, in registers.
struct Sums<S: Simd, const R: usize>([[S::Vector; 2]; R]);

impl<S: Simd, const R: usize> Sums<S, R> {
    #[inline(always)]
    fn zero(simd: S) -> Self {
        Self([[simd.splat(0.0); 2]; R])
    }

    /// Adds `left[r] * right` to each row `r`.
    ///
    /// The order keeps one broadcast alive at a time, so that nothing leaves the registers.
    #[inline(always)]
    fn step(&mut self, simd: S, left: impl Fn(usize) -> f32, right: &Line) {
        let vectors = LINE / S::LANES;
        let right = [simd.load(right), simd.load(&right[(vectors - 1) * S::LANES..])];
        for r in 0..R {
            let left = simd.splat(left(r));
            for (sum, right) in self.0[r].iter_mut().zip(right).take(vectors) {
                *sum = simd.mul_add(left, right, *sum);
            }
        }
    }

    /// Writes row `r` to `line`, as `update` makes it from the old vector and its place in the line.
    #[inline(always)]
    fn write(
        &self,
        simd: S,
        r: usize,
        line: &mut Line,
        update: impl Fn(S::Vector, &[f32], usize) -> S::Vector,
    ) {
        for v in 0..LINE / S::LANES {
            let at = v * S::LANES;
            let new = update(self.0[r][v], &line[at..], at);
            simd.store(new, &mut line[at..]);
        }
    }
}

/// Writes `rows . hidden` of one line of positions: `rows [v, dim]`, `hidden [dim]` lines, `logits [v]` lines.
#[inline(always)]
pub(super) fn logits<S: Simd>(simd: S, rows: &[f32], hidden: &[Line], logits: &mut [Line]) {
    let dim = hidden.len();
    if dim == 0 {
        logits.fill([0.0; LINE]);
        return;
    }
    let mut first = 0;
    while first < logits.len() {
        let count = next_rows(logits.len() - first);
        with_rows!(count, R => {
            let out = logits[first..].first_chunk_mut::<R>().expect("R rows remain");
            let rows: [&[f32]; R] = std::array::from_fn(|r| &rows[(first + r) * dim..][..dim]);
            logits_tile::<S, R>(simd, rows, hidden, out);
        });
        first += count;
    }
}

#[inline(always)]
fn logits_tile<S: Simd, const R: usize>(simd: S, rows: [&[f32]; R], hidden: &[Line], out: &mut [Line; R]) {
    for (block, right) in hidden.chunks(KC).enumerate() {
        let left = rows.map(|row| row[block * KC..][..right.len()].as_chunks::<LINE>());
        let (whole, rest) = right.as_chunks::<LINE>();
        let mut sums = Sums::<S, R>::zero(simd);
        for (chunk, right) in whole.iter().enumerate() {
            let left = left.map(|(whole, _)| &whole[chunk]);
            for k in 0..LINE {
                sums.step(simd, |r| left[r][k], &right[k]);
            }
        }
        for (k, right) in rest.iter().enumerate() {
            sums.step(simd, |r| left[r].1[k], right);
        }
        for (r, out) in out.iter_mut().enumerate() {
            if block == 0 {
                sums.write(simd, r, out, |new, _, _| new);
            } else {
                sums.write(simd, r, out, |new, old, _| simd.add(simd.load(old), new));
            }
        }
    }
}

/// Rows that are copied at a time; they stay in the first-level cache for all their columns.
const PACKED_ROWS: usize = 16;

/// Copies rows `[v, dim]` so that [`weighted_rows`] reads them in order: register tile by register tile of columns.
pub(super) fn pack_columns(rows: &[f32], dim: usize, packed: &mut [f32]) {
    let count = rows.len().checked_div(dim).unwrap_or(0);
    for (chunk, rows) in rows.chunks(PACKED_ROWS * dim.max(1)).enumerate() {
        let mut first = 0;
        while first < dim {
            let width = next_rows(dim - first);
            let packed = &mut packed[first * count + chunk * PACKED_ROWS * width..];
            with_rows!(width, R => {
                for (to, row) in packed.as_chunks_mut::<R>().0.iter_mut().zip(rows.chunks_exact(dim)) {
                    *to = *row[first..].first_chunk::<R>().expect("R columns remain");
                }
            });
            first += width;
        }
    }
}

/// Makes `sums = sums * keep + exps . rows` for one line of positions: `packed` from [`pack_columns`], `exps [v]` lines,
/// `sums [dim]` lines. `v` is at most [`KC`].
#[inline(always)]
pub(super) fn weighted_rows<S: Simd>(simd: S, packed: &[f32], exps: &[Line], keep: &Line, sums: &mut [Line]) {
    let (dim, count) = (sums.len(), exps.len());
    let mut first = 0;
    while first < dim {
        let width = next_rows(dim - first);
        let packed = &packed[first * count..][..width * count];
        with_rows!(width, R => {
            let mut new = Sums::<S, R>::zero(simd);
            for (left, right) in packed.as_chunks::<R>().0.iter().zip(exps) {
                new.step(simd, |r| left[r], right);
            }
            let sums = sums[first..].first_chunk_mut::<R>().expect("R rows remain");
            for (r, sum) in sums.iter_mut().enumerate() {
                new.write(simd, r, sum, |new, old, at| simd.mul_add(simd.load(old), simd.load(&keep[at..]), new));
            }
        });
        first += width;
    }
}

/// A tile's exps: `lines [panels, rows]`, of which the first `n` positions count.
#[derive(Clone, Copy)]
pub(super) struct Exps<'a> {
    pub(super) lines: &'a [Line],
    pub(super) rows: usize,
    pub(super) n: usize,
}

/// Where [`row_gradients`] writes: some rows of the table, and 16 columns of them.
#[derive(Clone)]
pub(super) struct Target {
    pub(super) rows: Range<usize>,
    pub(super) dim: usize,
    pub(super) column: usize,
    pub(super) beta: Beta,
}

/// Gives 16 columns of `exps . scaled` to some rows of `d_rows [rows, dim]`: `scaled [n]` lines.
#[inline(always)]
pub(super) fn row_gradients<S: Simd>(
    simd: S,
    exps: Exps<'_>,
    scaled: &[Line],
    d_rows: &mut [f32],
    target: Target,
) {
    let Target { rows, dim, column, beta } = target;
    let width = LINE.min(dim - column);
    let mut first = rows.start;
    while first < rows.end {
        let count = next_rows(rows.end - first);
        for row in first..first + count {
            prefetch(d_rows, row * dim + column, width);
        }
        with_rows!(count, R => {
            for start in (0..exps.n).step_by(KC) {
                let sums = row_chains::<S, R>(simd, exps, first, start, scaled);
                let replace = beta == Beta::Overwrite && start == 0;
                for r in 0..R {
                    let to = &mut d_rows[(first + r) * dim + column..][..width];
                    match to.as_mut_array::<LINE>() {
                        Some(to) if replace => sums.write(simd, r, to, |new, _, _| new),
                        Some(to) => sums.write(simd, r, to, |new, old, _| simd.add(simd.load(old), new)),
                        None => {
                            let mut row = [0.0; LINE];
                            sums.write(simd, r, &mut row, |new, _, _| new);
                            for (to, value) in to.iter_mut().zip(row) {
                                *to = if replace { value } else { *to + value };
                            }
                        }
                    }
                }
            }
        });
        first += count;
    }
}

/// Returns the chains of rows `first..` over the positions from `start` on, at most [`KC`] of them.
#[inline(always)]
fn row_chains<S: Simd, const R: usize>(
    simd: S,
    exps: Exps<'_>,
    first: usize,
    start: usize,
    scaled: &[Line],
) -> Sums<S, R> {
    let mut sums = Sums::<S, R>::zero(simd);
    let end = exps.n.min(start + KC);
    let (whole, rest) = scaled[start..end].as_chunks::<LINE>();
    let left = |panel: usize| {
        let lines = &exps.lines[(start / LINE + panel) * exps.rows + first..];
        lines.first_chunk::<R>().expect("R rows remain")
    };
    for (panel, right) in whole.iter().enumerate() {
        let left = left(panel);
        for k in 0..LINE {
            sums.step(simd, |r| left[r][k], &right[k]);
        }
    }
    if !rest.is_empty() {
        let left = left(whole.len());
        for (k, right) in rest.iter().enumerate() {
            sums.step(simd, |r| left[r][k], right);
        }
    }
    sums
}
