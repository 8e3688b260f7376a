//! A copy of the parameters of the best validation, kept in memory for the test at the end.

use super::step::Trainer;

/// Weights without optimizer state: as many bytes as this rank's share of the model.
#[derive(Debug)]
pub(super) struct Parameters {
    /// Per table and shard on this rank: weights and biases.
    shards: Vec<(Vec<f32>, Vec<f32>)>,
    dense: Vec<f32>,
}

impl Parameters {
    /// Copies the parameters of this rank.
    pub(super) fn of(trainer: &Trainer) -> Self {
        let shards = trainer.set.tables.iter().flat_map(|t| t.shards.values());
        let shards = shards.map(|s| (s.weight.clone(), s.bias.clone())).collect();
        Self { shards, dense: trainer.dense.values.clone() }
    }

    /// Puts the copied parameters in place of the present ones.
    pub(super) fn put_back(self, trainer: &mut Trainer) {
        let shards = trainer.set.tables.iter_mut().flat_map(|t| t.shards.values_mut());
        for (shard, (weight, bias)) in shards.zip(self.shards) {
            shard.weight = weight;
            shard.bias = bias;
        }
        trainer.dense.values = self.dense;
    }
}
