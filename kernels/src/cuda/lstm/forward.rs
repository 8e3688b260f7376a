//! The forward pass over all time steps.

use super::persistent::{Placement, choose};
use super::{Layout, Parameters, Recurrence, check_state};
use crate::cuda::Error;
use crate::cuda::blas::{Factor, gemm};
use crate::cuda::device::Device;
use crate::cuda::error::count;
use crate::cuda::launch::Shape;
use crate::cuda::memory::{View, ViewMut};
use crate::error::check_shape;
use crate::gemm::Beta;

/// Arguments of [`forward`]; `H` is the hidden size.
#[derive(Debug)]
pub struct Forward<'a> {
    /// Where the tokens lie.
    pub layout: &'a Layout,
    /// The layer's parameters.
    pub parameters: Parameters<'a>,
    /// Input `[tokens, In]`.
    pub x: View<'a, f32>,
    /// Initial hidden state `[sequences, H]`; zeros where not given.
    pub h0: Option<View<'a, f32>>,
    /// Initial cell state `[sequences, H]`; zeros where not given.
    pub c0: Option<View<'a, f32>>,
    /// Receives the activated gates i, f, g, o `[tokens, 4H]`, which backward needs.
    pub gates: ViewMut<'a, f32>,
    /// Receives the cell states `[tokens, H]`.
    pub c: ViewMut<'a, f32>,
    /// Receives the hidden states `[tokens, H]`, the layer's output.
    pub h: ViewMut<'a, f32>,
    /// How the time steps are run.
    pub recurrence: Recurrence,
}

/// Runs the layer over all time steps.
///
/// # Errors
/// [`crate::Error`] where a length does not fit or w_hh does not but has to, else the device's.
pub fn forward(device: &Device, mut args: Forward<'_>) -> Result<(), Error> {
    let op = "lstm_forward";
    let layout = args.layout.host();
    let (size, tokens) = (args.parameters.hidden_size, layout.tokens());
    args.parameters.check(op)?;
    check_shape(op, "length of x", tokens * args.parameters.input_size, args.x.len())?;
    check_shape(op, "length of gates", tokens * 4 * size, args.gates.len())?;
    check_shape(op, "length of c", tokens * size, args.c.len())?;
    check_shape(op, "length of h", tokens * size, args.h.len())?;
    check_state(op, [args.h0, args.c0], layout.sequences() * size)?;
    if size == 0 || tokens == 0 {
        return Ok(());
    }
    let input = Factor::new(args.x, tokens, args.parameters.input_size);
    let w_ih = Factor::new(args.parameters.w_ih, 4 * size, args.parameters.input_size);
    gemm(device, input, w_ih.transposed(), &mut args.gates, Beta::Overwrite)?;
    let bias = args.parameters.bias(device)?;
    let kernel = "lstm_persistent_forward_kernel";
    match choose(device, args.recurrence, kernel, size, layout.sequences())? {
        Some(placement) => persistent(device, args, bias.view(), placement),
        None => steps(device, args, bias.view()),
    }
}

fn persistent(
    device: &Device,
    args: Forward<'_>,
    bias: View<'_, f32>,
    placement: Placement,
) -> Result<(), Error> {
    let Forward { layout, parameters, h0, c0, mut gates, mut c, mut h, .. } = args;
    let counters = device.zeros(placement.batch_slices as usize)?;
    placement.run(
        device
            .launch("lstm_persistent_forward_kernel")
            .output(&mut gates)
            .output(&mut c)
            .output(&mut h)
            .input(parameters.w_hh)
            .input(bias)
            .input_or_null(h0)
            .input_or_null(c0),
        layout,
        counters,
    )
}

fn steps(device: &Device, args: Forward<'_>, bias: View<'_, f32>) -> Result<(), Error> {
    let Forward { layout, parameters, h0, c0, mut gates, mut c, mut h, .. } = args;
    let (layout, size) = (layout.host(), parameters.hidden_size);
    let w_hh = Factor::new(parameters.w_hh, 4 * size, size).transposed();
    let hidden = count("lstm_forward", "hidden size", size)?;
    for t in 0..layout.steps() {
        let rows = layout.batch_size(t);
        let mut own = gates.range(layout.span(t, 4 * size));
        // What comes before the step, and the step itself.
        let (c_before, mut c) = c.reborrow().split_at(layout.offset(t) * size);
        let (h_before, mut h) = h.reborrow().split_at(layout.offset(t) * size);
        let (h_prev, c_prev) = if t == 0 {
            (h0, c0)
        } else {
            let start = layout.offset(t - 1) * size;
            let previous = start..start + rows * size;
            (Some(h_before.as_view().range(previous.clone())), Some(c_before.as_view().range(previous)))
        };
        if let Some(h_prev) = h_prev {
            let h_prev = Factor::new(h_prev.range(0..rows * size), rows, size);
            gemm(device, h_prev, w_hh, &mut own, Beta::Accumulate)?;
        }
        let wide = size.is_multiple_of(4)
            && own.is_aligned()
            && c.is_aligned()
            && h.is_aligned()
            && bias.is_aligned()
            && c_prev.is_none_or(|c_prev| c_prev.is_aligned());
        let kernel = if wide { "lstm_cell_forward_vec4_kernel" } else { "lstm_cell_forward_kernel" };
        device
            .launch(kernel)
            .output(&mut own)
            .input(bias)
            .input_or_null(c_prev)
            .output(&mut c.range(0..rows * size))
            .output(&mut h.range(0..rows * size))
            .value(count(kernel, "number of sequences", rows)?)
            .value(hidden)
            .run(Shape::items(rows * size / if wide { 4 } else { 1 }))?;
    }
    Ok(())
}
