//! The affine layer `y = x W^T + b`, forward and backward.
//!
//! `W [out, in]` as PyTorch keeps it. The packed forms are made once per optimizer step and shared by all
//! micro-batches.

use crate::error::{Error, check_shape};
use crate::gemm::{Beta, Gemm, GemmPacked, PackedB, gemm, gemm_packed};
use crate::isa::{Isa, Kernel, Simd};
use crate::matrix::{MatrixMut, MatrixRef};
use crate::reduce::column_sums;
use crate::scratch::Scratch;

/// A layer's weights, packed for forward and backward.
#[derive(Debug)]
pub struct Weights {
    input_size: usize,
    output_size: usize,
    forward: PackedB,
    backward: PackedB,
    bias: Vec<f32>,
}

impl Weights {
    /// Returns weights of size zero for kernels at that level; fill them with [`Weights::pack`].
    pub fn new(isa: Isa) -> Self {
        let (forward, backward) = (PackedB::new(isa), PackedB::new(isa));
        Self { input_size: 0, output_size: 0, forward, backward, bias: Vec::new() }
    }

    /// Replaces the contents by `w [out, in]` and `b [out]`; no bias counts as zeros.
    ///
    /// # Errors
    /// [`Error::Shape`] where a length does not fit `shape = [out, in]`.
    pub fn pack(&mut self, shape: [usize; 2], w: &[f32], b: Option<&[f32]>) -> Result<(), Error> {
        let [output_size, input_size] = shape;
        check_shape("linear", "length of w", output_size * input_size, w.len())?;
        if let Some(b) = b {
            check_shape("linear", "length of b", output_size, b.len())?;
        }
        let w = MatrixRef::row_major(w, output_size, input_size)?;
        self.forward.pack(w.transposed());
        self.backward.pack(w);
        self.bias.clear();
        self.bias.extend_from_slice(b.unwrap_or_default());
        self.bias.resize(output_size, 0.0);
        (self.input_size, self.output_size) = (input_size, output_size);
        Ok(())
    }
}

/// Arguments of [`forward`].
#[derive(Debug)]
pub struct Forward<'a> {
    /// Rows of `x` and `y`.
    pub rows: usize,
    /// The packed weights.
    pub weights: &'a Weights,
    /// Input `[rows, in]`.
    pub x: &'a [f32],
    /// Output `[rows, out]`.
    pub y: &'a mut [f32],
}

/// Arguments of [`backward`].
#[derive(Debug)]
pub struct Backward<'a> {
    /// Rows of `x` and `d_y`.
    pub rows: usize,
    /// The packed weights.
    pub weights: &'a Weights,
    /// Input of the forward pass `[rows, in]`.
    pub x: &'a [f32],
    /// Gradient of the output `[rows, out]`.
    pub d_y: &'a [f32],
    /// Receives the gradient of the input `[rows, in]`, where wanted.
    pub d_x: Option<&'a mut [f32]>,
    /// Gradient of the weights `[out, in]`.
    pub d_w: &'a mut [f32],
    /// Gradient of the bias `[out]`, where there is a bias.
    pub d_b: Option<&'a mut [f32]>,
    /// Whether `d_w` and `d_b` are replaced or added to.
    pub beta: Beta,
}

/// Computes `y = x W^T + b`.
///
/// # Errors
/// [`Error::Shape`] where a length does not fit; [`Error::Value`] where weights and scratch differ in level.
pub fn forward(args: Forward<'_>, scratch: &mut Scratch) -> Result<(), Error> {
    let Forward { rows, weights, x, y } = args;
    let (input_size, output_size) = (weights.input_size, weights.output_size);
    check_shape("linear_forward", "length of x", rows * input_size, x.len())?;
    check_shape("linear_forward", "length of y", rows * output_size, y.len())?;
    let a = MatrixRef::row_major(x, rows, input_size)?;
    let c = MatrixMut::row_major(y, rows, output_size)?;
    let product = GemmPacked { a, b: &weights.forward, columns: 0..output_size, c, beta: Beta::Overwrite };
    gemm_packed(product, scratch)?;
    if output_size > 0 {
        scratch.isa().dispatch(AddRow { rows: y, row: &weights.bias });
    }
    Ok(())
}

/// Computes the gradients of the weights, the bias and, where wanted, the input.
///
/// # Errors
/// [`Error::Shape`] where a length does not fit; [`Error::Value`] where weights and scratch differ in level.
pub fn backward(args: Backward<'_>, scratch: &mut Scratch) -> Result<(), Error> {
    let op = "linear_backward";
    let Backward { rows, weights, x, d_y, d_x, d_w, d_b, beta } = args;
    let (input_size, output_size) = (weights.input_size, weights.output_size);
    check_shape(op, "length of x", rows * input_size, x.len())?;
    check_shape(op, "length of d_y", rows * output_size, d_y.len())?;
    check_shape(op, "length of d_w", output_size * input_size, d_w.len())?;
    let d_y_rows = MatrixRef::row_major(d_y, rows, output_size)?;
    if let Some(d_x) = d_x {
        check_shape(op, "length of d_x", rows * input_size, d_x.len())?;
        let c = MatrixMut::row_major(d_x, rows, input_size)?;
        let (b, columns) = (&weights.backward, 0..input_size);
        gemm_packed(GemmPacked { a: d_y_rows, b, columns, c, beta: Beta::Overwrite }, scratch)?;
    }
    let b = MatrixRef::row_major(x, rows, input_size)?;
    let c = MatrixMut::row_major(d_w, output_size, input_size)?;
    gemm(Gemm { a: d_y_rows.transposed(), b, c, beta }, scratch)?;
    if let Some(d_b) = d_b {
        check_shape(op, "length of d_b", output_size, d_b.len())?;
        column_sums(scratch.isa(), d_y, d_b, beta)?;
    }
    Ok(())
}

/// Adds one row to each row.
struct AddRow<'a> {
    rows: &'a mut [f32],
    row: &'a [f32],
}

impl Kernel for AddRow<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, _simd: S) {
        for values in self.rows.chunks_exact_mut(self.row.len()) {
            for (value, add) in values.iter_mut().zip(self.row) {
                *value += add;
            }
        }
    }
}
