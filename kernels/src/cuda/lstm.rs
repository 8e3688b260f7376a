//! One layer of an LSTM over a packed micro-batch, see [`lstm`](mod@crate::lstm): same shapes, same order of tokens.
//!
//! The recurrence runs in one of two ways, with the same sums: step by step (a cuBLAS product and a fused pointwise
//! kernel a step, to be replayed as a graph), or in one launch that keeps w_hh in shared memory, where it fits.

mod backward;
mod forward;
mod persistent;

pub use backward::{Backward, Gradients, backward};
pub use forward::{Forward, forward};
pub use persistent::{Placement, placement};

use super::Error;
use super::device::Device;
use super::error::count;
use super::launch::Shape;
use super::memory::{Buffer, View};
use crate::error::check_shape;
use crate::lstm::Layout as HostLayout;

/// How the time steps are run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Recurrence {
    /// In one launch where w_hh fits the device, else step by step.
    #[default]
    Auto,
    /// Step by step.
    Steps,
    /// In one launch; an error where w_hh does not fit.
    Persistent,
}

/// Where the tokens of a packed micro-batch lie, on the host and on the device.
#[derive(Debug)]
pub struct Layout {
    host: HostLayout,
    offsets: Buffer<u32>,
}

impl Layout {
    /// Copies a layout to the device.
    ///
    /// # Errors
    /// The device's.
    pub fn upload(device: &Device, host: HostLayout) -> Result<Self, Error> {
        count("lstm layout", "number of tokens", host.tokens())?;
        let offsets: Vec<u32> = (0..=host.steps()).map(|t| host.offset(t) as u32).collect();
        Ok(Self { offsets: device.upload(&offsets)?, host })
    }

    /// Returns the layout.
    pub fn host(&self) -> &HostLayout {
        &self.host
    }
}

/// A layer's parameters as PyTorch keeps them, in device memory.
#[derive(Debug, Clone, Copy)]
pub struct Parameters<'a> {
    /// Elements per token of the input.
    pub input_size: usize,
    /// Elements of the hidden state, H.
    pub hidden_size: usize,
    /// Input weights `[4H, In]`.
    pub w_ih: View<'a, f32>,
    /// Recurrent weights `[4H, H]`.
    pub w_hh: View<'a, f32>,
    /// Input bias `[4H]`.
    pub b_ih: View<'a, f32>,
    /// Recurrent bias `[4H]`.
    pub b_hh: View<'a, f32>,
}

impl Parameters<'_> {
    fn check(&self, op: &'static str) -> Result<(), crate::Error> {
        let gates = 4 * self.hidden_size;
        check_shape(op, "length of w_ih", gates * self.input_size, self.w_ih.len())?;
        check_shape(op, "length of w_hh", gates * self.hidden_size, self.w_hh.len())?;
        check_shape(op, "length of b_ih", gates, self.b_ih.len())?;
        check_shape(op, "length of b_hh", gates, self.b_hh.len())
    }

    /// Returns `b_ih + b_hh`.
    fn bias(&self, device: &Device) -> Result<Buffer<f32>, Error> {
        let n = self.b_ih.len();
        let mut bias = device.buffer(n)?;
        device
            .launch("lstm_bias_kernel")
            .input(self.b_ih)
            .input(self.b_hh)
            .output(&mut bias.view_mut())
            .value(count("lstm", "number of gates", n)?)
            .run(Shape::items(n))?;
        Ok(bias)
    }
}

/// Checks the initial state, each `[sequences, hidden_size]` where given.
fn check_state(
    op: &'static str,
    state: [Option<View<'_, f32>>; 2],
    expected: usize,
) -> Result<(), crate::Error> {
    for (what, view) in ["length of h0", "length of c0"].into_iter().zip(state) {
        check_shape(op, what, expected, view.map_or(expected, |view| view.len()))?;
    }
    Ok(())
}
