//! The standard normal distribution, for how many users a comparison takes. Decisions near their bound do not rest on it.

use std::f64::consts::TAU;

/// Beyond it lies less than 1e-18 of the distribution.
const FARTHEST: f64 = 9.0;

/// The value that a share `p` (0 to 1) of the distribution lies below.
pub(super) fn quantile(p: f64) -> f64 {
    let (mut low, mut high) = (-FARTHEST, FARTHEST);
    // Each turn halves what is left of 18; after 60 it is below the last bit.
    for _ in 0..60 {
        let middle = f64::midpoint(low, high);
        if below(middle) < p { low = middle } else { high = middle }
    }
    f64::midpoint(low, high)
}

/// The share of the distribution below `x`: the density's integral from 0, by Simpson's rule.
fn below(x: f64) -> f64 {
    const PANELS: u32 = 400;
    let density = |at: f64| (-at * at / 2.0).exp() / TAU.sqrt();
    let width = x / f64::from(PANELS);
    let weight = |i: u32| if i % 2 == 1 { 4.0 } else { 2.0 };
    let inner: f64 = (1..PANELS).map(|i| weight(i) * density(f64::from(i) * width)).sum();
    0.5 + (density(0.0) + inner + density(x)) * width / 3.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_those_of_tables() {
        for (p, expected) in
            [(0.5, 0.0), (0.95, 1.644_853_627), (0.8, 0.841_621_234), (0.001, -3.090_232_306)]
        {
            assert!((quantile(p) - expected).abs() < 1e-8, "{p}: {} is not {expected}", quantile(p));
        }
    }
}
