//! The LSTM layer.

use muster_kernels::gemm::Beta;
use muster_kernels::isa::Isa;
use muster_kernels::lstm::{Backward, Forward, Gradients, Layout, Parameters, Weights, backward, forward};
use muster_kernels::reference::{Lstm, LstmGradients, LstmStates};
use muster_kernels::scratch::Scratch;
use proptest::prelude::*;

use super::{assert_gradient, assert_same_bits, values, wide};

/// One layer's arrays: w_ih, w_hh, b_ih, b_hh, x, h0, c0.
fn arrays(layout: &Layout, input_size: usize, hidden_size: usize) -> [Vec<f32>; 7] {
    let (gates, state) = (4 * hidden_size, layout.sequences() * hidden_size);
    let lens =
        [gates * input_size, gates * hidden_size, gates, gates, layout.tokens() * input_size, state, state];
    let mut purpose = 0;
    lens.map(|len| {
        purpose += 1;
        values(len, purpose)
    })
}

fn layer<'a, T>(
    layout: &'a Layout,
    sizes: [usize; 2],
    arrays: &'a [Vec<T>; 7],
    with_state: bool,
) -> Lstm<'a, T> {
    let [input_size, hidden_size] = sizes;
    let [w_ih, w_hh, b_ih, b_hh, x, h0, c0] = arrays;
    let (h0, c0) = if with_state { (Some(&h0[..]), Some(&c0[..])) } else { (None, None) };
    Lstm { layout, input_size, hidden_size, w_ih, w_hh, b_ih, b_hh, x, h0, c0 }
}

fn fast_forward(layer: &Lstm<'_, f32>, weights: &Weights, scratch: &mut Scratch) -> LstmStates<f32> {
    let tokens = layer.layout.tokens();
    let mut states = LstmStates {
        gates: vec![0.0; tokens * 4 * layer.hidden_size],
        c: vec![0.0; tokens * layer.hidden_size],
        h: vec![0.0; tokens * layer.hidden_size],
    };
    let args = Forward {
        layout: layer.layout,
        weights,
        x: layer.x,
        h0: layer.h0,
        c0: layer.c0,
        gates: &mut states.gates,
        c: &mut states.c,
        h: &mut states.h,
    };
    forward(args, scratch).unwrap();
    states
}

fn fast_backward(
    layer: &Lstm<'_, f32>,
    weights: &Weights,
    states: &LstmStates<f32>,
    d_h: &[f32],
    scratch: &mut Scratch,
) -> LstmGradients<f32> {
    let mut gradients = LstmGradients {
        gates: states.gates.clone(),
        x: vec![0.0; layer.x.len()],
        w_ih: vec![0.0; layer.w_ih.len()],
        w_hh: vec![0.0; layer.w_hh.len()],
        bias: vec![0.0; layer.b_ih.len()],
    };
    let mut b_hh = vec![0.0; layer.b_hh.len()];
    let args = Backward {
        layout: layer.layout,
        weights,
        x: layer.x,
        h0: layer.h0,
        c0: layer.c0,
        gates: &mut gradients.gates,
        c: &states.c,
        h: &states.h,
        d_h,
        d_x: Some(&mut gradients.x),
        d_parameters: Gradients {
            w_ih: &mut gradients.w_ih,
            w_hh: &mut gradients.w_hh,
            b_ih: &mut gradients.bias,
            b_hh: &mut b_hh,
            beta: Beta::Overwrite,
        },
    };
    backward(args, scratch).unwrap();
    assert_same_bits("d_b_hh", &b_hh, &gradients.bias);
    gradients
}

fn assert_conforms(lengths: &[u32], sizes: [usize; 2], with_state: bool) {
    let layout = Layout::from_lengths(lengths).unwrap();
    let arrays = arrays(&layout, sizes[0], sizes[1]);
    let layer = layer(&layout, sizes, &arrays, with_state);
    let d_h = values(layout.tokens() * sizes[1], 9);
    let states = layer.forward();
    let gradients = layer.backward(&states, &d_h);
    for isa in Isa::available() {
        let mut scratch = Scratch::new(isa);
        let mut weights = Weights::new(isa);
        let Lstm { input_size, hidden_size, w_ih, w_hh, b_ih, b_hh, .. } = layer;
        weights.pack(Parameters { input_size, hidden_size, w_ih, w_hh, b_ih, b_hh }).unwrap();
        let got = fast_forward(&layer, &weights, &mut scratch);
        assert_same_bits("gates", &got.gates, &states.gates);
        assert_same_bits("c", &got.c, &states.c);
        assert_same_bits("h", &got.h, &states.h);
        let got = fast_backward(&layer, &weights, &states, &d_h, &mut scratch);
        assert_same_bits("d_gates", &got.gates, &gradients.gates);
        assert_same_bits("d_x", &got.x, &gradients.x);
        assert_same_bits("d_w_ih", &got.w_ih, &gradients.w_ih);
        assert_same_bits("d_w_hh", &got.w_hh, &gradients.w_hh);
        assert_same_bits("d_bias", &got.bias, &gradients.bias);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn the_layer_is_the_bits_of_the_reference(
        mut lengths in prop::collection::vec(0u32..7, 0..9),
        input_size in 0usize..20, hidden_size in 0usize..20, with_state: bool,
    ) {
        lengths.sort_unstable_by(|a, b| b.cmp(a));
        assert_conforms(&lengths, [input_size, hidden_size], with_state);
    }
}

#[test]
fn many_tokens_and_wide_states_change_nothing() {
    let lengths: Vec<u32> = (1..=30).rev().collect();
    assert_conforms(&lengths, [33, 70], true);
    assert_conforms(&[2, 1], [3, 600], false);
}

#[test]
fn gradients_follow_finite_differences() {
    let layout = Layout::from_lengths(&[4, 3, 1]).unwrap();
    let sizes = [3, 2];
    let narrow = arrays(&layout, sizes[0], sizes[1]);
    let arrays = narrow.each_ref().map(|array| wide(array));
    let d_h = wide(&values(layout.tokens() * sizes[1], 9));
    for with_state in [false, true] {
        let layer_of = |arrays| layer(&layout, sizes, arrays, with_state);
        let start = layer_of(&arrays);
        let gradients = start.backward(&start.forward(), &d_h);
        let checks = [
            ("w_ih", 0, &gradients.w_ih),
            ("w_hh", 1, &gradients.w_hh),
            ("b_ih", 2, &gradients.bias),
            ("b_hh", 3, &gradients.bias),
            ("x", 4, &gradients.x),
        ];
        for (what, which, gradient) in checks {
            assert_gradient(what, &arrays[which], gradient, |moved| {
                let mut arrays = arrays.clone();
                arrays[which] = moved.to_vec();
                layer(&layout, sizes, &arrays, with_state)
                    .forward()
                    .h
                    .iter()
                    .zip(&d_h)
                    .map(|(h, d)| h * d)
                    .sum()
            });
        }
    }
}

#[test]
fn a_layout_follows_the_lengths_and_refuses_unsorted_ones() {
    let layout = Layout::from_lengths(&[3, 1, 1, 0]).unwrap();
    assert_eq!(layout.batch_sizes(), [3, 1, 1]);
    assert_eq!((layout.tokens(), layout.sequences(), layout.steps()), (5, 3, 3));
    assert_eq!(layout.span(1, 2), 6..8);
    let error = Layout::from_lengths(&[1, 2]).unwrap_err();
    assert_eq!(error.to_string(), "lstm layout: lengths is 1 before 2, expected sorted, greatest first");
    assert_eq!(Layout::from_lengths(&[]).unwrap().tokens(), 0);
}
