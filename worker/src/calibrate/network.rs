//! The network: products of inputs, the recurrence, packing of weights, dropout.

use muster_kernels::dropout::{Dropout, RowKey, dropout};
use muster_kernels::gemm::{Beta, Gemm, GemmPacked, PackedB, gemm, gemm_packed};
use muster_kernels::lstm;
use muster_kernels::matrix::{MatrixMut, MatrixRef};
use muster_proto::measured::Term;
use muster_proto::measured::calibration::tail;

use super::watch::Watch;
use super::{Effort, Points, threads, values};
use crate::model::{isa, with_scratch};
use crate::random::Purpose;

const HIDDEN: [usize; 9] = [16, 32, 48, 64, 96, 128, 192, 320, 512];
/// Columns that the last vector lacks where it is not whole.
const TAIL: usize = 4;
const SEQUENCES: [usize; 6] = [1, 2, 4, 8, 20, 64];
const INPUT: [usize; 5] = [8, 32, 96, 256, 512];

/// Kernels refuse only shapes that do not fit, and the shapes here are made to.
const FITS: &str = "the shapes of a trial fit each other";

pub(super) fn measure(effort: &Effort, points: &mut Points) {
    for busy in effort.levels() {
        for hidden in effort.some(&HIDDEN) {
            for hidden in [hidden, hidden - TAIL] {
                for sequences in effort.some(&SEQUENCES) {
                    recurrences(effort, busy, (hidden, sequences), points);
                }
            }
            for input in effort.some(&INPUT) {
                for tokens in [48, 400] {
                    let times = threads::in_turn(busy, effort.time(), || products(input, hidden, tokens));
                    points.point(Term::InputForward, (&[input, hidden], tokens, busy), times[0]);
                    points.point(Term::InputBackward, (&[input, hidden], tokens, busy), times[1]);
                }
            }
        }
        for width in effort.some(&[4_096, 65_536, 1_048_576]) {
            let times = threads::run(busy, effort.time(), || masks(width));
            points.point(Term::Dropout, (&[], width, busy), times[0]);
        }
    }
    for ranks in &effort.workers {
        for hidden in effort.some(&HIDDEN) {
            let times = threads::run(*ranks, effort.time(), || packing(hidden));
            points.point(Term::PackWeights, (&[], 8 * hidden * hidden, *ranks), times[0]);
        }
    }
}

/// A layer's recurrence at two numbers of tokens.
fn recurrences(effort: &Effort, busy: usize, (hidden, sequences): (usize, usize), points: &mut Points) {
    let (whole, tail) = tail::of(hidden as u32);
    let at = [whole, sequences as f64, tail];
    for tokens in [(4 * sequences).max(64), (8 * sequences).max(400)] {
        let tokens = tokens.next_multiple_of(sequences);
        let times = threads::in_turn(busy, effort.time(), || recurrence(hidden, sequences, tokens));
        points.shaped(Term::LstmForward, (&at, tokens, busy), times[0]);
        points.shaped(Term::LstmBackward, (&at, tokens, busy), times[1]);
    }
}

/// A step goes forward with all micro-batches before it goes backward with the first, so calls do one or the other.
#[derive(Debug, Default)]
struct Turn {
    was_forward: bool,
}

impl Turn {
    fn is_forward(&mut self) -> bool {
        self.was_forward = !self.was_forward;
        self.was_forward
    }
}

/// A layer with an input of one column, so that the recurrence is all.
fn recurrence(hidden: usize, sequences: usize, tokens: usize) -> impl FnMut(&mut Watch) {
    let steps = tokens / sequences;
    let layout = lstm::Layout::from_batch_sizes(vec![sequences as u32; steps]).expect(FITS);
    let weights = layer(1, hidden);
    let (x, d_h) = (values(tokens, 1.0), values(tokens * hidden, 0.01));
    let (mut gates, mut c) = (vec![0.0; tokens * 4 * hidden], vec![0.0; tokens * hidden]);
    let (mut h, mut d_x) = (vec![0.0; tokens * hidden], vec![0.0; tokens]);
    let mut gradient = vec![0.0; 4 * hidden * (hidden + 3)];
    let mut turn = Turn::default();
    move |watch: &mut Watch| {
        if turn.is_forward() {
            let (gates, c, h) = (&mut gates[..], &mut c[..], &mut h[..]);
            let forward =
                lstm::Forward { layout: &layout, weights: &weights, x: &x, h0: None, c0: None, gates, c, h };
            with_scratch(|scratch| lstm::forward(forward, scratch)).expect(FITS);
            return watch.lap(0);
        }
        let (w_hh, rest) = gradient.split_at_mut(4 * hidden * hidden);
        let (w_ih, rest) = rest.split_at_mut(4 * hidden);
        let (b_ih, b_hh) = rest.split_at_mut(4 * hidden);
        let d_parameters = lstm::Gradients { w_ih, w_hh, b_ih, b_hh, beta: Beta::Overwrite };
        let backward = lstm::Backward {
            layout: &layout,
            weights: &weights,
            x: &x,
            h0: None,
            c0: None,
            gates: &mut gates,
            c: &c,
            h: &h,
            d_h: &d_h,
            d_x: Some(&mut d_x),
            d_parameters,
        };
        with_scratch(|scratch| lstm::backward(backward, scratch)).expect(FITS);
        watch.lap(1);
    }
}

fn layer(input_size: usize, hidden_size: usize) -> lstm::Weights {
    let mut weights = lstm::Weights::new(isa());
    let bias = values(4 * hidden_size, 0.1);
    let (w_ih, w_hh) =
        (values(4 * hidden_size * input_size, 0.1), values(4 * hidden_size * hidden_size, 0.1));
    let parameters =
        lstm::Parameters { input_size, hidden_size, w_ih: &w_ih, w_hh: &w_hh, b_ih: &bias, b_hh: &bias };
    weights.pack(parameters).expect(FITS);
    weights
}

/// The products of a layer's input, as the layer makes them: weights packed before, the weights' gradient over all tokens.
fn products(input: usize, hidden: usize, tokens: usize) -> impl FnMut(&mut Watch) {
    let gates = 4 * hidden;
    let (w, x, d) = (values(gates * input, 0.1), values(tokens * input, 1.0), values(tokens * gates, 0.01));
    let (mut forward, mut backward) = (PackedB::new(isa()), PackedB::new(isa()));
    let matrix = MatrixRef::row_major(&w, gates, input).expect(FITS);
    forward.pack(matrix.transposed());
    backward.pack(matrix);
    let (mut y, mut d_x, mut d_w) =
        (vec![0.0; tokens * gates], vec![0.0; tokens * input], vec![0.0; gates * input]);
    let mut turn = Turn::default();
    move |watch: &mut Watch| {
        let packed = |a: &[f32], width: usize, b: &PackedB, c: &mut [f32]| {
            let columns = 0..b.cols();
            let a = MatrixRef::row_major(a, tokens, width).expect(FITS);
            let c = MatrixMut::row_major(c, tokens, columns.len()).expect(FITS);
            with_scratch(|scratch| {
                gemm_packed(GemmPacked { a, b, columns, c, beta: Beta::Overwrite }, scratch)
            })
            .expect(FITS);
        };
        if turn.is_forward() {
            packed(&x, input, &forward, &mut y);
            return watch.lap(0);
        }
        packed(&d, gates, &backward, &mut d_x);
        let a = MatrixRef::row_major(&d, tokens, gates).expect(FITS).transposed();
        let b = MatrixRef::row_major(&x, tokens, input).expect(FITS);
        let c = MatrixMut::row_major(&mut d_w, gates, input).expect(FITS);
        with_scratch(|scratch| gemm(Gemm { a, b, c, beta: Beta::Overwrite }, scratch)).expect(FITS);
        watch.lap(1);
    }
}

fn masks(width: usize) -> impl FnMut(&mut Watch) {
    let rows = width / 64;
    let row_keys: Vec<RowKey> = (0..rows).map(|row| RowKey { sample: row as u64, position: 3 }).collect();
    let mut held = values(width, 1.0);
    move |watch: &mut Watch| {
        // A small rate: values that are scaled up call after call must stay numbers.
        let stream = Purpose::Dropout.stream(1);
        held.iter_mut().for_each(|value| *value = value.clamp(-1.0, 1.0));
        watch.begin();
        dropout(Dropout { stream, rate: 0.01, row_keys: &row_keys, values: &mut held }, isa()).expect(FITS);
        watch.lap(0);
    }
}

fn packing(hidden: usize) -> impl FnMut(&mut Watch) {
    let (w, bias) = (values(4 * hidden * hidden, 0.1), values(4 * hidden, 0.1));
    let mut weights = lstm::Weights::new(isa());
    move |watch: &mut Watch| {
        let parameters = lstm::Parameters {
            input_size: hidden,
            hidden_size: hidden,
            w_ih: &w,
            w_hh: &w,
            b_ih: &bias,
            b_hh: &bias,
        };
        weights.pack(parameters).expect(FITS);
        watch.lap(0);
    }
}
