//! One layer of an LSTM over a packed micro-batch, forward and backward.
//!
//! Sequences are sorted by length, longest first, and stored time-major without padding ([`Layout`]), as in
//! PyTorch's `PackedSequence`; work is proportional to real tokens. Gates are in PyTorch's order i, f, g, o, weights
//! have its shapes: `w_ih [4H, In]`, `w_hh [4H, H]`, `b_ih [4H]`, `b_hh [4H]`.
//!
//! The input's product covers all tokens at once; the recurrent product runs per time step over the sequences
//! still alive. [`Weights`] are packed once per optimizer step and shared by all micro-batches and threads.
//! Gradients of the initial state are deliberately absent: nothing here trains it.

mod backward;
mod cell;
mod forward;
mod layout;
mod weights;

pub(crate) use backward::Buffers;
pub use backward::{Backward, Gradients, backward};
pub use forward::{Forward, forward};
pub use layout::Layout;
pub use weights::{Parameters, Weights};

use crate::error::{Error, check_shape};

/// Checks the initial state, each `[sequences, hidden_size]` where given.
fn check_state(
    op: &'static str,
    h0: Option<&[f32]>,
    c0: Option<&[f32]>,
    expected: usize,
) -> Result<(), Error> {
    if let Some(h0) = h0 {
        check_shape(op, "length of h0", expected, h0.len())?;
    }
    if let Some(c0) = c0 {
        check_shape(op, "length of c0", expected, c0.len())?;
    }
    Ok(())
}
