//! The affine layer `y = x W^T + b`, see [`linear`](mod@crate::linear); weights need no packing here.

use super::Error;
use super::blas::{Factor, gemm};
use super::device::Device;
use super::memory::{View, ViewMut};
use super::reduce::{add_row, column_sums};
use crate::error::check_shape;
use crate::gemm::Beta;

/// A layer's parameters.
#[derive(Debug, Clone, Copy)]
pub struct Weights<'a> {
    /// Columns of the input.
    pub input_size: usize,
    /// Columns of the output.
    pub output_size: usize,
    /// `[out, in]`.
    pub w: View<'a, f32>,
    /// `[out]`.
    pub b: Option<View<'a, f32>>,
}

/// Computes `y = x W^T + b`: `x [rows, in]`, `y [rows, out]`.
///
/// # Errors
/// [`crate::Error::Shape`] where a length does not fit, else the device's.
pub fn forward(
    device: &Device,
    rows: usize,
    weights: Weights<'_>,
    x: View<'_, f32>,
    y: &mut ViewMut<'_, f32>,
) -> Result<(), Error> {
    let Weights { input_size, output_size, w, b } = weights;
    let a = Factor::new(x, rows, input_size);
    let w = Factor::new(w, output_size, input_size).transposed();
    gemm(device, a, w, y, Beta::Overwrite)?;
    match b {
        Some(b) => {
            check_shape("linear_forward", "length of b", output_size, b.len())?;
            add_row(device, y, b)
        }
        None => Ok(()),
    }
}

/// Arguments of [`backward`].
#[derive(Debug)]
pub struct Backward<'a> {
    /// Rows of `x` and `d_y`.
    pub rows: usize,
    /// The parameters.
    pub weights: Weights<'a>,
    /// Input of the forward pass `[rows, in]`.
    pub x: View<'a, f32>,
    /// Gradient of the output `[rows, out]`.
    pub d_y: View<'a, f32>,
    /// Receives the gradient of the input `[rows, in]`, where wanted.
    pub d_x: Option<ViewMut<'a, f32>>,
    /// Gradient of the weights `[out, in]`.
    pub d_w: ViewMut<'a, f32>,
    /// Gradient of the bias `[out]`, where there is a bias.
    pub d_b: Option<ViewMut<'a, f32>>,
    /// Whether `d_w` and `d_b` are replaced or added to.
    pub beta: Beta,
}

/// Computes the gradients of the weights, the bias and, where wanted, the input.
///
/// # Errors
/// [`crate::Error::Shape`] where a length does not fit, else the device's.
pub fn backward(device: &Device, args: Backward<'_>) -> Result<(), Error> {
    let Backward { rows, weights, x, d_y, d_x, mut d_w, d_b, beta } = args;
    let Weights { input_size, output_size, w, .. } = weights;
    let d_y_rows = Factor::new(d_y, rows, output_size);
    if let Some(mut d_x) = d_x {
        gemm(device, d_y_rows, Factor::new(w, output_size, input_size), &mut d_x, Beta::Overwrite)?;
    }
    gemm(device, d_y_rows.transposed(), Factor::new(x, rows, input_size), &mut d_w, beta)?;
    match d_b {
        Some(mut d_b) => {
            check_shape("linear_backward", "length of d_b", output_size, d_b.len())?;
            column_sums(device, d_y, &mut d_b, beta)
        }
        None => Ok(()),
    }
}
