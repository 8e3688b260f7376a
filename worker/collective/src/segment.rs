//! How a vector is cut among ranks.

use std::ops::Range;

/// Elements that are never split: 16 f32 fill a cache line.
pub(crate) const BLOCK: usize = 16;

/// The part of a vector of `len` elements that `rank` owns.
///
/// Blocks of 16 elements are spread evenly, lower ranks take one more where they do not come out even; the
/// last part ends at `len`. Parts are contiguous, in rank order, and may be empty.
pub fn segment(len: usize, world_size: usize, rank: usize) -> Range<usize> {
    let blocks = len.div_ceil(BLOCK);
    let (each, more) = (blocks / world_size, blocks % world_size);
    let start = rank * each + rank.min(more);
    let end = start + each + usize::from(rank < more);
    (start * BLOCK).min(len)..(end * BLOCK).min(len)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn segments_follow_each_other_and_cover_the_vector(len in 0usize..10_000, world_size in 1usize..20) {
            let mut end = 0;
            for rank in 0..world_size {
                let part = segment(len, world_size, rank);
                prop_assert_eq!(part.start, end);
                end = part.end;
            }
            prop_assert_eq!(end, len);
        }

        #[test]
        fn segments_differ_by_less_than_two_blocks(len in 0usize..10_000, world_size in 1usize..20) {
            let sizes: Vec<_> = (0..world_size).map(|rank| segment(len, world_size, rank).len()).collect();
            prop_assert!(sizes.iter().max().unwrap() - sizes.iter().min().unwrap() < 2 * BLOCK);
        }
    }
}
