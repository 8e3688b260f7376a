//! The canonical binary tree over the micro-batches of a step, and a rank's partial sums along it.
//!
//! A node covers a range of leaves. The root covers all; a node of two or more leaves has two children, split
//! at the largest power of two below its length. The tree follows from the number of leaves alone, and so do
//! the bits of a sum that is added along it, whichever rank adds which node.

use crate::error::Error;

/// The sum over the leaves `lo..hi`, which are a node of the canonical tree.
#[derive(Debug, Clone, Copy)]
pub struct Root<'a> {
    /// First leaf.
    pub lo: usize,
    /// One past the last leaf.
    pub hi: usize,
    /// The sum, as long as the vector that is reduced.
    pub values: &'a [f32],
}

/// Where the children of the node `lo..hi` of two or more leaves meet.
pub(crate) fn split(lo: usize, hi: usize) -> usize {
    lo + (1 << (hi - lo - 1).ilog2())
}

/// Whether `lo..hi` is a node of the tree over `leaves` leaves.
pub(crate) fn is_node(lo: usize, hi: usize, leaves: usize) -> bool {
    let (mut node_lo, mut node_hi) = (0, leaves);
    if lo >= hi || hi > leaves {
        return false;
    }
    while (node_lo, node_hi) != (lo, hi) {
        if node_hi - node_lo < 2 {
            return false;
        }
        let middle = split(node_lo, node_hi);
        if hi <= middle {
            node_hi = middle;
        } else if lo >= middle {
            node_lo = middle;
        } else {
            return false;
        }
    }
    true
}

/// A rank's own sums: takes leaves in ascending order and adds siblings as soon as both are there.
///
/// For a contiguous range of leaves the roots that remain are the maximal nodes inside the range, and at most
/// log2(leaves) + 1 sums are alive at a time while the leaves of an aligned power of two come in.
#[derive(Debug)]
pub struct RootSums {
    leaves: usize,
    stack: Vec<Sum>,
}

#[derive(Debug)]
struct Sum {
    lo: usize,
    hi: usize,
    values: Vec<f32>,
}

impl RootSums {
    /// No sums yet, of a tree over `leaves` leaves.
    pub fn new(leaves: usize) -> Self {
        Self { leaves, stack: Vec::new() }
    }

    /// Adds the values of one leaf; returns a buffer that the additions set free, its contents stale.
    ///
    /// # Errors
    /// [`Error::Argument`] where the leaf is outside the tree or not after the last one, or where the number of
    /// values differs.
    pub fn push(&mut self, leaf: usize, values: Vec<f32>) -> Result<Option<Vec<f32>>, Error> {
        let next = self.stack.last().map_or(0, |sum| sum.hi);
        if leaf < next || leaf >= self.leaves {
            return Err(Error::argument("leaf", &format!("one of {next}..{}", self.leaves), &leaf));
        }
        if let Some(last) = self.stack.last()
            && last.values.len() != values.len()
        {
            return Err(Error::argument("values", &last.values.len(), &values.len()));
        }
        let mut right = Sum { lo: leaf, hi: leaf + 1, values };
        let mut spare = None;
        while let Some(left) = self.stack.pop_if(|left| are_siblings(left, &right, self.leaves)) {
            let mut values = left.values;
            add_assign(&mut values, &right.values);
            spare = Some(right.values);
            right = Sum { lo: left.lo, hi: right.hi, values };
        }
        self.stack.push(right);
        Ok(spare)
    }

    /// The roots so far, in ascending order.
    pub fn roots(&self) -> Vec<Root<'_>> {
        self.stack.iter().map(|sum| Root { lo: sum.lo, hi: sum.hi, values: &sum.values }).collect()
    }

    /// Empties the sums for the next step and hands their buffers back, contents stale.
    pub fn clear(&mut self, spares: &mut Vec<Vec<f32>>) {
        spares.extend(self.stack.drain(..).map(|sum| sum.values));
    }
}

fn are_siblings(left: &Sum, right: &Sum, leaves: usize) -> bool {
    left.hi == right.lo && is_node(left.lo, right.hi, leaves) && split(left.lo, right.hi) == left.hi
}

/// Adds `right` to `left`, element by element.
pub(crate) fn add_assign(left: &mut [f32], right: &[f32]) {
    for (left, right) in left.iter_mut().zip(right) {
        *left += right;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ranges(sums: &RootSums) -> Vec<(usize, usize)> {
        sums.roots().iter().map(|root| (root.lo, root.hi)).collect()
    }

    #[test]
    fn a_node_splits_at_the_largest_power_of_two_below_its_length() {
        assert_eq!(split(0, 8), 4);
        assert_eq!(split(0, 5), 4);
        assert_eq!(split(4, 7), 6);
        assert_eq!(split(4, 6), 5);
    }

    #[test]
    fn the_roots_of_a_range_are_its_maximal_nodes() {
        let mut sums = RootSums::new(8);
        for leaf in 3..8 {
            sums.push(leaf, vec![1.0]).unwrap();
        }
        assert_eq!(ranges(&sums), [(3, 4), (4, 8)]);
        assert_eq!(sums.roots()[1].values, [4.0]);
    }

    #[test]
    fn a_tree_of_odd_length_merges_to_one_root() {
        let mut sums = RootSums::new(11);
        for leaf in 0..11 {
            sums.push(leaf, vec![leaf as f32]).unwrap();
        }
        assert_eq!(ranges(&sums), [(0, 11)]);
        assert_eq!(sums.roots()[0].values, [55.0]);
    }

    #[test]
    fn leaves_out_of_order_or_outside_the_tree_are_refused() {
        let mut sums = RootSums::new(4);
        sums.push(2, vec![0.0]).unwrap();
        assert!(matches!(sums.push(1, vec![0.0]), Err(Error::Argument { argument: "leaf", .. })));
        assert!(matches!(sums.push(4, vec![0.0]), Err(Error::Argument { argument: "leaf", .. })));
        assert!(matches!(sums.push(3, vec![]), Err(Error::Argument { argument: "values", .. })));
    }

    proptest! {
        #[test]
        fn few_sums_are_alive_when_all_leaves_come_in(leaves in 1usize..200) {
            let mut sums = RootSums::new(leaves);
            for leaf in 0..leaves {
                sums.push(leaf, vec![1.0]).unwrap();
                prop_assert!(sums.stack.len() <= leaves.ilog2() as usize + 1);
            }
            prop_assert_eq!(ranges(&sums), vec![(0, leaves)]);
        }
    }
}
