//! The ops against values from PyTorch; testdata/make_golden.py makes them.

#![allow(clippy::unwrap_used, reason = "a test ends at the first thing that does not hold")]

use std::collections::BTreeMap;

use muster_kernels::gemm::Beta;
use muster_kernels::isa::Isa;
use muster_kernels::linear;
use muster_kernels::loss::{Loss, binary_cross_entropy, mean_squared_error};
use muster_kernels::lstm::{self, Gradients, Layout, Parameters, Weights};
use muster_kernels::scratch::Scratch;
use serde::Deserialize;

#[derive(Deserialize)]
struct Golden {
    sizes: [usize; 4],
    batch_sizes: Vec<u32>,
    regression: Regression,
    regression_with_state: Regression,
    clicks: Clicks,
}

#[derive(Deserialize)]
struct Regression {
    x: Vec<f32>,
    target: Vec<f32>,
    h0: Option<Vec<f32>>,
    c0: Option<Vec<f32>>,
    parameters: BTreeMap<String, Vec<f32>>,
    hidden: Vec<f64>,
    pred: Vec<f64>,
    loss: f64,
    d_x: Vec<f64>,
    d_parameters: BTreeMap<String, Vec<f64>>,
}

#[derive(Deserialize)]
struct Clicks {
    logits: Vec<f32>,
    target: Vec<f32>,
    loss: f64,
    d_logits: Vec<f64>,
}

fn golden() -> Golden {
    serde_json::from_str(include_str!("../testdata/golden.json"))
        .expect("golden.json is what make_golden.py wrote")
}

/// Holds values within 1e-5 of the expected ones, relative to the greatest of them.
fn assert_close(what: &str, got: &[f32], expected: &[f64]) {
    assert_eq!(got.len(), expected.len(), "length of {what}");
    let greatest = expected.iter().fold(0.0f64, |greatest, value| greatest.max(value.abs()));
    for (at, (&got, &expected)) in got.iter().zip(expected).enumerate() {
        let error = (f64::from(got) - expected).abs();
        assert!(error <= 1e-5 * greatest, "{what}[{at}] is {got}, PyTorch has {expected}");
    }
}

/// One layer's packed weights and the results of its passes.
struct Layer {
    weights: Weights,
    gates: Vec<f32>,
    c: Vec<f32>,
    h: Vec<f32>,
}

impl Layer {
    fn new(case: &Regression, layer: usize, sizes: [usize; 2], isa: Isa) -> Self {
        let [input_size, hidden_size] = sizes;
        let parameter = |name: &str| &case.parameters[&format!("{name}_l{layer}")][..];
        let mut weights = Weights::new(isa);
        let parameters = Parameters {
            input_size,
            hidden_size,
            w_ih: parameter("weight_ih"),
            w_hh: parameter("weight_hh"),
            b_ih: parameter("bias_ih"),
            b_hh: parameter("bias_hh"),
        };
        weights.pack(parameters).unwrap();
        Self { weights, gates: Vec::new(), c: Vec::new(), h: Vec::new() }
    }
}

/// One layer's slice of the initial state.
fn state(all: Option<&Vec<f32>>, layer: usize, len: usize) -> Option<&[f32]> {
    all.map(|all| &all[layer * len..][..len])
}

fn assert_regression(case: &Regression, sizes: [usize; 4], layout: &Layout, isa: Isa) {
    let [input, hidden, output, count] = sizes;
    let (tokens, state_len) = (layout.tokens(), layout.sequences() * hidden);
    let mut scratch = Scratch::new(isa);
    let mut layers: Vec<Layer> = Vec::new();
    for index in 0..count {
        let mut layer = Layer::new(case, index, [if index == 0 { input } else { hidden }, hidden], isa);
        layer.gates = vec![0.0; tokens * 4 * hidden];
        (layer.c, layer.h) = (vec![0.0; tokens * hidden], vec![0.0; tokens * hidden]);
        let args = lstm::Forward {
            layout,
            weights: &layer.weights,
            x: layers.last().map_or(&case.x, |below| &below.h),
            h0: state(case.h0.as_ref(), index, state_len),
            c0: state(case.c0.as_ref(), index, state_len),
            gates: &mut layer.gates,
            c: &mut layer.c,
            h: &mut layer.h,
        };
        lstm::forward(args, &mut scratch).unwrap();
        layers.push(layer);
    }
    let top = &layers[count - 1].h;
    assert_close("hidden", top, &case.hidden);

    let mut head = linear::Weights::new(isa);
    let (w, b) = (&case.parameters["linear.weight"], &case.parameters["linear.bias"]);
    head.pack([output, hidden], w, Some(b)).unwrap();
    let (mut pred, mut d_pred) = (vec![0.0; tokens * output], vec![0.0; tokens * output]);
    let args = linear::Forward { rows: tokens, weights: &head, x: top, y: &mut pred };
    linear::forward(args, &mut scratch).unwrap();
    assert_close("pred", &pred, &case.pred);
    let args = Loss { pred: &pred, target: &case.target, scale: 1.0, d_pred: &mut d_pred };
    let loss = mean_squared_error(args, isa).unwrap();
    assert!((loss / case.loss - 1.0).abs() < 1e-6, "loss is {loss}, PyTorch has {}", case.loss);

    let mut d_h = vec![0.0; tokens * hidden];
    let (mut d_w, mut d_b) = (vec![0.0; w.len()], vec![0.0; b.len()]);
    let args = linear::Backward {
        rows: tokens,
        weights: &head,
        x: top,
        d_y: &d_pred,
        d_x: Some(&mut d_h),
        d_w: &mut d_w,
        d_b: Some(&mut d_b),
        beta: Beta::Overwrite,
    };
    linear::backward(args, &mut scratch).unwrap();
    assert_close("linear.weight", &d_w, &case.d_parameters["linear.weight"]);
    assert_close("linear.bias", &d_b, &case.d_parameters["linear.bias"]);
    let d_x = backward_layers(case, layers, layout, d_h, &mut scratch);
    assert_close("d_x", &d_x, &case.d_x);
}

/// Runs the layers backward and returns the gradient of the input.
fn backward_layers(
    case: &Regression,
    mut layers: Vec<Layer>,
    layout: &Layout,
    mut d_h: Vec<f32>,
    scratch: &mut Scratch,
) -> Vec<f32> {
    while let Some(mut layer) = layers.pop() {
        let index = layers.len();
        let state_len = layout.sequences() * layer.weights.hidden_size();
        let mut gradients = ["weight_ih", "weight_hh", "bias_ih", "bias_hh"].map(|name| {
            let name = format!("{name}_l{index}");
            (vec![0.0; case.parameters[&name].len()], name)
        });
        let x = layers.last().map_or(&case.x, |below| &below.h);
        let mut d_x = vec![0.0; x.len()];
        let [w_ih, w_hh, b_ih, b_hh] = gradients.each_mut().map(|(gradient, _)| &mut gradient[..]);
        let args = lstm::Backward {
            layout,
            weights: &layer.weights,
            x,
            h0: state(case.h0.as_ref(), index, state_len),
            c0: state(case.c0.as_ref(), index, state_len),
            gates: &mut layer.gates,
            c: &layer.c,
            h: &layer.h,
            d_h: &d_h,
            d_x: Some(&mut d_x),
            d_parameters: Gradients { w_ih, w_hh, b_ih, b_hh, beta: Beta::Overwrite },
        };
        lstm::backward(args, scratch).unwrap();
        for (gradient, name) in &gradients {
            assert_close(name, gradient, &case.d_parameters[name]);
        }
        d_h = d_x;
    }
    d_h
}

#[test]
fn two_lstm_layers_and_a_linear_one_give_pytorchs_values_and_gradients() {
    let golden = golden();
    let layout = Layout::from_batch_sizes(golden.batch_sizes.clone()).unwrap();
    for isa in Isa::available() {
        assert_regression(&golden.regression, golden.sizes, &layout, isa);
        assert_regression(&golden.regression_with_state, golden.sizes, &layout, isa);
    }
}

#[test]
fn the_cross_entropy_of_clicks_gives_pytorchs_values() {
    let clicks = golden().clicks;
    let mut d_pred = vec![0.0; clicks.logits.len()];
    let args = Loss { pred: &clicks.logits, target: &clicks.target, scale: 1.0, d_pred: &mut d_pred };
    let loss = binary_cross_entropy(args, Isa::detect()).unwrap();
    assert!((loss / clicks.loss - 1.0).abs() < 1e-6, "loss is {loss}, PyTorch has {}", clicks.loss);
    assert_close("d_logits", &d_pred, &clicks.d_logits);
}
