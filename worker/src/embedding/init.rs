//! Initial values: a pure function of (seed, table, row, column).

use crate::random::{Purpose, name_key};

/// Fills row `row` of the table with draws from N(0, std²).
///
/// The key is the logical row, so that neither the number of shards nor their owners matter.
pub(super) fn init_row(seed: u64, table: &str, row: u64, std: f32, out: &mut [f32]) {
    let stream = Purpose::TableInit.stream(seed).derive(name_key(table), 0);
    for (quad, values) in out.chunks_mut(4).enumerate() {
        let draws = stream.normal(row, quad as u64);
        for (value, draw) in values.iter_mut().zip(draws) {
            *value = draw * std;
        }
    }
}
