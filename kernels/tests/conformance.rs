//! Each op once: fast against reference bit for bit at every level, and gradients against finite differences.

#![allow(clippy::unwrap_used, reason = "a test ends at the first thing that does not hold")]

#[path = "conformance/elementwise.rs"]
mod elementwise;
#[path = "conformance/linear.rs"]
mod linear;
#[path = "conformance/lstm.rs"]
mod lstm;

use muster_kernels::rng::Stream;

/// Returns numbers in [-1, 1) that depend on `purpose` only.
fn values(len: usize, purpose: u32) -> Vec<f32> {
    let stream = Stream::new(11, purpose);
    (0..len.div_ceil(4) as u64)
        .flat_map(|block| stream.uniform(block, 0))
        .map(|x| 2.0 * x - 1.0)
        .take(len)
        .collect()
}

fn wide(values: &[f32]) -> Vec<f64> {
    values.iter().map(|&value| f64::from(value)).collect()
}

fn assert_same_bits(what: &str, got: &[f32], expected: &[f32]) {
    assert_eq!(got.len(), expected.len(), "length of {what}");
    for (at, (got, expected)) in got.iter().zip(expected).enumerate() {
        assert_eq!(got.to_bits(), expected.to_bits(), "{what}[{at}]: {got:e}, expected {expected:e}");
    }
}

/// Holds `gradient` against central differences of `f` at `at`.
fn assert_gradient(what: &str, at: &[f64], gradient: &[f64], mut f: impl FnMut(&[f64]) -> f64) {
    assert_eq!(at.len(), gradient.len(), "length of the gradient of {what}");
    let step = 1e-5;
    for (i, &expected) in gradient.iter().enumerate() {
        let mut moved = at.to_vec();
        moved[i] += step;
        let up = f(&moved);
        moved[i] -= 2.0 * step;
        let difference = (up - f(&moved)) / (2.0 * step);
        let error = (difference - expected).abs();
        assert!(
            error <= 1e-7 * (1.0 + expected.abs()),
            "d {what}[{i}] is {expected}, differences say {difference}"
        );
    }
}
