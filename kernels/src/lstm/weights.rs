//! A layer's weights in the forms that the products of forward and backward read.

use crate::error::{Error, check_shape};
use crate::gemm::PackedB;
use crate::isa::Isa;
use crate::matrix::MatrixRef;

/// A layer's parameters as PyTorch keeps them.
#[derive(Debug, Clone, Copy)]
pub struct Parameters<'a> {
    /// Elements per token of the input.
    pub input_size: usize,
    /// Elements of the hidden state, H.
    pub hidden_size: usize,
    /// Input weights `[4H, In]`.
    pub w_ih: &'a [f32],
    /// Recurrent weights `[4H, H]`.
    pub w_hh: &'a [f32],
    /// Input bias `[4H]`.
    pub b_ih: &'a [f32],
    /// Recurrent bias `[4H]`.
    pub b_hh: &'a [f32],
}

/// A layer's weights, packed once per optimizer step and shared by all micro-batches.
#[derive(Debug)]
pub struct Weights {
    pub(super) input_size: usize,
    pub(super) hidden_size: usize,
    /// `w_ih^T` and `w_hh^T`, for the gates.
    pub(super) input_forward: PackedB,
    pub(super) hidden_forward: PackedB,
    /// `w_ih` and `w_hh`, for the gradients of x and h.
    pub(super) input_backward: PackedB,
    pub(super) hidden_backward: PackedB,
    /// `b_ih + b_hh`.
    pub(super) bias: Vec<f32>,
}

impl Weights {
    /// Returns weights of size zero for kernels at that level; fill them with [`Weights::pack`].
    pub fn new(isa: Isa) -> Self {
        Self {
            input_size: 0,
            hidden_size: 0,
            input_forward: PackedB::new(isa),
            hidden_forward: PackedB::new(isa),
            input_backward: PackedB::new(isa),
            hidden_backward: PackedB::new(isa),
            bias: Vec::new(),
        }
    }

    /// Replaces the contents; memory is kept from call to call.
    ///
    /// # Errors
    /// [`Error::Shape`] where a parameter's length does not fit the sizes.
    pub fn pack(&mut self, parameters: Parameters<'_>) -> Result<(), Error> {
        let op = "lstm weights";
        let Parameters { input_size, hidden_size, w_ih, w_hh, b_ih, b_hh } = parameters;
        let gates = 4 * hidden_size;
        check_shape(op, "length of w_ih", gates * input_size, w_ih.len())?;
        check_shape(op, "length of w_hh", gates * hidden_size, w_hh.len())?;
        check_shape(op, "length of b_ih", gates, b_ih.len())?;
        check_shape(op, "length of b_hh", gates, b_hh.len())?;
        let w_ih = MatrixRef::row_major(w_ih, gates, input_size)?;
        let w_hh = MatrixRef::row_major(w_hh, gates, hidden_size)?;
        self.input_forward.pack(w_ih.transposed());
        self.hidden_forward.pack(w_hh.transposed());
        self.input_backward.pack(w_ih);
        self.hidden_backward.pack(w_hh);
        self.bias.clear();
        self.bias.extend(b_ih.iter().zip(b_hh).map(|(b_ih, b_hh)| b_ih + b_hh));
        (self.input_size, self.hidden_size) = (input_size, hidden_size);
        Ok(())
    }

    /// Returns the number of elements per token of the input.
    pub fn input_size(&self) -> usize {
        self.input_size
    }

    /// Returns the number of elements of the hidden state.
    pub fn hidden_size(&self) -> usize {
        self.hidden_size
    }
}
