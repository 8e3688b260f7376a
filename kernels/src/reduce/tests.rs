//! The laws of the canonical tree, and slice sums against plain loops.

use proptest::prelude::*;

use super::tree::{combine_roots, maximal_subtrees, tree_sum};
use super::*;

fn add(left: f32, right: f32) -> f32 {
    left + right
}

#[test]
fn neighbors_meet_first_and_odd_counts_lean_left() {
    let text =
        |m| tree_sum(0..m, &mut |i| i.to_string(), &mut |l, r| format!("({l}{r})")).unwrap_or_default();
    assert_eq!(text(0), "");
    assert_eq!(text(1), "0");
    assert_eq!(text(7), "(((01)(23))((45)6))");
    assert_eq!(text(8), "(((01)(23))((45)(67)))");
}

#[test]
fn maximal_subtrees_of_a_range_are_the_largest_nodes_inside() {
    assert_eq!(maximal_subtrees(0..8, 8), vec![0..8]);
    assert_eq!(maximal_subtrees(1..8, 8), vec![1..2, 2..4, 4..8]);
    assert_eq!(maximal_subtrees(3..3, 8), vec![]);
    assert_eq!(maximal_subtrees(0..4, 0), vec![]);
}

#[test]
fn parts_that_are_no_nodes_or_leave_a_gap_are_refused() {
    assert_eq!(combine_roots(4, [(0..3, 1.0), (3..4, 1.0)], &mut add), None);
    assert_eq!(combine_roots(4, [(0..2, 1.0)], &mut add), None);
    assert_eq!(combine_roots(2, [(0..2, 1.0), (2..3, 1.0)], &mut add), None);
    assert_eq!(combine_roots(0, [], &mut add), None);
}

proptest! {
    #[test]
    fn any_partition_into_ranges_gives_the_bits_of_the_whole_tree(
        leaves in prop::collection::vec(-1e3f32..1e3, 1..40),
        cuts in prop::collection::vec(0usize..40, 0..6),
    ) {
        let m = leaves.len();
        let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(m)).chain([0, m]).collect();
        cuts.sort_unstable();
        let parts: Vec<_> = cuts
            .windows(2)
            .flat_map(|cut| maximal_subtrees(cut[0]..cut[1], m))
            .map(|node| (node.clone(), tree_sum(node, &mut |i| leaves[i], &mut add).expect("a node has leaves")))
            .collect();
        let whole = tree_sum(0..m, &mut |i| leaves[i], &mut add).map(f32::to_bits);
        prop_assert_eq!(combine_roots(m, parts, &mut add).map(f32::to_bits), whole);
    }

    #[test]
    fn slice_sums_are_the_same_bits_at_every_level(values in prop::collection::vec(-1e3f32..1e3, 0..200)) {
        let mut lanes = [0.0; LANES];
        for (i, &value) in values.iter().enumerate() {
            lanes[i % LANES] += f64::from(value) * f64::from(value);
        }
        let expected = fold_lanes(lanes).to_bits();
        for isa in Isa::available() {
            prop_assert_eq!(sum_of_squares(isa, &values).to_bits(), expected);
            let mut doubled = values.clone();
            add_assign(isa, &mut doubled, &values).unwrap();
            prop_assert!((sum(isa, &doubled) - 2.0 * sum(isa, &values)).abs() < 1e-6);
        }
    }
}
