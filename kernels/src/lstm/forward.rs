//! The forward pass over all time steps.

use std::ops::Range;

use super::cell::CellForward;
use super::{Layout, Weights, check_state};
use crate::error::{Error, check_shape};
use crate::gemm::{Beta, GemmPacked, gemm_packed};
use crate::matrix::{MatrixMut, MatrixRef};
use crate::scratch::Scratch;

/// Arguments of [`forward`]; `H` is the hidden size.
#[derive(Debug)]
pub struct Forward<'a> {
    /// Where the tokens lie.
    pub layout: &'a Layout,
    /// The layer's packed weights.
    pub weights: &'a Weights,
    /// Input `[tokens, In]`.
    pub x: &'a [f32],
    /// Initial hidden state `[sequences, H]`; zeros where not given.
    pub h0: Option<&'a [f32]>,
    /// Initial cell state `[sequences, H]`; zeros where not given.
    pub c0: Option<&'a [f32]>,
    /// Receives the activated gates i, f, g, o `[tokens, 4H]`, which backward needs.
    pub gates: &'a mut [f32],
    /// Receives the cell states `[tokens, H]`.
    pub c: &'a mut [f32],
    /// Receives the hidden states `[tokens, H]`, the layer's output.
    pub h: &'a mut [f32],
}

/// Runs the layer over all time steps.
///
/// # Errors
/// [`Error::Shape`] where a length does not fit; [`Error::Value`] where weights and scratch differ in level.
pub fn forward(args: Forward<'_>, scratch: &mut Scratch) -> Result<(), Error> {
    let op = "lstm_forward";
    let Forward { layout, weights, x, h0, c0, gates, c, h } = args;
    let (size, tokens) = (weights.hidden_size, layout.tokens());
    check_shape(op, "length of x", tokens * weights.input_size, x.len())?;
    check_shape(op, "length of gates", tokens * 4 * size, gates.len())?;
    check_shape(op, "length of c", tokens * size, c.len())?;
    check_shape(op, "length of h", tokens * size, h.len())?;
    check_state(op, h0, c0, layout.sequences() * size)?;
    if size == 0 || tokens == 0 {
        return Ok(());
    }
    let mut ready = 0;
    for t in 0..layout.steps() {
        if t == ready {
            ready = layout.group_end(t);
            input_product(weights, x, gates, layout.offset(t)..layout.offset(ready), scratch)?;
        }
        let (rows, span) = (layout.batch_size(t), layout.span(t, size));
        let (c_before, c) = c.split_at_mut(span.start);
        let (h_before, h) = h.split_at_mut(span.start);
        let gates = &mut gates[layout.span(t, 4 * size)];
        let previous = |before: &'_ [f32]| before.len() - layout.batch_size(t.saturating_sub(1)) * size;
        let (h_prev, c_prev) = if t == 0 {
            (h0, c0)
        } else {
            (Some(&h_before[previous(h_before)..]), Some(&c_before[previous(c_before)..]))
        };
        if let Some(h_prev) = h_prev {
            let recurrent = GemmPacked {
                a: MatrixRef::row_major(h_prev, rows, size)?,
                b: &weights.hidden_forward,
                columns: 0..4 * size,
                c: MatrixMut::row_major(gates, rows, 4 * size)?,
                beta: Beta::Accumulate,
            };
            gemm_packed(recurrent, scratch)?;
        }
        let (c, h) = (&mut c[..rows * size], &mut h[..rows * size]);
        scratch.isa().dispatch(CellForward { hidden_size: size, bias: &weights.bias, gates, c_prev, c, h });
    }
    Ok(())
}

/// Writes the input's part of the gates of tokens `tokens`.
fn input_product(
    weights: &Weights,
    x: &[f32],
    gates: &mut [f32],
    tokens: Range<usize>,
    scratch: &mut Scratch,
) -> Result<(), Error> {
    let (input_size, width) = (weights.input_size, 4 * weights.hidden_size);
    let product = GemmPacked {
        a: MatrixRef::row_major(&x[tokens.start * input_size..], tokens.len(), input_size)?,
        b: &weights.input_forward,
        columns: 0..width,
        c: MatrixMut::row_major(&mut gates[tokens.start * width..], tokens.len(), width)?,
        beta: Beta::Overwrite,
    };
    gemm_packed(product, scratch)
}
