//! Clipping by the global norm, over dense parameters and all table shards.

use muster_collective::{Collective, CollectiveExt};

use super::Error;
use crate::embedding::{Shard, TableSet};

/// Scales all gradients so that their global norm is at most `limit`; returns the norm before. Collective.
///
/// Squares are summed per piece and added up in the order of pieces (PyTorch's `clip_grad_norm_`, with its 1e-6).
///
/// # Errors
/// The collective's.
pub(super) fn clip(
    set: &mut TableSet,
    dense: &mut [f32],
    limit: f64,
    collective: &mut dyn Collective,
) -> Result<f64, Error> {
    let rank = collective.rank() as u32;
    let mut mine = Vec::new();
    for (index, table) in set.tables.iter().enumerate() {
        for block in table.scored_by(rank) {
            let squares = shard_squares(&table.shards[&block]);
            mine.extend([index as u64, u64::from(block), squares.to_bits()]);
        }
    }
    let (norm, factor) = global_factor(mine, squares(dense), limit, collective)?;
    if let Some(factor) = factor {
        scale(dense, factor);
        for shard in set.tables.iter_mut().flat_map(|t| t.shards.values_mut()) {
            let gradient = &mut shard.gradient;
            for values in
                [&mut gradient.weight, &mut gradient.bias, &mut gradient.rows, &mut gradient.row_bias]
            {
                scale(values, factor);
            }
        }
    }
    Ok(norm)
}

/// Adds up the squares of all gradients and returns their norm, and by what they shrink to a norm of `limit` if they
/// exceed it. `mine` has, for each shard that this rank scores, its table, its block and the bits of its sum of squares;
/// `dense` is that of the dense gradients. Collective.
///
/// # Errors
/// The collective's.
pub(crate) fn global_factor(
    mine: Vec<u64>,
    dense: f64,
    limit: f64,
    collective: &mut dyn Collective,
) -> Result<(f64, Option<f32>), muster_collective::Error> {
    let mut all = vec![mine];
    if collective.world_size() > 1 {
        let mine = std::mem::take(&mut all[0]);
        collective.all_gather::<u64>(&mine, &mut all)?;
    }
    let mut pieces: Vec<(u64, u64, f64)> = all
        .iter()
        .flat_map(|words| words.chunks_exact(3).map(|w| (w[0], w[1], f64::from_bits(w[2]))))
        .collect();
    pieces.sort_by_key(|piece| (piece.0, piece.1));
    let norm = pieces.iter().fold(dense, |sum, piece| sum + piece.2).sqrt();
    let factor = limit / (norm + 1e-6);
    Ok((norm, (factor < 1.0).then_some(factor as f32)))
}

fn shard_squares(shard: &Shard) -> f64 {
    let gradient = &shard.gradient;
    let (weight, bias): (&[f32], &[f32]) = if gradient.dense {
        (&gradient.weight, &gradient.bias)
    } else {
        (&gradient.rows, &gradient.row_bias)
    };
    squares(weight) + squares(bias)
}

fn squares(values: &[f32]) -> f64 {
    muster_kernels::reduce::sum_of_squares(crate::model::isa(), values)
}

fn scale(values: &mut [f32], factor: f32) {
    values.iter_mut().for_each(|value| *value *= factor);
}
