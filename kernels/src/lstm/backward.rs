//! The backward pass over all time steps, last to first.

use std::ops::Range;

use super::cell::CellBackward;
use super::{Layout, Weights, check_state};
use crate::error::{Error, check_shape};
use crate::gemm::{Beta, Gemm, GemmPacked, gemm, gemm_packed};
use crate::matrix::{MatrixMut, MatrixRef};
use crate::reduce::{add_assign, column_sums};
use crate::scratch::{AlignedBuffer, Scratch};

/// Arguments of [`backward`]; `H` is the hidden size.
#[derive(Debug)]
pub struct Backward<'a> {
    /// Where the tokens lie.
    pub layout: &'a Layout,
    /// The layer's packed weights.
    pub weights: &'a Weights,
    /// Input of the forward pass `[tokens, In]`.
    pub x: &'a [f32],
    /// Initial hidden state of the forward pass.
    pub h0: Option<&'a [f32]>,
    /// Initial cell state of the forward pass.
    pub c0: Option<&'a [f32]>,
    /// Activated gates of the forward pass `[tokens, 4H]`; replaced by the gradient before the activations.
    pub gates: &'a mut [f32],
    /// Cell states of the forward pass `[tokens, H]`.
    pub c: &'a [f32],
    /// Hidden states of the forward pass `[tokens, H]`.
    pub h: &'a [f32],
    /// Gradient of the hidden states from above `[tokens, H]`.
    pub d_h: &'a [f32],
    /// Receives the gradient of the input `[tokens, In]`, where wanted.
    pub d_x: Option<&'a mut [f32]>,
    /// Gradients of the parameters.
    pub d_parameters: Gradients<'a>,
}

/// Gradients of a layer's parameters, in the parameters' shapes.
#[derive(Debug)]
pub struct Gradients<'a> {
    /// `[4H, In]`.
    pub w_ih: &'a mut [f32],
    /// `[4H, H]`.
    pub w_hh: &'a mut [f32],
    /// `[4H]`.
    pub b_ih: &'a mut [f32],
    /// `[4H]`; the same values as those of `b_ih`.
    pub b_hh: &'a mut [f32],
    /// Whether the gradients are replaced or added to.
    pub beta: Beta,
}

/// Runs the layer backward over all time steps.
///
/// # Errors
/// [`Error::Shape`] where a length does not fit; [`Error::Value`] where weights and scratch differ in level.
pub fn backward(args: Backward<'_>, scratch: &mut Scratch) -> Result<(), Error> {
    check(&args)?;
    let Backward { layout, weights, x, h0, c0, gates, c, h, d_h, d_x, d_parameters } = args;
    let (size, tokens) = (weights.hidden_size, layout.tokens());
    let mut buffers = std::mem::take(&mut scratch.lstm);
    let steps = Steps { layout, weights, c0, c, d_h };
    let through_time = steps.run(gates, d_x, &mut buffers, scratch);
    let gathered = buffers.h_prev.resize(tokens * size);
    gather_previous(layout, size, h0, h, gathered);
    let result = through_time.and_then(|()| {
        // Without an initial state the first step's predecessors are zeros and add nothing.
        let first = if h0.is_some() { 0 } else { layout.sequences() };
        let operands = Operands { gates, x, h_prev: gathered, tokens, first, weights };
        parameter_gradients(operands, d_parameters, buffers.d_bias.resize(4 * size), scratch)
    });
    scratch.lstm = buffers;
    result
}

fn check(args: &Backward<'_>) -> Result<(), Error> {
    let op = "lstm_backward";
    let (size, input_size) = (args.weights.hidden_size, args.weights.input_size);
    let tokens = args.layout.tokens();
    check_shape(op, "length of x", tokens * input_size, args.x.len())?;
    check_shape(op, "length of gates", tokens * 4 * size, args.gates.len())?;
    check_shape(op, "length of c", tokens * size, args.c.len())?;
    check_shape(op, "length of h", tokens * size, args.h.len())?;
    check_shape(op, "length of d_h", tokens * size, args.d_h.len())?;
    if let Some(d_x) = &args.d_x {
        check_shape(op, "length of d_x", tokens * input_size, d_x.len())?;
    }
    check_state(op, args.h0, args.c0, args.layout.sequences() * size)?;
    let gradients = &args.d_parameters;
    check_shape(op, "length of d_w_ih", 4 * size * input_size, gradients.w_ih.len())?;
    check_shape(op, "length of d_w_hh", 4 * size * size, gradients.w_hh.len())?;
    check_shape(op, "length of d_b_ih", 4 * size, gradients.b_ih.len())?;
    check_shape(op, "length of d_b_hh", 4 * size, gradients.b_hh.len())
}

/// Memory of the backward pass, kept in [`Scratch`].
#[derive(Debug, Default)]
pub(crate) struct Buffers {
    d_c: AlignedBuffer,
    d_h_next: AlignedBuffer,
    h_prev: AlignedBuffer,
    d_bias: AlignedBuffer,
}

/// What the recurrence reads.
struct Steps<'a> {
    layout: &'a Layout,
    weights: &'a Weights,
    c0: Option<&'a [f32]>,
    c: &'a [f32],
    d_h: &'a [f32],
}

impl Steps<'_> {
    /// Replaces the activated gates by the gradients of their products and writes the gradient of the input, last
    /// step first.
    fn run(
        &self,
        gates: &mut [f32],
        mut d_x: Option<&mut [f32]>,
        buffers: &mut Buffers,
        scratch: &mut Scratch,
    ) -> Result<(), Error> {
        let Self { layout, weights, c0, c, d_h } = *self;
        let size = weights.hidden_size;
        if size == 0 {
            d_x.into_iter().for_each(|d_x| d_x.fill(0.0));
            return Ok(());
        }
        let mut group_end = layout.steps();
        let d_c = buffers.d_c.resize(layout.sequences() * size);
        let d_h_next = buffers.d_h_next.resize(layout.sequences() * size);
        d_c.fill(0.0);
        for t in (0..layout.steps()).rev() {
            let (rows, next_rows) = (layout.batch_size(t), layout.batch_size(t + 1));
            if next_rows > 0 {
                let product = GemmPacked {
                    a: MatrixRef::row_major(&gates[layout.span(t + 1, 4 * size)], next_rows, 4 * size)?,
                    b: &weights.hidden_backward,
                    columns: 0..size,
                    c: MatrixMut::row_major(d_h_next, next_rows, size)?,
                    beta: Beta::Overwrite,
                };
                gemm_packed(product, scratch)?;
            }
            let span = layout.span(t, size);
            let c_prev = if t == 0 { c0 } else { Some(&c[layout.span(t - 1, size)]) };
            scratch.isa().dispatch(CellBackward {
                hidden_size: size,
                gates: &mut gates[layout.span(t, 4 * size)],
                c_prev,
                c: &c[span.clone()],
                d_h: &d_h[span],
                d_h_next: &d_h_next[..next_rows * size],
                d_c: &mut d_c[..rows * size],
            });
            if let Some(d_x) = d_x.as_deref_mut()
                && layout.is_group(t..group_end)
            {
                self.input_gradient(gates, d_x, layout.offset(t)..layout.offset(group_end), scratch)?;
                group_end = t;
            }
        }
        Ok(())
    }

    /// Writes the gradient of the input of tokens `tokens`.
    fn input_gradient(
        &self,
        gates: &[f32],
        d_x: &mut [f32],
        tokens: Range<usize>,
        scratch: &mut Scratch,
    ) -> Result<(), Error> {
        let (input_size, width) = (self.weights.input_size, 4 * self.weights.hidden_size);
        let product = GemmPacked {
            a: MatrixRef::row_major(&gates[tokens.start * width..], tokens.len(), width)?,
            b: &self.weights.input_backward,
            columns: 0..input_size,
            c: MatrixMut::row_major(&mut d_x[tokens.start * input_size..], tokens.len(), input_size)?,
            beta: Beta::Overwrite,
        };
        gemm_packed(product, scratch)
    }
}

/// Writes each token's previous hidden state, in the order of the tokens.
fn gather_previous(layout: &Layout, size: usize, h0: Option<&[f32]>, h: &[f32], previous: &mut [f32]) {
    for t in 0..layout.steps() {
        let to = &mut previous[layout.span(t, size)];
        match (t, h0) {
            (0, None) => to.fill(0.0),
            (0, Some(h0)) => to.copy_from_slice(h0),
            _ => {
                let from = &h[layout.span(t - 1, size)];
                to.copy_from_slice(&from[..to.len()]);
            }
        }
    }
}

/// What the parameters' gradients are made of; recurrent ones start at token `first`.
#[derive(Clone, Copy)]
struct Operands<'a> {
    gates: &'a [f32],
    x: &'a [f32],
    h_prev: &'a [f32],
    tokens: usize,
    first: usize,
    weights: &'a Weights,
}

fn parameter_gradients(
    from: Operands<'_>,
    to: Gradients<'_>,
    d_bias: &mut [f32],
    scratch: &mut Scratch,
) -> Result<(), Error> {
    let (size, input_size) = (from.weights.hidden_size, from.weights.input_size);
    let Gradients { w_ih, w_hh, b_ih, b_hh, beta } = to;
    let products = [(w_ih, from.x, input_size, 0), (w_hh, from.h_prev, size, from.first)];
    for (gradient, right, width, first) in products {
        let a = MatrixRef::row_major(&from.gates[first * 4 * size..], from.tokens - first, 4 * size)?
            .transposed();
        let b = MatrixRef::row_major(&right[first * width..], from.tokens - first, width)?;
        gemm(Gemm { a, b, c: MatrixMut::row_major(gradient, 4 * size, width)?, beta }, scratch)?;
    }
    // Both biases have one gradient, so the sums are formed once.
    column_sums(scratch.isa(), from.gates, d_bias, Beta::Overwrite)?;
    for gradient in [b_ih, b_hh] {
        match beta {
            Beta::Overwrite => gradient.copy_from_slice(d_bias),
            Beta::Accumulate => add_assign(scratch.isa(), gradient, d_bias)?,
        }
    }
    Ok(())
}
