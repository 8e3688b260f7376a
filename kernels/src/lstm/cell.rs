//! What happens to each element between the products: gates, cell state, hidden state, and their gradients.

use crate::isa::{Kernel, Simd};
use crate::math::{sigmoid, tanh};

/// The cell of one time step; rows are sequences, `c_prev` is `None` for a zero state.
pub(super) struct CellForward<'a> {
    pub(super) hidden_size: usize,
    /// `[4H]`.
    pub(super) bias: &'a [f32],
    /// Products before the bias, replaced by the activated gates; `[rows, 4H]`.
    pub(super) gates: &'a mut [f32],
    pub(super) c_prev: Option<&'a [f32]>,
    pub(super) c: &'a mut [f32],
    pub(super) h: &'a mut [f32],
}

impl Kernel for CellForward<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, _simd: S) {
        let size = self.hidden_size;
        let rows = self.gates.chunks_exact_mut(4 * size).zip(self.c.chunks_exact_mut(size));
        for (row, ((gates, c), h)) in rows.zip(self.h.chunks_exact_mut(size)).enumerate() {
            let c_prev = self.c_prev.map(|c_prev| &c_prev[row * size..][..size]);
            if S::LANES == 16 {
                cell_row::<16>(self.bias, gates, c_prev, c, h);
            } else {
                cell_row::<8>(self.bias, gates, c_prev, c, h);
            }
        }
    }
}

/// Works on `N` elements at a time, in local arrays: the compiler cannot prove that the slices of a row do not
/// overlap, but it can for local arrays, and so vectorizes.
#[inline(always)]
fn cell_row<const N: usize>(
    bias: &[f32],
    gates: &mut [f32],
    c_prev: Option<&[f32]>,
    c: &mut [f32],
    h: &mut [f32],
) {
    let size = c.len();
    let bias = quarters(bias, size);
    let gates = quarters_mut(gates, size);
    for at in (0..size).step_by(N) {
        // One by one: a closure or an iterator over arrays may end as a call, or as element-wise copies.
        let [bias_i, bias_f] = [load::<N>(bias[0], at), load::<N>(bias[1], at)];
        let [bias_g, bias_o] = [load::<N>(bias[2], at), load::<N>(bias[3], at)];
        let [mut i, mut f] = [load::<N>(gates[0], at), load::<N>(gates[1], at)];
        let [mut g, mut o] = [load::<N>(gates[2], at), load::<N>(gates[3], at)];
        let (mut cell, mut hidden) = (load_or_zeros::<N>(c_prev, at), [0.0; N]);
        for k in 0..N {
            i[k] = sigmoid(i[k] + bias_i[k]);
            f[k] = sigmoid(f[k] + bias_f[k]);
            g[k] = tanh(g[k] + bias_g[k]);
            o[k] = sigmoid(o[k] + bias_o[k]);
            cell[k] = f[k].mul_add(cell[k], i[k] * g[k]);
            hidden[k] = o[k] * tanh(cell[k]);
        }
        store(i, gates[0], at);
        store(f, gates[1], at);
        store(g, gates[2], at);
        store(o, gates[3], at);
        store(cell, c, at);
        store(hidden, h, at);
    }
}

/// The gradient of the cell of one time step.
pub(super) struct CellBackward<'a> {
    pub(super) hidden_size: usize,
    /// Activated gates, replaced by the gradient of their products; `[rows, 4H]`.
    pub(super) gates: &'a mut [f32],
    pub(super) c_prev: Option<&'a [f32]>,
    pub(super) c: &'a [f32],
    /// Gradient of h from the layer above, `[rows, H]`.
    pub(super) d_h: &'a [f32],
    /// Gradient of h from the next time step, for the sequences that have one.
    pub(super) d_h_next: &'a [f32],
    /// Gradient of c from the next time step (zeros for sequences that end here), replaced by that of `c_prev`.
    pub(super) d_c: &'a mut [f32],
}

impl Kernel for CellBackward<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, _simd: S) {
        let size = self.hidden_size;
        for (row, gates) in self.gates.chunks_exact_mut(4 * size).enumerate() {
            let span = row * size..(row + 1) * size;
            let row = Row {
                gates: quarters_mut(gates, size),
                c_prev: self.c_prev.map(|c_prev| &c_prev[span.clone()]),
                c: &self.c[span.clone()],
                d_h: &self.d_h[span.clone()],
                d_h_next: self.d_h_next.get(span.clone()),
                d_c: &mut self.d_c[span],
            };
            if S::LANES == 16 {
                cell_backward_row::<16>(row);
            } else {
                cell_backward_row::<8>(row);
            }
        }
    }
}

/// One row of [`CellBackward`]; all slices have one length.
struct Row<'a> {
    gates: [&'a mut [f32]; 4],
    c_prev: Option<&'a [f32]>,
    c: &'a [f32],
    d_h: &'a [f32],
    d_h_next: Option<&'a [f32]>,
    d_c: &'a mut [f32],
}

#[inline(always)]
fn cell_backward_row<const N: usize>(row: Row<'_>) {
    let Row { gates, .. } = row;
    for at in (0..row.d_c.len()).step_by(N) {
        let [mut i, mut f] = [load::<N>(gates[0], at), load::<N>(gates[1], at)];
        let [mut g, mut o] = [load::<N>(gates[2], at), load::<N>(gates[3], at)];
        let (c_prev, c, mut d_c) =
            (load_or_zeros::<N>(row.c_prev, at), load::<N>(row.c, at), load::<N>(row.d_c, at));
        let (d_h, d_h_next) = (load::<N>(row.d_h, at), load_or_zeros::<N>(row.d_h_next, at));
        for k in 0..N {
            let tanh_c = tanh(c[k]);
            let d_h = d_h[k] + d_h_next[k];
            let d_cell = (d_h * o[k]).mul_add((-tanh_c).mul_add(tanh_c, 1.0), d_c[k]);
            d_c[k] = d_cell * f[k];
            let d_i = d_cell * g[k] * i[k] * (1.0 - i[k]);
            let d_f = d_cell * c_prev[k] * f[k] * (1.0 - f[k]);
            let d_g = d_cell * i[k] * (-g[k]).mul_add(g[k], 1.0);
            let d_o = d_h * tanh_c * o[k] * (1.0 - o[k]);
            (i[k], f[k], g[k], o[k]) = (d_i, d_f, d_g, d_o);
        }
        store(d_c, row.d_c, at);
        store(i, gates[0], at);
        store(f, gates[1], at);
        store(g, gates[2], at);
        store(o, gates[3], at);
    }
}

/// Returns elements `at..at + N`, zeros where there is no state.
#[inline(always)]
fn load_or_zeros<const N: usize>(from: Option<&[f32]>, at: usize) -> [f32; N] {
    match from {
        Some(from) => load::<N>(from, at),
        None => [0.0; N],
    }
}

/// Returns elements `at..at + N`, zeros past the end.
#[inline(always)]
fn load<const N: usize>(from: &[f32], at: usize) -> [f32; N] {
    if let Some(lanes) = from[at..].first_chunk() {
        return *lanes;
    }
    let mut lanes = [0.0; N];
    for (lane, value) in lanes.iter_mut().zip(&from[at..]) {
        *lane = *value;
    }
    lanes
}

/// Writes elements `at..at + N`, as far as there are.
#[inline(always)]
fn store<const N: usize>(lanes: [f32; N], to: &mut [f32], at: usize) {
    match to[at..].first_chunk_mut() {
        Some(to) => *to = lanes,
        None => {
            for (to, lane) in to[at..].iter_mut().zip(lanes) {
                *to = lane;
            }
        }
    }
}

/// Returns the four gates of a row.
#[inline(always)]
fn quarters(row: &[f32], size: usize) -> [&[f32]; 4] {
    let (i, rest) = row.split_at(size);
    let (f, rest) = rest.split_at(size);
    let (g, rest) = rest.split_at(size);
    [i, f, g, &rest[..size]]
}

/// Returns the four gates of a row.
#[inline(always)]
fn quarters_mut(row: &mut [f32], size: usize) -> [&mut [f32]; 4] {
    let (i, rest) = row.split_at_mut(size);
    let (f, rest) = rest.split_at_mut(size);
    let (g, rest) = rest.split_at_mut(size);
    [i, f, g, &mut rest[..size]]
}
