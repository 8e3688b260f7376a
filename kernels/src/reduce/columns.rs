//! Sums over the rows of a matrix, such as the gradient of a bias.

use crate::error::{Error, check_shape};
use crate::gemm::{Beta, KC};
use crate::isa::{Isa, Kernel, Simd};

/// Columns whose sums are kept in registers while the rows pass.
const WIDTH: usize = 32;

/// Sums the rows of `rows [_, sums.len()]`: each column in order, in blocks of [`KC`] rows, like a product with
/// a row of ones. With [`Beta::Accumulate`] the whole sum is added to what `sums` holds.
///
/// # Errors
/// [`Error::Shape`] where `rows` is not a whole number of rows.
pub fn column_sums(isa: Isa, rows: &[f32], sums: &mut [f32], beta: Beta) -> Result<(), Error> {
    let count = rows.len().checked_div(sums.len()).unwrap_or(0);
    check_shape("column_sums", "length of rows", count * sums.len(), rows.len())?;
    isa.dispatch(ColumnSums { rows, sums, beta });
    Ok(())
}

struct ColumnSums<'a> {
    rows: &'a [f32],
    sums: &'a mut [f32],
    beta: Beta,
}

impl Kernel for ColumnSums<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, _simd: S) {
        let width = self.sums.len();
        for (piece, sums) in self.sums.chunks_mut(WIDTH).enumerate() {
            let mut total = [0.0; WIDTH];
            for (index, block) in self.rows.chunks(KC * width).enumerate() {
                let block = block_sums(block, width, piece * WIDTH, sums.len());
                total = if index == 0 { block } else { add(total, block) };
            }
            for (sum, total) in sums.iter_mut().zip(total) {
                *sum = if self.beta == Beta::Overwrite { total } else { *sum + total };
            }
        }
    }
}

/// Returns the sums of columns `first..first + columns` of some rows.
#[inline(always)]
fn block_sums(rows: &[f32], width: usize, first: usize, columns: usize) -> [f32; WIDTH] {
    let mut sums = [0.0; WIDTH];
    for row in rows.chunks_exact(width) {
        let row = &row[first..first + columns];
        match row.first_chunk::<WIDTH>() {
            Some(row) => sums = add(sums, *row),
            None => sums.iter_mut().zip(row).for_each(|(sum, value)| *sum += value),
        }
    }
    sums
}

#[inline(always)]
fn add(mut left: [f32; WIDTH], right: [f32; WIDTH]) -> [f32; WIDTH] {
    for (left, right) in left.iter_mut().zip(right) {
        *left += right;
    }
    left
}
