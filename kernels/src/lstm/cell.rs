//! What happens to each element between the products: gates, cell state, hidden state, and their gradients.

use crate::isa::{Kernel, Simd};
use crate::math::{sigmoid, tanh};

/// Elements that are loaded to local arrays and worked on at a time: the compiler cannot prove that the slices of
/// a row do not overlap, but it can for local arrays, and so vectorizes.
const LANES: usize = 16;

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
            match self.c_prev {
                Some(c_prev) => c.copy_from_slice(&c_prev[row * size..][..size]),
                None => c.fill(0.0),
            }
            cell_row(self.bias, gates, c, h);
        }
    }
}

/// One row; `c` holds the previous cell state.
#[inline(always)]
fn cell_row(bias: &[f32], gates: &mut [f32], c: &mut [f32], h: &mut [f32]) {
    let size = c.len();
    let bias = quarters(bias, size);
    let mut gates = quarters_mut(gates, size);
    for at in (0..size).step_by(LANES) {
        let bias = bias.map(|bias| load(bias, at));
        let [mut i, mut f, mut g, mut o] = gates.each_ref().map(|gate| load(gate, at));
        let (mut cell, mut hidden) = (load(c, at), [0.0; LANES]);
        for k in 0..LANES {
            i[k] = sigmoid(i[k] + bias[0][k]);
            f[k] = sigmoid(f[k] + bias[1][k]);
            g[k] = tanh(g[k] + bias[2][k]);
            o[k] = sigmoid(o[k] + bias[3][k]);
            cell[k] = f[k].mul_add(cell[k], i[k] * g[k]);
            hidden[k] = o[k] * tanh(cell[k]);
        }
        for (gate, value) in gates.iter_mut().zip([i, f, g, o]) {
            store(value, gate, at);
        }
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
        let zeros = [0.0; 512];
        for (row, gates) in self.gates.chunks_exact_mut(4 * size).enumerate() {
            let span = row * size..(row + 1) * size;
            let (c, d_h, d_c) = (&self.c[span.clone()], &self.d_h[span.clone()], &mut self.d_c[span.clone()]);
            let c_prev = self.c_prev.map(|c_prev| &c_prev[span.clone()]);
            let next = self.d_h_next.get(span);
            // Pieces no longer than the zeros that stand in for what a first or last step does not have.
            for start in (0..size).step_by(zeros.len()) {
                let piece = start..size.min(start + zeros.len());
                let none = &zeros[..piece.len()];
                cell_backward_row(Row {
                    gates: quarters_mut(gates, size).map(|gate| &mut gate[piece.clone()]),
                    c_prev: c_prev.map_or(none, |c_prev| &c_prev[piece.clone()]),
                    c: &c[piece.clone()],
                    d_h: &d_h[piece.clone()],
                    d_h_next: next.map_or(none, |next| &next[piece.clone()]),
                    d_c: &mut d_c[piece],
                });
            }
        }
    }
}

/// One row of [`CellBackward`]; all slices have one length.
struct Row<'a> {
    gates: [&'a mut [f32]; 4],
    c_prev: &'a [f32],
    c: &'a [f32],
    d_h: &'a [f32],
    d_h_next: &'a [f32],
    d_c: &'a mut [f32],
}

#[inline(always)]
fn cell_backward_row(mut row: Row<'_>) {
    for at in (0..row.d_c.len()).step_by(LANES) {
        let [mut i, mut f, mut g, mut o] = row.gates.each_ref().map(|gate| load(gate, at));
        let (c_prev, c, mut d_c) = (load(row.c_prev, at), load(row.c, at), load(row.d_c, at));
        let (d_h, d_h_next) = (load(row.d_h, at), load(row.d_h_next, at));
        for k in 0..LANES {
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
        for (gate, value) in row.gates.iter_mut().zip([i, f, g, o]) {
            store(value, gate, at);
        }
    }
}

/// Returns elements `at..at + LANES`, zeros past the end.
#[inline(always)]
fn load(from: &[f32], at: usize) -> [f32; LANES] {
    from[at..].first_chunk().copied().unwrap_or_else(|| {
        let mut lanes = [0.0; LANES];
        lanes.iter_mut().zip(&from[at..]).for_each(|(lane, &value)| *lane = value);
        lanes
    })
}

/// Writes elements `at..at + LANES`, as far as there are.
#[inline(always)]
fn store(lanes: [f32; LANES], to: &mut [f32], at: usize) {
    match to[at..].first_chunk_mut() {
        Some(to) => *to = lanes,
        None => to[at..].iter_mut().zip(lanes).for_each(|(to, lane)| *to = lane),
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
