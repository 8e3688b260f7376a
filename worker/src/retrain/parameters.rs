//! Whether a model's parameters look like those of one.

use crate::train::Trainer;

/// What was seen of a model's parameters.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Seen {
    /// Those that are no numbers.
    pub(super) non_finite: u64,
    /// The Euclidean norm of the longest row of an embedding table, without its bias; of those that are numbers.
    pub(super) longest_row: f64,
}

/// Looks at all parameters. `trainer` holds the whole model; of a table that is cut, rows are looked at across its column blocks.
/// Memory: 8 bytes a row of one table.
pub(super) fn look(trainer: &Trainer) -> Seen {
    let mut seen = Seen { non_finite: non_finite(&trainer.dense.values), longest_row: 0.0 };
    for (index, table) in trainer.set.of_model().iter().enumerate() {
        let mut squares = vec![0.0_f64; table.rows as usize];
        for part in trainer.set.parts(index) {
            for (block, shard) in &part.shards {
                seen.non_finite += non_finite(&shard.weight) + non_finite(&shard.bias);
                for (local, row) in shard.weight.chunks_exact(shard.dim.max(1)).enumerate() {
                    let row_index = part.decl.global_row(*block, local as u64) as usize;
                    squares[row_index] += row.iter().map(|value| f64::from(*value).powi(2)).sum::<f64>();
                }
            }
        }
        let longest = squares.into_iter().filter(|square| square.is_finite()).fold(0.0, f64::max).sqrt();
        seen.longest_row = seen.longest_row.max(longest);
    }
    seen
}

fn non_finite(values: &[f32]) -> u64 {
    values.iter().filter(|value| !value.is_finite()).count() as u64
}
