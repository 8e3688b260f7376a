//! The canonical binary tree over leaves `0..m`, by which partial results of micro-batches are combined.
//!
//! A node `lo..hi` of two or more leaves splits at `lo + p`, where p is the largest power of two below its
//! length. So neighbors (0, 1), (2, 3), ... meet first and m need not be a power of two. A rank that holds a
//! range of leaves sends the roots of its maximal subtrees; whoever combines them gets the bits of the whole
//! tree, because every addition of the tree is done somewhere exactly once.

use std::ops::Range;

/// Returns where the node splits; its length must be two or more.
fn split(node: &Range<usize>) -> usize {
    let length = node.end - node.start;
    node.start + (1 << (length - 1).ilog2())
}

/// Returns the largest nodes of the tree over `0..m` that lie inside of `range`, in order.
///
/// They cover `range` (cut to `0..m`) exactly; there are at most 2 log2(m) of them.
pub fn maximal_subtrees(range: Range<usize>, m: usize) -> Vec<Range<usize>> {
    fn collect(node: Range<usize>, range: &Range<usize>, found: &mut Vec<Range<usize>>) {
        if node.start >= range.end || node.end <= range.start {
            return;
        }
        if range.start <= node.start && node.end <= range.end {
            found.push(node);
            return;
        }
        let middle = split(&node);
        collect(node.start..middle, range, found);
        collect(middle..node.end, range, found);
    }
    let mut found = Vec::new();
    if m > 0 && !range.is_empty() {
        collect(0..m, &range, &mut found);
    }
    found
}

/// Returns the sum of leaves `node`, itself a node of the tree, or `None` where there is no leaf.
///
/// `leaf(i)` makes leaf i, in order of i; `add` combines a left and a right result. At most log2(m) + 1
/// results are alive at a time.
pub fn tree_sum<T>(
    node: Range<usize>,
    leaf: &mut impl FnMut(usize) -> T,
    add: &mut impl FnMut(T, T) -> T,
) -> Option<T> {
    if node.len() < 2 {
        return node.into_iter().next().map(leaf);
    }
    let middle = split(&node);
    let left = tree_sum(node.start..middle, leaf, add)?;
    let right = tree_sum(middle..node.end, leaf, add)?;
    Some(add(left, right))
}

/// Combines the roots of subtrees that together cover `0..m`, in order, into the root of the tree.
///
/// Returns `None` where `m` is 0, or where the parts are not nodes of the tree that cover it in order.
pub fn combine_roots<T>(
    m: usize,
    parts: impl IntoIterator<Item = (Range<usize>, T)>,
    add: &mut impl FnMut(T, T) -> T,
) -> Option<T> {
    fn take<T>(
        node: Range<usize>,
        parts: &mut std::iter::Peekable<impl Iterator<Item = (Range<usize>, T)>>,
        add: &mut impl FnMut(T, T) -> T,
    ) -> Option<T> {
        if let Some((_, root)) = parts.next_if(|(range, _)| *range == node) {
            return Some(root);
        }
        if node.len() < 2 {
            return None;
        }
        let middle = split(&node);
        let left = take(node.start..middle, parts, add)?;
        let right = take(middle..node.end, parts, add)?;
        Some(add(left, right))
    }
    let mut parts = parts.into_iter().peekable();
    let root = take(0..m, &mut parts, add)?;
    parts.next().is_none().then_some(root)
}
