//! The backward pass over all time steps, last to first.

use super::persistent::choose;
use super::{Layout, Parameters, Recurrence, check_state};
use crate::cuda::Error;
use crate::cuda::blas::{Factor, gemm};
use crate::cuda::device::Device;
use crate::cuda::error::count;
use crate::cuda::launch::Shape;
use crate::cuda::memory::{Buffer, View, ViewMut};
use crate::cuda::reduce::{add_assign, column_sums};
use crate::error::check_shape;
use crate::gemm::Beta;

/// Arguments of [`backward`]; `H` is the hidden size.
#[derive(Debug)]
pub struct Backward<'a> {
    /// Where the tokens lie.
    pub layout: &'a Layout,
    /// The layer's parameters.
    pub parameters: Parameters<'a>,
    /// Input of the forward pass `[tokens, In]`.
    pub x: View<'a, f32>,
    /// Initial hidden state of the forward pass.
    pub h0: Option<View<'a, f32>>,
    /// Initial cell state of the forward pass.
    pub c0: Option<View<'a, f32>>,
    /// Activated gates of the forward pass `[tokens, 4H]`; replaced by the gradient before the activations.
    pub gates: ViewMut<'a, f32>,
    /// Cell states of the forward pass `[tokens, H]`.
    pub c: View<'a, f32>,
    /// Hidden states of the forward pass `[tokens, H]`.
    pub h: View<'a, f32>,
    /// Gradient of the hidden states from above `[tokens, H]`.
    pub d_h: View<'a, f32>,
    /// Receives the gradient of the input `[tokens, In]`, where wanted.
    pub d_x: Option<ViewMut<'a, f32>>,
    /// Gradients of the parameters.
    pub d_parameters: Gradients<'a>,
    /// How the time steps are run.
    pub recurrence: Recurrence,
}

/// Gradients of a layer's parameters, in the parameters' shapes.
#[derive(Debug)]
pub struct Gradients<'a> {
    /// `[4H, In]`.
    pub w_ih: ViewMut<'a, f32>,
    /// `[4H, H]`.
    pub w_hh: ViewMut<'a, f32>,
    /// `[4H]`.
    pub b_ih: ViewMut<'a, f32>,
    /// `[4H]`; the same values as those of `b_ih`.
    pub b_hh: ViewMut<'a, f32>,
    /// Whether the gradients are replaced or added to.
    pub beta: Beta,
}

fn check(args: &Backward<'_>) -> Result<(), crate::Error> {
    let op = "lstm_backward";
    let (size, input_size) = (args.parameters.hidden_size, args.parameters.input_size);
    let tokens = args.layout.host().tokens();
    args.parameters.check(op)?;
    check_shape(op, "length of x", tokens * input_size, args.x.len())?;
    check_shape(op, "length of gates", tokens * 4 * size, args.gates.len())?;
    check_shape(op, "length of c", tokens * size, args.c.len())?;
    check_shape(op, "length of h", tokens * size, args.h.len())?;
    check_shape(op, "length of d_h", tokens * size, args.d_h.len())?;
    if let Some(d_x) = &args.d_x {
        check_shape(op, "length of d_x", tokens * input_size, d_x.len())?;
    }
    check_state(op, [args.h0, args.c0], args.layout.host().sequences() * size)?;
    let gradients = &args.d_parameters;
    check_shape(op, "length of d_w_ih", 4 * size * input_size, gradients.w_ih.len())?;
    check_shape(op, "length of d_w_hh", 4 * size * size, gradients.w_hh.len())?;
    check_shape(op, "length of d_b_ih", 4 * size, gradients.b_ih.len())?;
    check_shape(op, "length of d_b_hh", 4 * size, gradients.b_hh.len())
}

/// Runs the layer backward over all time steps.
///
/// # Errors
/// [`crate::Error`] where a length does not fit or w_hh does not but has to, else the device's.
pub fn backward(device: &Device, mut args: Backward<'_>) -> Result<(), Error> {
    check(&args)?;
    let layout = args.layout.host();
    let (size, input_size) = (args.parameters.hidden_size, args.parameters.input_size);
    let tokens = layout.tokens();
    if size > 0 && tokens > 0 {
        through_time(device, &mut args)?;
    }
    if let Some(d_x) = &mut args.d_x {
        let d_gates = Factor::new(args.gates.as_view(), tokens, 4 * size);
        let w_ih = Factor::new(args.parameters.w_ih, 4 * size, input_size);
        gemm(device, d_gates, w_ih, d_x, Beta::Overwrite)?;
    }
    parameter_gradients(device, args)
}

/// Replaces the activated gates by the gradients before the activations.
fn through_time(device: &Device, args: &mut Backward<'_>) -> Result<(), Error> {
    let layout = args.layout.host();
    let size = args.parameters.hidden_size;
    let mut d_c = device.zeros(layout.sequences() * size)?;
    let kernel = "lstm_persistent_backward_kernel";
    let Some(placement) = choose(device, args.recurrence, kernel, size, layout.sequences())? else {
        return steps(device, args, &mut d_c);
    };
    let counters = device.zeros(placement.batch_slices as usize)?;
    placement.run(
        device
            .launch(kernel)
            .output(&mut args.gates)
            .input(args.c)
            .input(args.d_h)
            .output(&mut d_c.view_mut())
            .input(args.parameters.w_hh)
            .input_or_null(args.c0),
        args.layout,
        counters,
    )
}

fn steps(device: &Device, args: &mut Backward<'_>, d_c: &mut Buffer<f32>) -> Result<(), Error> {
    let (layout, size) = (args.layout.host(), args.parameters.hidden_size);
    let w_hh = Factor::new(args.parameters.w_hh, 4 * size, size);
    let mut d_h_next = device.buffer(layout.sequences() * size)?;
    let hidden = count("lstm_backward", "hidden size", size)?;
    for t in (0..layout.steps()).rev() {
        let (rows, next_rows) = (layout.batch_size(t), layout.batch_size(t + 1));
        if next_rows > 0 {
            let next = args.gates.as_view().range(layout.span(t + 1, 4 * size));
            let to = &mut d_h_next.view_mut();
            let d_gates = Factor::new(next, next_rows, 4 * size);
            gemm(device, d_gates, w_hh, &mut to.range(0..next_rows * size), Beta::Overwrite)?;
        }
        let span = layout.span(t, size);
        let c_prev = if t == 0 { args.c0 } else { Some(args.c.range(layout.span(t - 1, size))) };
        let (c, d_h) = (args.c.range(span.clone()), args.d_h.range(span));
        let mut own = args.gates.range(layout.span(t, 4 * size));
        let wide = size.is_multiple_of(4)
            && own.is_aligned()
            && [c, d_h].iter().chain(&c_prev).all(View::is_aligned);
        let kernel = if wide { "lstm_cell_backward_vec4_kernel" } else { "lstm_cell_backward_kernel" };
        device
            .launch(kernel)
            .output(&mut own)
            .input_or_null(c_prev)
            .input(c)
            .input(d_h)
            .input(d_h_next.view())
            .output(&mut d_c.view_mut())
            .value(count(kernel, "number of sequences", rows)?)
            .value(count(kernel, "number of sequences", next_rows)?)
            .value(hidden)
            .run(Shape::items(rows * size / if wide { 4 } else { 1 }))?;
    }
    Ok(())
}

fn parameter_gradients(device: &Device, args: Backward<'_>) -> Result<(), Error> {
    let layout = args.layout.host();
    let (size, input_size, tokens) =
        (args.parameters.hidden_size, args.parameters.input_size, layout.tokens());
    let Gradients { mut w_ih, mut w_hh, mut b_ih, mut b_hh, beta } = args.d_parameters;
    let gates = args.gates.as_view();
    let d_gates = Factor::new(gates, tokens, 4 * size).transposed();
    gemm(device, d_gates, Factor::new(args.x, tokens, input_size), &mut w_ih, beta)?;
    // Without an initial state the first step's predecessors are zeros and add nothing.
    let first = if args.h0.is_some() { 0 } else { layout.sequences() };
    let previous = previous_states(device, args.layout, size, args.h, args.h0)?;
    let d_gates = gates.range(first * 4 * size..tokens * 4 * size);
    let d_gates = Factor::new(d_gates, tokens - first, 4 * size).transposed();
    let previous = previous.view().range(first * size..tokens * size);
    // `previous` is a temporary whose memory the pool gives out again only after this product, in stream order.
    gemm(device, d_gates, Factor::new(previous, tokens - first, size), &mut w_hh, beta)?;
    column_sums(device, gates, &mut b_ih, beta)?;
    match beta {
        Beta::Overwrite => device.copy(b_ih.as_view(), &mut b_hh),
        Beta::Accumulate => {
            let mut d_bias = device.buffer(4 * size)?;
            column_sums(device, gates, &mut d_bias.view_mut(), Beta::Overwrite)?;
            add_assign(device, &mut b_hh, d_bias.view())
        }
    }
}

/// Returns each token's previous hidden state `[tokens, H]`.
fn previous_states(
    device: &Device,
    layout: &Layout,
    size: usize,
    h: View<'_, f32>,
    h0: Option<View<'_, f32>>,
) -> Result<Buffer<f32>, Error> {
    let host = layout.host();
    let mut previous = device.buffer(host.tokens() * size)?;
    let shape = Shape::items(host.sequences() * size);
    device
        .launch("lstm_previous_kernel")
        .input(h)
        .input_or_null(h0)
        .input(layout.offsets.view())
        .output(&mut previous.view_mut())
        .value(count("lstm_backward", "hidden size", size)?)
        .run(Shape { grid: [shape.grid[0], host.steps()], ..shape })?;
    Ok(previous)
}
