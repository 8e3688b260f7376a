//! Our functions against std's in f64, and their levels against one another.

use super::*;

/// Every float whose bits are a multiple of `step`: all signs, exponents, infinities and NaNs.
fn floats(step: usize) -> impl Iterator<Item = f32> {
    (0..=u32::MAX).step_by(step).map(f32::from_bits)
}

fn assert_close(name: &str, x: f32, got: f32, expected: f64, floor: f64) {
    if expected.is_nan() {
        assert!(got.is_nan(), "{name}({x:e}) is {got}, expected NaN");
        return;
    }
    if f64::from(expected as f32).is_infinite() {
        assert_eq!(f64::from(got), f64::from(expected as f32), "{name}({x:e})");
        return;
    }
    let error = (f64::from(got) - expected).abs();
    let allowed = 3.0 * f64::from(f32::EPSILON) * expected.abs() + floor;
    assert!(error <= allowed, "{name}({x:e}) is {got:e}, expected {expected:e}");
}

#[test]
fn each_function_is_within_three_ulp_of_the_exact_value() {
    let smallest = f64::from(f32::from_bits(1));
    for x in floats(997) {
        let wide = f64::from(x);
        assert_close("exp", x, exp(x), wide.exp(), smallest);
        assert_close("ln", x, ln(x), wide.ln(), 0.0);
        assert_close("tanh", x, tanh(x), wide.tanh(), smallest);
        assert_close("sigmoid", x, sigmoid(x), 1.0 / (1.0 + (-wide).exp()), 2e-38);
    }
}

#[test]
fn logarithms_near_one_keep_their_relative_accuracy() {
    for step in -4000i32..4000 {
        let x = f32::from_bits((1.0f32.to_bits() as i32 + step) as u32);
        assert_close("ln", x, ln(x), f64::from(x).ln(), 0.0);
    }
}

#[test]
fn sine_and_cosine_follow_the_unit_circle() {
    for i in 0..=100_000u32 {
        let turns = i as f32 / 100_000.0;
        let (s, c) = sin_cos_turns(turns);
        let angle = f64::from(turns) * std::f64::consts::TAU;
        assert!((f64::from(s) - angle.sin()).abs() < 3e-7, "sin of {turns} turns is {s}");
        assert!((f64::from(c) - angle.cos()).abs() < 3e-7, "cos of {turns} turns is {c}");
    }
}

type OverSlice = fn(Isa, &mut [f32]);
type OverOne = fn(f32) -> f32;

#[test]
fn every_level_gives_the_scalar_function_bit_for_bit() {
    let inputs: Vec<f32> = floats(65_521).filter(|x| !x.is_nan()).collect();
    let functions: [(OverSlice, OverOne); 4] =
        [(exp_slice, exp), (ln_slice, ln), (sigmoid_slice, sigmoid), (tanh_slice, tanh)];
    for isa in Isa::available() {
        for (slice, scalar) in functions {
            let mut got = inputs.clone();
            slice(isa, &mut got);
            for (&x, got) in inputs.iter().zip(got) {
                let expected = scalar(x);
                let same = got.to_bits() == expected.to_bits() || (got.is_nan() && expected.is_nan());
                assert!(same, "at {isa}, f({x:e}) is {got:e}, expected {expected:e}");
            }
        }
    }
}
