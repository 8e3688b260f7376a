//! The order of samples: a stratified permutation that does not know the cluster.
//!
//! The samples of a job fall into M groups (the log partitions p with p mod M = g feed micro-batch g). An epoch has
//! T = ceil(N / B) steps. Step t takes from group g the places floor(t N_g / T) .. floor((t + 1) N_g / T) of a
//! pseudo-random permutation of the group keyed by (seed, epoch, g): each sample exactly once an epoch, each as
//! likely at any step as at any other, and a global batch whose size differs from B by less than M.

use std::ops::Range;

use muster_kernels::rng::Permutation;
use muster_proto::checkpoint::mix;

/// How an epoch is cut into steps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EpochPlan {
    group_sizes: Vec<u64>,
    steps: u64,
}

impl EpochPlan {
    /// Plans an epoch over groups of the given sizes with about `batch` samples a step.
    #[must_use]
    pub fn new(group_sizes: Vec<u64>, batch: u32) -> Self {
        let samples: u64 = group_sizes.iter().sum();
        let steps = samples.div_ceil(u64::from(batch.max(1)));
        Self { group_sizes, steps }
    }

    /// Samples of each group.
    #[must_use]
    pub fn group_sizes(&self) -> &[u64] {
        &self.group_sizes
    }

    /// Steps of an epoch.
    #[must_use]
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// Samples of an epoch.
    #[must_use]
    pub fn samples(&self) -> u64 {
        self.group_sizes.iter().sum()
    }

    /// The places in the group's permutation that step `step` of an epoch takes.
    #[must_use]
    pub fn places(&self, group: usize, step: u64) -> Range<u64> {
        let size = u128::from(self.group_sizes[group]);
        let steps = u128::from(self.steps.max(1));
        let bound = |t: u64| (u128::from(t) * size / steps) as u64;
        bound(step)..bound(step + 1)
    }
}

/// Draws the samples of each step.
#[derive(Debug, Clone)]
pub struct Sampler {
    plan: EpochPlan,
    seed: u64,
}

impl Sampler {
    /// A sampler for the job's seed.
    #[must_use]
    pub fn new(plan: EpochPlan, seed: u64) -> Self {
        Self { plan, seed }
    }

    /// How epochs are cut.
    #[must_use]
    pub fn plan(&self) -> &EpochPlan {
        &self.plan
    }

    /// Indices within `group` of the samples of global step `step` (counted from 0 over all epochs).
    #[must_use]
    pub fn samples(&self, group: usize, step: u64) -> Vec<u64> {
        let steps = self.plan.steps().max(1);
        let (epoch, step) = (step / steps, step % steps);
        let size = self.plan.group_sizes[group];
        if size == 0 {
            return Vec::new();
        }
        let order = Permutation::new(size, key(self.seed, epoch, group as u64));
        self.plan.places(group, step).map(|place| order.at(place)).collect()
    }
}

/// Mixes (seed, epoch, group) into the key of a permutation.
fn key(seed: u64, epoch: u64, group: u64) -> u64 {
    [epoch, group].iter().fold(mix(seed), |key, part| mix(key ^ mix(*part)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn each_sample_counts_exactly_once_an_epoch(
            sizes in prop::collection::vec(0_u64..60, 1..9), batch in 1_u32..40, seed: u64, epoch in 0_u64..4,
        ) {
            let sampler = Sampler::new(EpochPlan::new(sizes.clone(), batch), seed);
            let steps = sampler.plan().steps();
            for (group, size) in sizes.iter().enumerate() {
                let mut seen: Vec<u64> =
                    (0..steps).flat_map(|t| sampler.samples(group, epoch * steps + t)).collect();
                seen.sort_unstable();
                prop_assert_eq!(seen, (0..*size).collect::<Vec<_>>());
            }
        }

        #[test]
        fn a_global_batch_differs_from_its_size_by_less_than_the_number_of_groups(
            sizes in prop::collection::vec(0_u64..200, 1..9), batch in 1_u32..40,
        ) {
            let plan = EpochPlan::new(sizes.clone(), batch);
            for step in 0..plan.steps() {
                let taken: u64 = (0..sizes.len()).map(|g| plan.places(g, step)).map(|r| r.end - r.start).sum();
                prop_assert!(taken < u64::from(batch) + sizes.len() as u64);
            }
        }
    }

    #[test]
    fn epochs_and_seeds_have_orders_of_their_own() {
        let order = |seed, epoch: u64| Sampler::new(EpochPlan::new(vec![50], 50), seed).samples(0, epoch);
        assert_ne!(order(1, 0), order(1, 1));
        assert_ne!(order(1, 0), order(2, 0));
        assert_eq!(order(1, 3), order(1, 3));
    }
}
