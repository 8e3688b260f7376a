//! Initial values: a pure function of (seed, table, row, column).

use std::ops::Range;

use crate::random::{Purpose, name_key};

/// Fills `out` with the columns `columns` of row `row` of the table, draws from N(0, std²).
///
/// The key is the logical row, so that neither the number of shards nor their owners matter, nor into how many column
/// blocks the table is cut.
pub(super) fn init_row(seed: u64, table: &str, row: u64, std: f32, columns: Range<usize>, out: &mut [f32]) {
    let stream = Purpose::TableInit.stream(seed).derive(name_key(table), 0);
    // Columns are drawn by fours; a block may begin and end inside of one.
    let quads = columns.start / 4..columns.end.div_ceil(4);
    let draws = quads.flat_map(|quad| stream.normal(row, quad as u64));
    for (value, draw) in out.iter_mut().zip(draws.skip(columns.start % 4)) {
        *value = draw * std;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn column_blocks_begin_with_the_values_of_the_uncut_table() {
        let mut whole = vec![0.0; 30];
        init_row(7, "item", 11, 0.5, 0..30, &mut whole);
        for (first, width) in [(0, 30), (0, 5), (5, 5), (25, 5), (8, 4), (3, 1)] {
            let mut block = vec![0.0; width];
            init_row(7, "item", 11, 0.5, first..first + width, &mut block);
            assert_eq!(block, whole[first..first + width], "columns from {first}");
        }
    }
}
