//! The paired bootstrap: how far the mean of users' differences may be from the true one.
//!
//! The bound is studentized (Efron and Tibshirani 1993, chapter 12.5): of each resample its mean's distance from the
//! sample's mean in standard errors of the resample. Differences of ranking metrics are mostly 0 with a few large ones, to
//! which percentiles of plain means adapt too late. Draws are a function of (seed, resample, place), so that a bound does not
//! depend on threads or on the order in which users came.

use muster_proto::checkpoint::mix;
use rayon::prelude::*;

/// The step of SplitMix64 between two draws.
const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

/// The mean of a sample, and how it varies.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Bootstrap {
    /// The mean.
    pub(super) mean: f64,
    /// Standard deviation of a single difference.
    pub(super) deviation: f64,
    /// Standard error of the mean.
    pub(super) error: f64,
    /// Of each resample, its mean's distance in its own standard errors, ascending.
    distances: Vec<f64>,
}

impl Bootstrap {
    /// Draws `resamples` of a sample of at least one difference.
    pub(super) fn of(differences: &[f64], resamples: u32, seed: u64) -> Self {
        let Moments { mean, deviation, error } = Moments::of(differences.iter().copied());
        let distance = |resample: u32| {
            let key = mix(seed ^ mix(u64::from(resample)));
            let drawn = Moments::of((0..differences.len() as u64).map(|place| {
                let bits = mix(key.wrapping_add(place.wrapping_mul(STEP)));
                differences[((u128::from(bits) * differences.len() as u128) >> 64) as usize]
            }));
            let off = drawn.mean - mean;
            // A resample of equal differences has no error of its own: it says nothing, or that there is no bound.
            if drawn.error > 0.0 { off / drawn.error } else { off * f64::INFINITY }
        };
        let mut distances: Vec<f64> = (0..resamples).into_par_iter().map(distance).collect();
        distances.iter_mut().filter(|distance| distance.is_nan()).for_each(|distance| *distance = 0.0);
        distances.sort_unstable_by(f64::total_cmp);
        Self { mean, deviation, error, distances }
    }

    /// What the true mean is over, but for a chance of `level`.
    pub(super) fn lower(&self, level: f64) -> f64 {
        let resamples = self.distances.len();
        let place = ((1.0 - level) * (resamples as f64 + 1.0)).ceil() as usize;
        let distance = self.distances[place.clamp(1, resamples) - 1];
        if self.error > 0.0 { self.mean - distance * self.error } else { self.mean }
    }
}

struct Moments {
    mean: f64,
    deviation: f64,
    error: f64,
}

impl Moments {
    /// In one pass, around the running mean (Welford 1962), since means are small beside what they are the mean of.
    fn of(values: impl Iterator<Item = f64>) -> Self {
        let (mut count, mut mean, mut squares) = (0.0, 0.0, 0.0);
        for value in values {
            count += 1.0;
            let off = value - mean;
            mean += off / count;
            squares += off * (value - mean);
        }
        let deviation = if count > 1.0 { (squares / (count - 1.0)).sqrt() } else { 0.0 };
        Self { mean, deviation, error: deviation / f64::max(count, 1.0).sqrt() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_follows_from_the_sample_and_the_seed_alone() {
        let sample: Vec<f64> = (0..200_u64).map(|i| (mix(i) % 7) as f64 - 3.0).collect();
        let bound = |seed| Bootstrap::of(&sample, 500, seed).lower(0.05);
        assert_eq!(bound(1).to_bits(), bound(1).to_bits());
        assert_ne!(bound(1).to_bits(), bound(2).to_bits());
        assert!(bound(1) < Bootstrap::of(&sample, 500, 1).mean);
        assert!(Bootstrap::of(&sample, 500, 1).lower(0.01) < bound(1));
    }

    #[test]
    fn a_sample_without_differences_is_its_own_bound() {
        let same = Bootstrap::of(&[0.0; 50], 400, 1);
        assert_eq!((same.mean, same.error, same.lower(0.05)), (0.0, 0.0, 0.0));
    }

    #[test]
    fn the_bound_of_many_even_differences_is_that_of_the_normal_distribution() {
        let sample: Vec<f64> = (0..4000).map(|i| f64::from(i % 201) / 100.0 - 1.0).collect();
        let drawn = Bootstrap::of(&sample, 4000, 3);
        let normal = drawn.mean - 1.645 * drawn.error;
        assert!((drawn.lower(0.05) - normal).abs() < 0.1 * drawn.error, "{} {normal}", drawn.lower(0.05));
    }
}
