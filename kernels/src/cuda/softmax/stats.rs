//! The softmax statistics of a shard, their combination over shards, and the loss.

use crate::cuda::Error;
use crate::cuda::device::Device;
use crate::cuda::error::count;
use crate::cuda::launch::Shape;
use crate::cuda::memory::{Buffer, View, ViewMut};
use crate::error::check_shape;

/// What one shard knows of a block of `n` positions; owners exchange it.
#[derive(Debug, Clone, Copy)]
pub struct ShardStats<'a> {
    /// Largest logit `[n]`; -infinity for a shard without rows.
    pub max: View<'a, f32>,
    /// Sum of exp(logit - max) `[n]`.
    pub sum: View<'a, f32>,
    /// The target's logit `[n]`, 0 where another shard has the target.
    pub target_logit: View<'a, f32>,
}

/// The statistics of a block of positions over the whole table.
#[derive(Debug)]
pub struct CombinedStats {
    /// Largest logit `[n]`.
    pub max: Buffer<f32>,
    /// Sum of exp(logit - max) `[n]`.
    pub sum: Buffer<f32>,
    /// The target's logit `[n]`.
    pub target_logit: Buffer<f32>,
}

/// Statistics of several parts, each array `[parts, n]`.
#[derive(Clone, Copy)]
pub(super) struct Parts<'a> {
    pub(super) max: View<'a, f32>,
    pub(super) sum: View<'a, f32>,
    pub(super) target_logit: Option<View<'a, f32>>,
    pub(super) parts: usize,
}

/// Where combined statistics go, each `[n]`; target logits stay where parts have none.
pub(super) struct Combined<'a> {
    pub(super) max: ViewMut<'a, f32>,
    pub(super) sum: ViewMut<'a, f32>,
    pub(super) target_logit: ViewMut<'a, f32>,
}

pub(super) fn combine(device: &Device, from: Parts<'_>, to: Combined<'_>) -> Result<(), Error> {
    const OP: &str = "combine_shards";
    let Combined { mut max, mut sum, mut target_logit } = to;
    let n = max.len();
    device
        .launch("softmax_combine_kernel")
        .input(from.max)
        .input(from.sum)
        .input_or_null(from.target_logit)
        .output(&mut max)
        .output(&mut sum)
        .output(&mut target_logit)
        .value(count(OP, "number of positions", n)?)
        .value(count(OP, "number of parts", from.parts)?)
        .run(Shape::items(n))
}

/// Combines the statistics of all shards, given in shard order, into those of the table.
///
/// # Errors
/// [`crate::Error::Shape`] where parts have different lengths, else the device's.
pub fn combine_shards(device: &Device, parts: &[ShardStats<'_>]) -> Result<CombinedStats, Error> {
    const OP: &str = "combine_shards";
    let n = parts.first().map_or(0, |part| part.max.len());
    let mut combined =
        CombinedStats { max: device.buffer(n)?, sum: device.buffer(n)?, target_logit: device.buffer(n)? };
    let mut gathered: [Buffer<f32>; 3] =
        [device.buffer(parts.len() * n)?, device.buffer(parts.len() * n)?, device.buffer(parts.len() * n)?];
    for (place, part) in parts.iter().enumerate() {
        let arrays = [part.max, part.sum, part.target_logit];
        for (to, from) in gathered.iter_mut().zip(arrays) {
            check_shape(OP, "length of a shard's statistics", n, from.len())?;
            device.copy(from, &mut to.view_mut().range(place * n..(place + 1) * n))?;
        }
    }
    let [max, sum, target_logit] = &gathered;
    let from = Parts {
        max: max.view(),
        sum: sum.view(),
        target_logit: Some(target_logit.view()),
        parts: parts.len(),
    };
    let to = Combined {
        max: combined.max.view_mut(),
        sum: combined.sum.view_mut(),
        target_logit: combined.target_logit.view_mut(),
    };
    combine(device, from, to)?;
    Ok(combined)
}

/// Adds the sum over positions of `weight * (ln sum + max - target_logit)` to `loss` `[1]`, in f64.
///
/// A position of weight 0 does not count, whatever its statistics.
///
/// # Errors
/// [`crate::Error::Shape`] where lengths differ, else the device's.
pub fn softmax_loss(
    device: &Device,
    combined: &CombinedStats,
    weights: View<'_, f32>,
    loss: &mut ViewMut<'_, f64>,
) -> Result<(), Error> {
    const OP: &str = "softmax_loss";
    check_shape(OP, "length of the weights", combined.max.len(), weights.len())?;
    check_shape(OP, "length of the loss", 1, loss.len())?;
    device
        .launch("softmax_loss_kernel")
        .input(combined.max.view())
        .input(combined.sum.view())
        .input(combined.target_logit.view())
        .input(weights)
        .output(loss)
        .value(count(OP, "number of positions", weights.len())?)
        .run(Shape::blocks(1))
}
