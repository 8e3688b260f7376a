//! The canonical binary tree over logical pieces, for sums whose order may not depend on the owners.
//!
//! A node [lo, hi) with more than one leaf splits at lo plus the largest power of two below its length. A rank sums
//! what it holds up to its maximal subtrees; whoever gets the roots of all ranks goes on along the same tree.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::ops::Range;

/// Where a node with more than one leaf splits.
fn split(node: &Range<usize>) -> usize {
    let length = node.end - node.start;
    node.start + (length.next_power_of_two() >> 1)
}

/// The maximal subtrees of 0..`leaves` whose leaves are all held.
#[must_use]
pub fn maximal_subtrees(leaves: usize, held: &dyn Fn(usize) -> bool) -> Vec<Range<usize>> {
    let mut nodes = Vec::new();
    collect(0..leaves, held, &mut nodes);
    nodes
}

fn collect(node: Range<usize>, held: &dyn Fn(usize) -> bool, nodes: &mut Vec<Range<usize>>) {
    if node.is_empty() {
        return;
    }
    if node.clone().all(held) {
        nodes.push(node);
    } else if node.len() > 1 {
        let middle = split(&node);
        collect(node.start..middle, held, nodes);
        collect(middle..node.end, held, nodes);
    }
}

/// Sums along the tree below `node`. `take` gives the values of a node that is known as a whole (a leaf, or the
/// root of a subtree that a rank has summed), and is asked from the top down.
///
/// # Panics
/// When a leaf is in no known node: the plan covers each piece.
pub fn sum(node: Range<usize>, take: &mut dyn FnMut(&Range<usize>) -> Option<Vec<f32>>) -> Vec<f32> {
    never_fails(sum_with(node, take, &mut add))
}

/// Sums of held leaves up to their maximal subtrees.
#[must_use]
pub fn roots(leaves: usize, held: BTreeMap<usize, Vec<f32>>) -> Roots<Vec<f32>> {
    never_fails(roots_with(leaves, held, &mut add))
}

#[allow(clippy::ptr_arg, reason = "the sums are of vectors, and this adds two of them")]
fn add(left: &mut Vec<f32>, right: &Vec<f32>) -> Result<(), Infallible> {
    for (sum, value) in left.iter_mut().zip(right) {
        *sum += value;
    }
    Ok(())
}

fn never_fails<T>(result: Result<T, Infallible>) -> T {
    match result {
        Ok(value) => value,
        Err(never) => match never {},
    }
}

/// Sums of maximal subtrees, ascending: the leaves that a subtree covers, and their sum.
pub type Roots<T> = Vec<(Range<usize>, T)>;

/// How the values of two nodes are added: the second to the first.
pub type Add<'a, T, E> = &'a mut dyn FnMut(&mut T, &T) -> Result<(), E>;

/// As [`sum`], of values wherever they are.
///
/// # Errors
/// What adding two of them gives.
///
/// # Panics
/// As [`sum`].
pub fn sum_with<T, E>(
    node: Range<usize>,
    take: &mut dyn FnMut(&Range<usize>) -> Option<T>,
    add: Add<'_, T, E>,
) -> Result<T, E> {
    if let Some(values) = take(&node) {
        return Ok(values);
    }
    assert!(node.len() > 1, "piece {} is held by no rank", node.start);
    let middle = split(&node);
    let mut left = sum_with(node.start..middle, take, add)?;
    let right = sum_with(middle..node.end, take, add)?;
    add(&mut left, &right)?;
    Ok(left)
}

/// As [`roots`], of values wherever they are.
///
/// # Errors
/// What adding two of them gives.
pub fn roots_with<T, E>(
    leaves: usize,
    mut held: BTreeMap<usize, T>,
    add: Add<'_, T, E>,
) -> Result<Roots<T>, E> {
    let nodes = maximal_subtrees(leaves, &|leaf| held.contains_key(&leaf));
    let mut leaf = |node: &Range<usize>| if node.len() == 1 { held.remove(&node.start) } else { None };
    nodes.into_iter().map(|node| Ok((node.clone(), sum_with(node, &mut leaf, add)?))).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_sum_does_not_depend_on_who_holds_which_leaf(
            values in prop::collection::vec(-1e3_f32..1e3, 1..20), owners in prop::collection::vec(0_usize..4, 20),
        ) {
            let leaves = values.len();
            let all: BTreeMap<usize, Vec<f32>> = values.iter().map(|v| vec![*v]).enumerate().collect();
            let expected = roots(leaves, all.clone());
            prop_assert_eq!(expected.len(), 1);
            let mut known: BTreeMap<(usize, usize), Vec<f32>> = BTreeMap::new();
            for rank in 0..4 {
                let held = all.iter().filter(|(l, _)| owners[**l] == rank).map(|(l, v)| (*l, v.clone())).collect();
                known.extend(roots(leaves, held).into_iter().map(|(n, v)| ((n.start, n.end), v)));
            }
            let total = sum(0..leaves, &mut |node| known.remove(&(node.start, node.end)));
            prop_assert_eq!(total[0].to_bits(), expected[0].1[0].to_bits());
        }
    }
}
