//! The order of a matrix product, see [`gemm`](mod@crate::gemm).

use super::Real;
use crate::gemm::{Beta, KC};
use crate::matrix::{MatrixMut, MatrixRef};

/// Computes `C = A B` or `C += A B`; panics where shapes do not fit.
pub fn gemm<T: Real>(a: MatrixRef<'_, T>, b: MatrixRef<'_, T>, c: &mut MatrixMut<'_, T>, beta: Beta) {
    assert_eq!((a.cols(), a.rows(), b.cols()), (b.rows(), c.rows(), c.cols()), "shapes of a product");
    for i in 0..a.rows() {
        for j in 0..b.cols() {
            let c = &mut c.row(i)[j];
            if a.cols() == 0 && beta == Beta::Overwrite {
                *c = T::default();
            }
            for start in (0..a.cols()).step_by(KC) {
                let mut sum = T::default();
                for k in start..a.cols().min(start + KC) {
                    sum = a.at(i, k).mul_add(b.at(k, j), sum);
                }
                *c = if start == 0 && beta == Beta::Overwrite { sum } else { c.add(sum) };
            }
        }
    }
}
