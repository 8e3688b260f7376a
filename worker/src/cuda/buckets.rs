//! Sums of dense gradients over NCCL that run beside the backward pass, bucket by bucket.
//!
//! A bucket is a stretch of the flat gradient. It goes out on the communication stream as soon as the layers that it
//! covers are queued on the compute stream, after an event; what comes later on the compute stream, the layers below,
//! writes other stretches. Every rank sums the same buckets in the same order, whatever it has to compute.

use std::ops::Range;

use muster_kernels::cuda::reduce::add_assign;
use muster_kernels::cuda::{Buffer, Device, Error};

use super::Accelerator;
use super::nccl::Sums;
use super::network::{MicroState, Weights};
use crate::batch::{Group, MicroBatch};
use crate::model::{Layout, Network};
use crate::tree;

/// A stretch of the flat gradient that is summed at once.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Bucket {
    range: Range<usize>,
    /// The lowest layer that it has gradients of; none for what is above the layers.
    lowest: Option<usize>,
}

/// Cuts the gradient at layers, from the top, where a bucket has at least `least` values. Together the buckets cover
/// each value once.
fn buckets(layout: &Layout, layers: usize, least: usize) -> Vec<Bucket> {
    let start = |layer: usize| layout.range(&format!("lstm.weight_ih_l{layer}")).start;
    let end_of_layers = layers.checked_sub(1).map_or(0, |top| {
        let last = layout.range(&format!("lstm.bias_hh_l{top}"));
        last.end
    });
    let stages = std::iter::once((end_of_layers, None)).chain((0..layers).rev().map(|l| (start(l), Some(l))));
    let mut found = Vec::new();
    let mut end = layout.len();
    for (start, lowest) in stages {
        if end - start >= least.max(1) || (start == 0 && end > 0) {
            found.push(Bucket { range: start..end, lowest });
            end = start;
        }
    }
    found
}

/// The sums of one step under way.
struct Round<'a> {
    device: &'a Device,
    sums: &'a mut Sums,
    total: &'a mut Buffer<f32>,
    leaves: usize,
    groups: &'a [Group],
    left: std::vec::IntoIter<Bucket>,
}

impl Round<'_> {
    /// Sends out the buckets that are whole once layer `done` is queued; none stands for what is above the layers.
    fn send(&mut self, states: &mut [MicroState], done: Option<usize>) -> Result<(), Error> {
        let whole = |bucket: &Bucket| match (bucket.lowest, done) {
            (None, _) => true,
            (Some(lowest), Some(done)) => lowest >= done,
            (Some(_), None) => false,
        };
        while let Some(bucket) = self.left.as_slice().first().filter(|bucket| whole(bucket)).cloned() {
            self.left.next();
            self.send_one(states, bucket.range)?;
        }
        Ok(())
    }

    /// Adds up the micro-batches of this rank along the tree, as a sum of all values at once would, and begins the sum
    /// over ranks.
    fn send_one(&mut self, states: &mut [MicroState], range: Range<usize>) -> Result<(), Error> {
        let device = self.device;
        let held = self.groups.iter().enumerate().take(states.len());
        let held = held.map(|(place, group)| (group.index as usize, place)).collect();
        let roots = tree::roots_with(self.leaves, held, &mut |left: &mut usize, right: &usize| {
            let [left, right] = states.get_disjoint_mut([*left, *right]).expect("each place is one leaf");
            let right = right.gradient.view().range(range.clone());
            add_assign(device, &mut left.gradient.view_mut().range(range.clone()), right)
        })?;
        for (_, place) in roots {
            let part = states[place].gradient.view().range(range.clone());
            add_assign(device, &mut self.total.view_mut().range(range.clone()), part)?;
        }
        self.sums.begin(self.total, range)
    }
}

impl Accelerator {
    /// Runs the micro-batches backward, and the last of them layer by layer with the sums over ranks beside it. The sums
    /// are complete after [`Accelerator::join_sums`]. False where the ranks have no NCCL, and nothing was done.
    pub(super) fn backward_with_sums(
        &mut self,
        batches: &[MicroBatch],
        groups: &[Group],
        free: &FreeOrder,
        step: u64,
    ) -> Result<bool, Error> {
        let Self { device, network, dense, dense_gradient, states, sums, .. } = self;
        let Some(Some(sums)) = sums else { return Ok(false) };
        let (device, network): (&Device, &Network) = (device, network);
        let weights = Weights { network, values: dense.view() };
        device.zero(&mut dense_gradient.view_mut())?;
        let least = free.bucket_bytes / size_of::<f32>();
        let layers = network.spec().layers as usize;
        let left = buckets(network.layout(), layers, least).into_iter();
        let mut round =
            Round { device, sums, total: dense_gradient, leaves: free.micro_batches, groups, left };
        let last = batches.iter().rposition(|batch| batch.tokens() > 0);
        for (place, batch) in batches.iter().enumerate().take(last.unwrap_or(0)) {
            if batch.tokens() > 0 {
                states[place].backward(device, weights, batch, step)?;
            }
        }
        if let Some(place) = last {
            states[place].backward_head(device, weights, &batches[place], step)?;
            round.send(states, None)?;
            for layer in (0..layers).rev() {
                states[place].backward_layer(device, weights, layer, step)?;
                round.send(states, Some(layer))?;
            }
        }
        // A rank without work has zeros to add, and has to be there all the same.
        round.send(states, Some(0))?;
        Ok(true)
    }
}

/// What a job says about sums whose order is free.
pub(super) struct FreeOrder {
    /// Micro-batches of a step.
    pub(super) micro_batches: usize,
    /// Bytes of a bucket at least.
    pub(super) bucket_bytes: usize,
}

#[cfg(test)]
mod tests {
    use muster_proto::config;
    use muster_proto::job::JobSpec;

    use super::*;

    fn layout(text: &str) -> (Layout, usize) {
        let job: JobSpec = config::parse(text, "job.toml", &[]).unwrap();
        (Layout::of(&job, 3, 0), job.model.layers as usize)
    }

    const JOB: &str = "name = \"b\"\n[model]\nhidden_size = 2\nlayers = 3\n";

    #[test]
    fn buckets_go_from_the_top_down_and_cover_each_value_once() {
        let (layout, layers) = layout(&format!("{JOB}embedding_dim = 4\nprojection = 4\n"));
        for least in [0, 1, 30, 50, 100, 1_000_000] {
            let found = buckets(&layout, layers, least);
            let mut end = layout.len();
            for bucket in &found {
                assert_eq!(bucket.range.end, end, "{least}: {found:?}");
                end = bucket.range.start;
            }
            assert_eq!(end, 0, "{least}: {found:?}");
            let large = found.iter().rev().skip(1).all(|bucket| bucket.range.len() >= least);
            assert!(large, "{least}: {found:?}");
        }
    }

    #[test]
    fn without_a_least_size_each_layer_is_a_bucket() {
        let (projected, layers) = layout(&format!("{JOB}embedding_dim = 4\nprojection = 4\n"));
        let lowest = |found: Vec<Bucket>| found.into_iter().map(|bucket| bucket.lowest).collect::<Vec<_>>();
        assert_eq!(lowest(buckets(&projected, layers, 0)), [None, Some(2), Some(1), Some(0)]);
        let (plain, layers) = layout(&format!("{JOB}embedding_dim = 2\n"));
        assert_eq!(lowest(buckets(&plain, layers, 0)), [Some(2), Some(1), Some(0)]);
        assert_eq!(lowest(buckets(&plain, layers, plain.len() + 1)), [Some(0)]);
    }
}
