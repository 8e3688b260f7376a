//! Laws of the sums, over random ways to spread leaves on ranks.

use proptest::prelude::*;

use muster_collective::Transport;

use crate::sums::assert_tree_sum;
use crate::world::World;

/// Leaves of a tree and the cuts between ranks, some of which have no leaf.
fn spreads() -> impl Strategy<Value = (usize, Vec<usize>)> {
    (1usize..=24, 0usize..8).prop_flat_map(|(leaves, cuts)| {
        let cuts = proptest::collection::vec(0..=leaves, cuts).prop_map(|mut cuts| {
            cuts.sort_unstable();
            cuts
        });
        (Just(leaves), cuts)
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_bits_of_a_tree_sum_do_not_depend_on_how_leaves_are_spread_over_tcp((leaves, cuts) in spreads(), len in 0usize..6_000) {
        assert_tree_sum(World::new(Transport::Tcp, cuts.len() + 1), leaves, &cuts, len);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn the_bits_of_a_tree_sum_do_not_depend_on_how_leaves_are_spread_in_shared_memory((leaves, cuts) in spreads(), len in 0usize..30_000) {
        assert_tree_sum(World::new(Transport::Shm, cuts.len() + 1), leaves, &cuts, len);
    }
}
