//! The LSTM layer, token by token; see [`lstm`](crate::lstm) for shapes and order.

use super::{Real, column_sums, gemm};
use crate::gemm::Beta;
use crate::lstm::Layout;
use crate::matrix::{MatrixMut, MatrixRef};

/// A layer with its input; the shapes are those of [`lstm::Parameters`](crate::lstm::Parameters) and [`lstm::Forward`](crate::lstm::Forward).
#[derive(Debug, Clone)]
pub struct Lstm<'a, T> {
    /// Where the tokens lie.
    pub layout: &'a Layout,
    /// Elements per token of the input.
    pub input_size: usize,
    /// Elements of the hidden state, H.
    pub hidden_size: usize,
    /// `[4H, In]`.
    pub w_ih: &'a [T],
    /// `[4H, H]`.
    pub w_hh: &'a [T],
    /// `[4H]`.
    pub b_ih: &'a [T],
    /// `[4H]`.
    pub b_hh: &'a [T],
    /// `[tokens, In]`.
    pub x: &'a [T],
    /// `[sequences, H]`.
    pub h0: Option<&'a [T]>,
    /// `[sequences, H]`.
    pub c0: Option<&'a [T]>,
}

/// Results of the forward pass.
#[derive(Debug, Clone, PartialEq)]
pub struct LstmStates<T> {
    /// Activated gates `[tokens, 4H]`.
    pub gates: Vec<T>,
    /// Cell states `[tokens, H]`.
    pub c: Vec<T>,
    /// Hidden states `[tokens, H]`.
    pub h: Vec<T>,
}

/// Results of the backward pass, in the shapes of what they are gradients of.
#[derive(Debug, Clone, PartialEq)]
pub struct LstmGradients<T> {
    /// Gradient before the activations `[tokens, 4H]`.
    pub gates: Vec<T>,
    /// `[tokens, In]`.
    pub x: Vec<T>,
    /// `[4H, In]`.
    pub w_ih: Vec<T>,
    /// `[4H, H]`.
    pub w_hh: Vec<T>,
    /// `[4H]`, the same for both biases.
    pub bias: Vec<T>,
}

/// Where the previous state of a token is.
enum Previous {
    Initial(usize),
    Token(usize),
}

impl<T: Real> Lstm<'_, T> {
    fn previous(&self, t: usize, i: usize) -> Previous {
        if t == 0 { Previous::Initial(i) } else { Previous::Token(self.layout.offset(t - 1) + i) }
    }

    /// Returns a token's previous state: of `states`, of `initial`, or zeros.
    fn state(&self, previous: &Previous, states: &[T], initial: Option<&[T]>) -> Vec<T> {
        let size = self.hidden_size;
        match (previous, initial) {
            (Previous::Token(token), _) => states[token * size..][..size].to_vec(),
            (Previous::Initial(i), Some(initial)) => initial[i * size..][..size].to_vec(),
            (Previous::Initial(_), None) => vec![T::default(); size],
        }
    }

    /// Computes the layer's states; panics where shapes do not fit.
    pub fn forward(&self) -> LstmStates<T> {
        let (size, tokens) = (self.hidden_size, self.layout.tokens());
        let mut gates = vec![T::default(); tokens * 4 * size];
        let (mut c, mut h) = (vec![T::default(); tokens * size], vec![T::default(); tokens * size]);
        let w_ih = view(self.w_ih, 4 * size, self.input_size).transposed();
        let w_hh = view(self.w_hh, 4 * size, size).transposed();
        gemm(
            view(self.x, tokens, self.input_size),
            w_ih,
            &mut view_mut(&mut gates, tokens, 4 * size),
            Beta::Overwrite,
        );
        for t in 0..self.layout.steps() {
            for i in 0..self.layout.batch_size(t) {
                let token = self.layout.offset(t) + i;
                let gates = &mut gates[token * 4 * size..][..4 * size];
                let previous = self.previous(t, i);
                if t > 0 || self.h0.is_some() {
                    let h_prev = self.state(&previous, &h, self.h0);
                    gemm(view(&h_prev, 1, size), w_hh, &mut view_mut(gates, 1, 4 * size), Beta::Accumulate);
                }
                let c_prev = self.state(&previous, &c, self.c0);
                for k in 0..size {
                    let gate = |gate: usize| {
                        gates[gate * size + k].add(self.b_ih[gate * size + k].add(self.b_hh[gate * size + k]))
                    };
                    let (i, f, g, o) =
                        (gate(0).sigmoid(), gate(1).sigmoid(), gate(2).tanh(), gate(3).sigmoid());
                    let cell = f.mul_add(c_prev[k], i.mul(g));
                    c[token * size + k] = cell;
                    h[token * size + k] = o.mul(cell.tanh());
                    for (gate, value) in [i, f, g, o].into_iter().enumerate() {
                        gates[gate * size + k] = value;
                    }
                }
            }
        }
        LstmStates { gates, c, h }
    }

    /// Computes the gradients from that of the hidden states, `d_h [tokens, H]`; panics where shapes do not fit.
    pub fn backward(&self, states: &LstmStates<T>, d_h: &[T]) -> LstmGradients<T> {
        let (size, tokens) = (self.hidden_size, self.layout.tokens());
        let d_gates = self.d_gates(states, d_h);
        let rows = view(&d_gates, tokens, 4 * size);
        let mut x = vec![T::default(); tokens * self.input_size];
        let w_ih = view(self.w_ih, 4 * size, self.input_size);
        gemm(rows, w_ih, &mut view_mut(&mut x, tokens, self.input_size), Beta::Overwrite);
        let mut d_w_ih = vec![T::default(); 4 * size * self.input_size];
        let input = view(self.x, tokens, self.input_size);
        gemm(
            rows.transposed(),
            input,
            &mut view_mut(&mut d_w_ih, 4 * size, self.input_size),
            Beta::Overwrite,
        );
        let first = if self.h0.is_some() { 0 } else { self.layout.sequences() };
        let mut h_prev = Vec::new();
        for t in 0..self.layout.steps() {
            for i in 0..self.layout.batch_size(t) {
                h_prev.extend(self.state(&self.previous(t, i), &states.h, self.h0));
            }
        }
        let rows = view(&d_gates[first * 4 * size..], tokens - first, 4 * size).transposed();
        let mut d_w_hh = vec![T::default(); 4 * size * size];
        let right = view(&h_prev[first * size..], tokens - first, size);
        gemm(rows, right, &mut view_mut(&mut d_w_hh, 4 * size, size), Beta::Overwrite);
        let bias = column_sums(&d_gates, 4 * size);
        LstmGradients { gates: d_gates, x, w_ih: d_w_ih, w_hh: d_w_hh, bias }
    }

    /// Returns the gradients before the activations.
    fn d_gates(&self, states: &LstmStates<T>, d_h: &[T]) -> Vec<T> {
        let (size, layout) = (self.hidden_size, self.layout);
        let one = T::from_f64(1.0);
        let mut d_gates = vec![T::default(); states.gates.len()];
        let mut d_c = vec![T::default(); layout.sequences() * size];
        let w_hh = view(self.w_hh, 4 * size, size);
        for t in (0..layout.steps()).rev() {
            for row in 0..layout.batch_size(t) {
                let token = layout.offset(t) + row;
                let mut d_h_next = vec![T::default(); size];
                if row < layout.batch_size(t + 1) {
                    let next = &d_gates[(layout.offset(t + 1) + row) * 4 * size..][..4 * size];
                    gemm(
                        view(next, 1, 4 * size),
                        w_hh,
                        &mut view_mut(&mut d_h_next, 1, size),
                        Beta::Overwrite,
                    );
                }
                let c_prev = self.state(&self.previous(t, row), &states.c, self.c0);
                for k in 0..size {
                    let gate = |gate: usize| states.gates[(token * 4 + gate) * size + k];
                    let (i, f, g, o) = (gate(0), gate(1), gate(2), gate(3));
                    let tanh_c = states.c[token * size + k].tanh();
                    let d_h = d_h[token * size + k].add(d_h_next[k]);
                    let d_c = &mut d_c[row * size + k];
                    let d_cell = d_h.mul(o).mul_add(tanh_c.neg().mul_add(tanh_c, one), *d_c);
                    *d_c = d_cell.mul(f);
                    let d_gate = [
                        d_cell.mul(g).mul(i).mul(one.sub(i)),
                        d_cell.mul(c_prev[k]).mul(f).mul(one.sub(f)),
                        d_cell.mul(i).mul(g.neg().mul_add(g, one)),
                        d_h.mul(tanh_c).mul(o).mul(one.sub(o)),
                    ];
                    for (gate, value) in d_gate.into_iter().enumerate() {
                        d_gates[(token * 4 + gate) * size + k] = value;
                    }
                }
            }
        }
        d_gates
    }
}

fn view<T: Copy>(data: &[T], rows: usize, cols: usize) -> MatrixRef<'_, T> {
    MatrixRef::row_major(data, rows, cols).expect("the caller's lengths fit the layout")
}

fn view_mut<T: Copy>(data: &mut [T], rows: usize, cols: usize) -> MatrixMut<'_, T> {
    MatrixMut::row_major(data, rows, cols).expect("the caller's lengths fit the layout")
}
