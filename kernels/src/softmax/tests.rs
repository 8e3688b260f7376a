//! The softmax family against its references, bit for bit, and the references against finite differences.

mod full;
mod sampled;
mod score;

use crate::isa::Isa;
use crate::rng::Stream;

/// Numbers of the standard normal distribution times `scale`; another `purpose` gives others.
fn normals(purpose: u32, len: usize, scale: f32) -> Vec<f32> {
    let stream = Stream::new(7, purpose);
    (0..len).map(|i| scale * stream.normal(i as u64 / 4, 0)[i % 4]).collect()
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}

fn wide(values: &[f32]) -> Vec<f64> {
    values.iter().map(|&value| f64::from(value)).collect()
}

/// Asserts that `analytic[i]` is the slope of `loss` along `values[i]`.
fn assert_slopes(name: &str, values: &[f64], analytic: &[f64], loss: impl Fn(&[f64]) -> f64) {
    assert_eq!(values.len(), analytic.len(), "{name}");
    for i in 0..values.len() {
        let step = 1e-5;
        let at = |delta: f64| {
            let mut moved = values.to_vec();
            moved[i] += delta;
            loss(&moved)
        };
        let slope = (at(step) - at(-step)) / (2.0 * step);
        let error = (slope - analytic[i]).abs();
        assert!(error < 1e-8 + 1e-6 * slope.abs(), "{name}[{i}]: slope {slope}, gradient {}", analytic[i]);
    }
}

fn levels() -> Vec<Isa> {
    Isa::available()
}
