//! The scores of one tile of rows, and single scores with the same bits.

use std::ops::Range;

use super::Queries;
use crate::error::{Error, check_shape};
use crate::gemm::{Beta, Gemm, KC, gemm};
use crate::isa::{Isa, Kernel, Simd};
use crate::matrix::{MatrixMut, MatrixRef};
use crate::scratch::Scratch;
use crate::softmax::{TILE_ROWS, TableShard};

/// Reusable memory: the scores of one tile.
#[derive(Debug, Default)]
pub struct ScoreBuffers {
    scores: Vec<f32>,
}

/// Calls `visit(query, first row, scores)` for each query and tile of rows; excluded rows' scores are NaN.
pub(super) fn for_each_tile(
    table: TableShard<'_>,
    queries: Queries<'_>,
    n: usize,
    buffers: &mut ScoreBuffers,
    scratch: &mut Scratch,
    mut visit: impl FnMut(usize, Range<usize>, &mut [f32]),
) -> Result<(), Error> {
    for start in (0..table.n_rows()).step_by(TILE_ROWS) {
        let end = table.n_rows().min(start + TILE_ROWS);
        let rows = MatrixRef::row_major(table.tile(start..end), end - start, table.dim)?;
        let hidden = MatrixRef::row_major(queries.hidden, n, table.dim)?;
        buffers.scores.resize(n * (end - start), 0.0);
        let c = MatrixMut::row_major(&mut buffers.scores, n, end - start)?;
        gemm(Gemm { a: hidden, b: rows.transposed(), c, beta: Beta::Overwrite }, scratch)?;
        for (i, scores) in buffers.scores.chunks_exact_mut(end - start).enumerate() {
            if let Some(bias) = table.bias {
                for (score, b) in scores.iter_mut().zip(&bias[start..end]) {
                    *score += b;
                }
            }
            for &row in queries.exclude.within(i, start, end) {
                scores[row as usize - start] = f32::NAN;
            }
            visit(i, start..end, scores);
        }
    }
    Ok(())
}

/// Writes the score of each query's own row (a local row of this shard) into `scores` `[n]`; other entries stay.
///
/// # Errors
/// [`Error::Shape`] where lengths do not fit, [`Error::Value`] where a row lies outside the shard.
pub fn score_targets(
    table: TableShard<'_>,
    hidden: &[f32],
    targets: &[Option<u32>],
    scores: &mut [f32],
    isa: Isa,
) -> Result<(), Error> {
    let op = "score_targets";
    table.check(op)?;
    crate::softmax::Positions { hidden, targets }.check(op, table.n_rows(), table.dim)?;
    check_shape(op, "length of the scores", targets.len(), scores.len())?;
    isa.dispatch(Targets { table, hidden, targets, scores });
    Ok(())
}

struct Targets<'a> {
    table: TableShard<'a>,
    hidden: &'a [f32],
    targets: &'a [Option<u32>],
    scores: &'a mut [f32],
}

impl Kernel for Targets<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        let Self { table, hidden, targets, scores } = self;
        for (i, (target, score)) in targets.iter().zip(scores).enumerate() {
            let Some(row) = target.map(|row| row as usize) else { continue };
            let (h, e) = (&hidden[i * table.dim..(i + 1) * table.dim], table.tile(row..row + 1));
            // The order of a product's element: one chain per KC steps, then the chains in order.
            let mut total = 0.0;
            for (block, (h, e)) in h.chunks(KC).zip(e.chunks(KC)).enumerate() {
                let chain = h.iter().zip(e).fold(0.0_f32, |sum, (&h, &e)| h.mul_add(e, sum));
                total = if block == 0 { chain } else { total + chain };
            }
            *score = table.bias.map_or(total, |bias| total + bias[row]);
        }
    }
}
