//! Sums over the rows of a matrix, such as the gradient of a bias.

use crate::error::{Error, check_shape};
use crate::gemm::{Beta, KC};
use crate::isa::{Isa, Kernel, Simd};

/// Columns whose sums are kept at hand while the rows pass.
const WIDTH: usize = 512;

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
            let (mut total, columns) = ([0.0; WIDTH], sums.len());
            for (index, block) in self.rows.chunks(KC * width).enumerate() {
                let mut block_sums = [0.0; WIDTH];
                for row in block.chunks_exact(width) {
                    add(&mut block_sums[..columns], &row[piece * WIDTH..][..columns]);
                }
                if index == 0 {
                    total = block_sums;
                } else {
                    add(&mut total[..columns], &block_sums[..columns]);
                }
            }
            if self.beta == Beta::Overwrite {
                sums.copy_from_slice(&total[..columns]);
            } else {
                add(sums, &total[..columns]);
            }
        }
    }
}

#[inline(always)]
fn add(into: &mut [f32], from: &[f32]) {
    for (into, from) in into.iter_mut().zip(from) {
        *into += from;
    }
}
