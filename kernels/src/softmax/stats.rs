//! The softmax statistics of a shard, their combination over shards, and the loss.

use crate::error::{Error, check_shape};
use crate::isa::{Isa, Kernel, Simd};
use crate::math;

/// What one shard knows of a block of `n` positions; owners exchange it.
#[derive(Debug, Clone, Copy)]
pub struct ShardStats<'a, T = f32> {
    /// Largest logit `[n]`; -infinity for a shard without rows.
    pub max: &'a [T],
    /// Sum of exp(logit - max) `[n]`.
    pub sum: &'a [T],
    /// The target's logit `[n]`, 0 where another shard has the target.
    pub target_logit: &'a [T],
}

/// The statistics of a block of positions over the whole table.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct CombinedStats<T = f32> {
    /// Largest logit `[n]`.
    pub max: Vec<T>,
    /// Sum of exp(logit - max) `[n]`.
    pub sum: Vec<T>,
    /// The target's logit `[n]`.
    pub target_logit: Vec<T>,
}

impl CombinedStats {
    pub(super) fn check(&self, op: &'static str, n: usize) -> Result<(), Error> {
        check_shape(op, "length of the combined maxima", n, self.max.len())?;
        check_shape(op, "length of the combined sums", n, self.sum.len())?;
        check_shape(op, "length of the combined target logits", n, self.target_logit.len())
    }
}

/// Combines the statistics of all shards, given in shard order, into those of the table.
///
/// # Errors
/// [`Error::Shape`] where parts have different lengths.
pub fn combine_shards(parts: &[ShardStats<'_>], combined: &mut CombinedStats, isa: Isa) -> Result<(), Error> {
    const OP: &str = "combine_shards";
    let n = parts.first().map_or(0, |part| part.max.len());
    for part in parts {
        check_shape(OP, "length of a shard's maxima", n, part.max.len())?;
        check_shape(OP, "length of a shard's sums", n, part.sum.len())?;
        check_shape(OP, "length of a shard's target logits", n, part.target_logit.len())?;
    }
    let CombinedStats { max, sum, target_logit } = combined;
    for (array, start) in [(&mut *max, f32::NEG_INFINITY), (&mut *sum, 0.0), (&mut *target_logit, 0.0)] {
        array.clear();
        array.resize(n, start);
    }
    isa.dispatch(Combine { parts, max, sum, target_logit });
    Ok(())
}

struct Combine<'a> {
    parts: &'a [ShardStats<'a>],
    max: &'a mut [f32],
    sum: &'a mut [f32],
    target_logit: &'a mut [f32],
}

impl Kernel for Combine<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        for part in self.parts {
            for (max, &other) in self.max.iter_mut().zip(part.max) {
                *max = if other > *max { other } else { *max };
            }
        }
        for part in self.parts {
            let shard = part.sum.iter().zip(part.max);
            for ((total, &max), (&sum, &shard_max)) in self.sum.iter_mut().zip(&*self.max).zip(shard) {
                *total += sum * math::exp(shard_max - max);
            }
            for (total, &logit) in self.target_logit.iter_mut().zip(part.target_logit) {
                *total += logit;
            }
        }
    }
}

/// Returns the sum over positions of `weight * (ln sum + max - target_logit)`, added in f64 in the order of positions.
///
/// A position of weight 0 does not count, whatever its statistics.
///
/// # Errors
/// [`Error::Shape`] where lengths differ.
pub fn softmax_loss(combined: &CombinedStats, weights: &[f32], isa: Isa) -> Result<f64, Error> {
    combined.check("softmax_loss", weights.len())?;
    Ok(isa.dispatch(Loss { combined, weights }))
}

struct Loss<'a> {
    combined: &'a CombinedStats,
    weights: &'a [f32],
}

impl Kernel for Loss<'_> {
    type Output = f64;

    #[inline(always)]
    fn run<S: Simd>(self, _: S) -> f64 {
        let CombinedStats { max, sum, target_logit } = self.combined;
        let mut loss = 0.0;
        for (((&weight, &max), &sum), &target) in self.weights.iter().zip(max).zip(sum).zip(target_logit) {
            if weight != 0.0 {
                loss += f64::from(weight) * f64::from(math::ln(sum) + max - target);
            }
        }
        loss
    }
}
