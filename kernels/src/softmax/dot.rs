//! One score per position: the dot product of a hidden state with its own row, for click and rating heads.

use crate::error::{Error, check_shape};
use crate::isa::{Isa, Kernel, Simd};

/// Lanes of a dot product: lane `j` takes elements `j, j + 16, ..`; then the upper half is added to the lower, down to
/// one. Part of the numeric contract.
pub(super) const LANES: usize = 16;

/// A hidden state and a row per position.
#[derive(Debug, Clone, Copy)]
pub struct DotInput<'a, T = f32> {
    /// Values of a row.
    pub dim: usize,
    /// Hidden states `[n, dim]`.
    pub hidden: &'a [T],
    /// The row of each position `[n, dim]`.
    pub rows: &'a [T],
    /// Added to each position's score `[n]`.
    pub bias: Option<&'a [T]>,
}

/// Where the gradients go; both are overwritten. The bias's gradient is the score's.
#[derive(Debug)]
pub struct DotGrads<'a, T = f32> {
    /// Gradient of the hidden states `[n, dim]`.
    pub d_hidden: &'a mut [T],
    /// Gradient of each position's row `[n, dim]`.
    pub d_rows: &'a mut [T],
}

/// Writes `hidden . row + bias` of each position into `pred` `[n]`.
///
/// # Errors
/// [`Error::Shape`] where lengths do not fit.
pub fn dot_forward(input: DotInput<'_>, pred: &mut [f32], isa: Isa) -> Result<(), Error> {
    input.check("dot_forward", pred.len())?;
    isa.dispatch(Forward { input, pred });
    Ok(())
}

/// Gives the gradients of hidden states and rows from that of the scores `[n]`.
///
/// # Errors
/// [`Error::Shape`] where lengths do not fit.
pub fn dot_backward(input: DotInput<'_>, d_pred: &[f32], grads: DotGrads<'_>, isa: Isa) -> Result<(), Error> {
    let op = "dot_backward";
    input.check(op, d_pred.len())?;
    check_shape(op, "length of d_hidden", input.hidden.len(), grads.d_hidden.len())?;
    check_shape(op, "length of d_rows", input.rows.len(), grads.d_rows.len())?;
    isa.dispatch(Backward { input, d_pred, grads });
    Ok(())
}

impl DotInput<'_> {
    fn check(&self, op: &'static str, n: usize) -> Result<(), Error> {
        check_shape(op, "length of the hidden states", n * self.dim, self.hidden.len())?;
        check_shape(op, "length of the rows", n * self.dim, self.rows.len())?;
        check_shape(op, "length of the bias", n, self.bias.map_or(n, <[f32]>::len))
    }
}

/// Returns the dot product in [`LANES`] lanes.
#[inline(always)]
pub(super) fn lane_dot(a: &[f32], b: &[f32]) -> f32 {
    let mut lanes = [0.0_f32; LANES];
    let (a_whole, a_rest) = a.as_chunks::<LANES>();
    let (b_whole, b_rest) = b.as_chunks::<LANES>();
    for (a, b) in a_whole.iter().zip(b_whole) {
        for j in 0..LANES {
            lanes[j] = a[j].mul_add(b[j], lanes[j]);
        }
    }
    for ((lane, &a), &b) in lanes.iter_mut().zip(a_rest).zip(b_rest) {
        *lane = a.mul_add(b, *lane);
    }
    fold(lanes)
}

/// Adds the upper half of the lanes to the lower, down to one.
#[inline(always)]
pub(super) fn fold(mut lanes: [f32; LANES]) -> f32 {
    let mut width = LANES;
    while width > 1 {
        width /= 2;
        for j in 0..width {
            lanes[j] += lanes[j + width];
        }
    }
    lanes[0]
}

struct Forward<'a> {
    input: DotInput<'a>,
    pred: &'a mut [f32],
}

impl Kernel for Forward<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        let DotInput { dim, hidden, rows, bias } = self.input;
        for (i, pred) in self.pred.iter_mut().enumerate() {
            let range = i * dim..(i + 1) * dim;
            *pred = lane_dot(&hidden[range.clone()], &rows[range]) + bias.map_or(0.0, |bias| bias[i]);
        }
    }
}

struct Backward<'a> {
    input: DotInput<'a>,
    d_pred: &'a [f32],
    grads: DotGrads<'a>,
}

impl Kernel for Backward<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        let DotInput { dim, hidden, rows, .. } = self.input;
        for (i, &d) in self.d_pred.iter().enumerate() {
            let range = i * dim..(i + 1) * dim;
            for (to, &row) in self.grads.d_hidden[range.clone()].iter_mut().zip(&rows[range.clone()]) {
                *to = d * row;
            }
            for (to, &h) in self.grads.d_rows[range.clone()].iter_mut().zip(&hidden[range]) {
                *to = d * h;
            }
        }
    }
}

/// The same as plain loops, generic over f32 and f64.
pub mod reference {
    use super::{DotGrads, DotInput, LANES};
    use crate::reference::Real;

    /// Returns the dot product in 16 lanes.
    pub fn lane_dot<T: Real>(a: &[T], b: &[T]) -> T {
        let mut lanes = [T::default(); LANES];
        for i in 0..a.len() {
            lanes[i % LANES] = a[i].mul_add(b[i], lanes[i % LANES]);
        }
        fold(lanes)
    }

    /// Adds up lanes as a tree.
    pub fn fold<T: Real>(mut lanes: [T; LANES]) -> T {
        for width in [8, 4, 2, 1] {
            for j in 0..width {
                lanes[j] = lanes[j].add(lanes[j + width]);
            }
        }
        lanes[0]
    }

    /// Returns each position's score.
    pub fn dot_forward<T: Real>(input: DotInput<'_, T>) -> Vec<T> {
        let dim = input.dim;
        let n = input.hidden.len().checked_div(dim).unwrap_or(0);
        let row = |data: &'_ [T], i: usize| data[i * dim..(i + 1) * dim].to_vec();
        let score = |i| lane_dot(&row(input.hidden, i), &row(input.rows, i));
        (0..n).map(|i| score(i).add(input.bias.map_or(T::default(), |bias| bias[i]))).collect()
    }

    /// Gives the gradients of hidden states and rows.
    pub fn dot_backward<T: Real>(input: DotInput<'_, T>, d_pred: &[T], grads: DotGrads<'_, T>) {
        let DotGrads { d_hidden, d_rows } = grads;
        for i in 0..input.hidden.len() {
            d_hidden[i] = d_pred[i / input.dim].mul(input.rows[i]);
            d_rows[i] = d_pred[i / input.dim].mul(input.hidden[i]);
        }
    }
}
