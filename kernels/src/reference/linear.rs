//! The affine layer; see [`linear`](crate::linear) for shapes and order.

use super::{Real, gemm};
use crate::gemm::Beta;
use crate::matrix::{MatrixMut, MatrixRef};

/// An affine layer `y = x W^T + b` with its input.
#[derive(Debug, Clone, Copy)]
pub struct Linear<'a, T> {
    /// Rows of the input.
    pub rows: usize,
    /// Weights `[out, in]`.
    pub w: MatrixRef<'a, T>,
    /// Bias `[out]`.
    pub b: &'a [T],
    /// Input `[rows, in]`.
    pub x: &'a [T],
}

/// Gradients of [`Linear`], in the shapes of what they are gradients of.
#[derive(Debug, Clone, PartialEq)]
pub struct LinearGradients<T> {
    /// `[rows, in]`.
    pub x: Vec<T>,
    /// `[out, in]`.
    pub w: Vec<T>,
    /// `[out]`.
    pub b: Vec<T>,
}

impl<T: Real> Linear<'_, T> {
    /// Returns `y [rows, out]`; panics where shapes do not fit.
    pub fn forward(&self) -> Vec<T> {
        let mut y = vec![T::default(); self.rows * self.w.rows()];
        product(self.view(self.x, self.w.cols()), self.w.transposed(), &mut y);
        y.iter().enumerate().map(|(at, y)| y.add(self.b[at % self.b.len()])).collect()
    }

    /// Returns the gradients for that of the output, `d_y [rows, out]`; panics where shapes do not fit.
    pub fn backward(&self, d_y: &[T]) -> LinearGradients<T> {
        let [out, input] = [self.w.rows(), self.w.cols()];
        let (mut x, mut w) = (vec![T::default(); self.rows * input], vec![T::default(); out * input]);
        product(self.view(d_y, out), self.w, &mut x);
        product(self.view(d_y, out).transposed(), self.view(self.x, input), &mut w);
        LinearGradients { x, w, b: column_sums(d_y, out) }
    }

    fn view<'d>(&self, data: &'d [T], cols: usize) -> MatrixRef<'d, T> {
        MatrixRef::row_major(data, self.rows, cols).expect("the caller's lengths fit the rows")
    }
}

/// Sums the rows of `rows [_, width]`, as a product with a row of ones.
pub fn column_sums<T: Real>(rows: &[T], width: usize) -> Vec<T> {
    let count = rows.len().checked_div(width).unwrap_or(0);
    let ones = [T::from_f64(1.0)];
    let a = MatrixRef::strided(&ones, [1, count], [0, 0]).expect("one element is all that strides of 0 need");
    let b = MatrixRef::row_major(rows, count, width).expect("the count follows from the length");
    let mut sums = vec![T::default(); width];
    product(a, b, &mut sums);
    sums
}

fn product<T: Real>(a: MatrixRef<'_, T>, b: MatrixRef<'_, T>, c: &mut [T]) {
    let c = &mut MatrixMut::row_major(c, a.rows(), b.cols()).expect("the result has the product's shape");
    gemm(a, b, c, Beta::Overwrite);
}
