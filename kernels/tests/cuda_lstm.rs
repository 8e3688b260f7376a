//! The LSTM layer on the device, step by step and in one launch, against the CPU's reference.

#![allow(clippy::unwrap_used, reason = "a test ends at the first thing that does not hold")]

mod cuda;

use cuda::{assert_close, assert_same_bits, caching_device, device, everywhere, host, values};
use muster_kernels::cuda::lstm::{
    Backward, Forward, Gradients, Layout, Parameters, Recurrence, backward, forward, placement,
};
use muster_kernels::cuda::{Buffer, Device, Graph};
use muster_kernels::gemm::Beta;
use muster_kernels::lstm::Layout as HostLayout;
use muster_kernels::reference::{Lstm, LstmGradients, LstmStates};

/// The products are cuBLAS's, which sums in an order of its own; sums go over some hundred terms of size 1.
const TOLERANCE: f32 = 2e-5;

/// One layer's arrays on the host: w_ih, w_hh, b_ih, b_hh, x, h0, c0.
fn arrays(layout: &HostLayout, [input_size, size]: [usize; 2]) -> [Vec<f32>; 7] {
    let (gates, state) = (4 * size, layout.sequences() * size);
    let lens = [gates * input_size, gates * size, gates, gates, layout.tokens() * input_size, state, state];
    let mut purpose = 0;
    lens.map(|len| {
        purpose += 1;
        // Weights of the size that a trained layer has, so that gates do not all saturate.
        let scale = if purpose <= 4 { 1.0 / (size as f32).sqrt() } else { 1.0 };
        values(len, purpose).into_iter().map(|x| x * scale).collect()
    })
}

/// What a layer computes, on the host.
struct Results {
    states: LstmStates<f32>,
    gradients: LstmGradients<f32>,
    b_hh: Vec<f32>,
}

struct Case<'a> {
    layout: &'a HostLayout,
    sizes: [usize; 2],
    arrays: &'a [Vec<f32>; 7],
    with_state: bool,
    d_h: &'a [f32],
}

fn expected(case: &Case<'_>) -> Results {
    let [w_ih, w_hh, b_ih, b_hh, x, h0, c0] = case.arrays;
    let (h0, c0) = if case.with_state { (Some(&h0[..]), Some(&c0[..])) } else { (None, None) };
    let [input_size, hidden_size] = case.sizes;
    let layer = Lstm { layout: case.layout, input_size, hidden_size, w_ih, w_hh, b_ih, b_hh, x, h0, c0 };
    let states = layer.forward();
    let gradients = layer.backward(&states, case.d_h);
    let b_hh = gradients.bias.clone();
    Results { states, gradients, b_hh }
}

fn computed(device: &Device, case: &Case<'_>, recurrence: Recurrence) -> Results {
    let [input_size, size] = case.sizes;
    let on_device = case.arrays.each_ref().map(|array| device.upload(array).unwrap());
    let [w_ih, w_hh, b_ih, b_hh, x, h0, c0] = on_device.each_ref().map(Buffer::view);
    let (h0, c0) = if case.with_state { (Some(h0), Some(c0)) } else { (None, None) };
    let parameters = Parameters { input_size, hidden_size: size, w_ih, w_hh, b_ih, b_hh };
    let layout = Layout::upload(device, case.layout.clone()).unwrap();
    let tokens = case.layout.tokens();
    let buffer = |len: usize| device.buffer::<f32>(len).unwrap();
    let (mut gates, mut c, mut h) = (buffer(tokens * 4 * size), buffer(tokens * size), buffer(tokens * size));
    let args = Forward {
        layout: &layout,
        parameters,
        x,
        h0,
        c0,
        gates: gates.view_mut(),
        c: c.view_mut(),
        h: h.view_mut(),
        recurrence,
    };
    forward(device, args).unwrap();
    let states = LstmStates { gates: host(device, &gates), c: host(device, &c), h: host(device, &h) };
    let d_h = device.upload(case.d_h).unwrap();
    let (mut d_x, mut d_w_ih, mut d_w_hh) = (buffer(x.len()), buffer(w_ih.len()), buffer(w_hh.len()));
    let (mut d_b_ih, mut d_b_hh) = (buffer(4 * size), buffer(4 * size));
    let args = Backward {
        layout: &layout,
        parameters,
        x,
        h0,
        c0,
        gates: gates.view_mut(),
        c: c.view(),
        h: h.view(),
        d_h: d_h.view(),
        d_x: Some(d_x.view_mut()),
        d_parameters: Gradients {
            w_ih: d_w_ih.view_mut(),
            w_hh: d_w_hh.view_mut(),
            b_ih: d_b_ih.view_mut(),
            b_hh: d_b_hh.view_mut(),
            beta: Beta::Overwrite,
        },
        recurrence,
    };
    backward(device, args).unwrap();
    let gradients = LstmGradients {
        gates: host(device, &gates),
        x: host(device, &d_x),
        w_ih: host(device, &d_w_ih),
        w_hh: host(device, &d_w_hh),
        bias: host(device, &d_b_ih),
    };
    Results { states, gradients, b_hh: host(device, &d_b_hh) }
}

fn assert_results(what: &str, got: &Results, expected: &Results) {
    let close = |array: &str, got: &[f32], expected: &[f32]| {
        assert_close(&format!("{array}, {what}"), got, expected, TOLERANCE);
    };
    close("gates", &got.states.gates, &expected.states.gates);
    close("c", &got.states.c, &expected.states.c);
    close("h", &got.states.h, &expected.states.h);
    close("d_gates", &got.gradients.gates, &expected.gradients.gates);
    close("d_x", &got.gradients.x, &expected.gradients.x);
    close("d_w_ih", &got.gradients.w_ih, &expected.gradients.w_ih);
    close("d_w_hh", &got.gradients.w_hh, &expected.gradients.w_hh);
    close("d_b_ih", &got.gradients.bias, &expected.gradients.bias);
    assert_same_bits("d_b_hh", &got.b_hh, &got.gradients.bias);
}

fn assert_layer(device: &Device, lengths: &[u32], sizes: [usize; 2], with_state: bool) {
    let layout = HostLayout::from_lengths(lengths).unwrap();
    let arrays = arrays(&layout, sizes);
    let d_h = values(layout.tokens() * sizes[1], 9);
    let case = Case { layout: &layout, sizes, arrays: &arrays, with_state, d_h: &d_h };
    let expected = expected(&case);
    for recurrence in [Recurrence::Steps, Recurrence::Persistent] {
        let what = format!("{lengths:?}, {sizes:?}, {with_state}, {recurrence:?}");
        assert_results(&what, &computed(device, &case, recurrence), &expected);
    }
}

#[test]
fn both_recurrences_give_the_states_and_gradients_of_the_cpu() {
    everywhere(|| {
        let device = device();
        for with_state in [false, true] {
            assert_layer(&device, &[1], [1, 1], with_state);
            assert_layer(&device, &[4, 3, 3, 1], [3, 3], with_state);
            assert_layer(&device, &[5, 2], [4, 33], with_state);
            assert_layer(&device, &[3, 3, 1, 0], [5, 40], with_state);
        }
        assert_layer(&device, &[2, 2, 1], [7, 128], true);
    });
}

#[test]
fn many_sequences_take_several_tiles_and_slices() {
    everywhere(|| {
        let device = device();
        let lengths: Vec<u32> = (0..140).map(|i| 3 - i / 60).collect();
        assert_layer(&device, &lengths, [2, 9], false);
    });
}

#[test]
fn a_long_chain_is_cut_into_the_blocks_of_the_cpu() {
    everywhere(|| {
        // Backward's chain has four times the hidden size: 4 * 70 is more than one block of 256.
        assert_layer(&device(), &[3, 2], [2, 70], false);
    });
}

#[test]
fn nothing_is_legal() {
    everywhere(|| {
        let device = device();
        assert_layer(&device, &[], [3, 4], false);
        assert_layer(&device, &[0, 0], [3, 4], false);
    });
}

#[test]
fn a_layer_that_does_not_fit_is_run_step_by_step_or_refused_by_name() {
    everywhere(|| {
        let device = device();
        let kernel = "lstm_persistent_forward_kernel";
        let found = placement(&device, kernel, 100_000, 1).unwrap();
        assert_eq!(found, None);
        let small = placement(&device, kernel, 33, 500).unwrap().unwrap();
        assert!(small.unit_slices * small.units >= 33, "{small:?}");
        assert!(small.shared <= device.limits().shared_per_block, "{small:?}");
    });
}

/// What the graph of a layer's forward pass owns.
struct Recorded {
    layout: Layout,
    arrays: [Buffer<f32>; 7],
    states: [Buffer<f32>; 3],
}

#[test]
fn the_time_steps_of_a_layer_are_recorded_once_and_run_again() {
    everywhere(|| {
        let device = caching_device();
        let (host_layout, sizes) = (HostLayout::from_lengths(&[4, 3, 1]).unwrap(), [3, 8]);
        let arrays = arrays(&host_layout, sizes);
        let tokens = host_layout.tokens();
        let run = |device: &Device, recorded: &mut Recorded| {
            let [w_ih, w_hh, b_ih, b_hh, x, h0, c0] = recorded.arrays.each_ref().map(Buffer::view);
            let parameters = Parameters { input_size: 3, hidden_size: 8, w_ih, w_hh, b_ih, b_hh };
            let [gates, c, h] = recorded.states.each_mut().map(Buffer::view_mut);
            let (layout, recurrence) = (&recorded.layout, Recurrence::Steps);
            let (h0, c0) = (Some(h0), Some(c0));
            forward(device, Forward { layout, parameters, x, h0, c0, gates, c, h, recurrence })
        };
        let mut recorded = Recorded {
            layout: Layout::upload(&device, host_layout.clone()).unwrap(),
            arrays: arrays.each_ref().map(|array| device.upload(array).unwrap()),
            states: [tokens * 32, tokens * 8, tokens * 8].map(|len| device.zeros(len).unwrap()),
        };
        // Once as it is, so that the memory of temporaries is at hand.
        run(&device, &mut recorded).unwrap();
        let mut graph = Graph::record(&device, recorded, run).unwrap();
        // Another input, in the same memory.
        let mut moved = arrays;
        moved[4].iter_mut().for_each(|x| *x = 0.5 - *x);
        device.write(&mut graph.owned().arrays[4].view_mut(), &moved[4]).unwrap();
        graph.replay().unwrap();
        let d_h = values(tokens * 8, 9);
        let case = Case { layout: &host_layout, sizes, arrays: &moved, with_state: true, d_h: &d_h };
        let expected = expected(&case);
        assert_close("h", &host(&device, &graph.owned().states[2]), &expected.states.h, TOLERANCE);
        assert_close("c", &host(&device, &graph.owned().states[1]), &expected.states.c, TOLERANCE);
    });
}
