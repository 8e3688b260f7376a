//! The order in which the terms of a sum are added.
//!
//! A [`Plan`] is a binary tree over terms. Ranks with the same plan get the same bits, however the vector is
//! cut among them, since each element is added in the plan's order alone.

use crate::error::Error;
use crate::tree::{add_assign, split};

/// Elements that are added before the next ones are looked at; a few tiles fit the first-level cache.
const TILE: usize = 1024;

/// An order of additions over terms `0..terms`.
#[derive(Debug)]
pub(crate) struct Plan {
    /// Children precede their parent; the last node is the root. No nodes: the sum of nothing, zero.
    nodes: Vec<Node>,
    /// Tiles that hold right-hand sums while the left-hand ones are waited for.
    spare_tiles: Vec<f32>,
}

#[derive(Debug, Clone, Copy)]
enum Node {
    Term(usize),
    Sum { left: usize, right: usize },
}

impl Plan {
    /// ((0 + 1) + 2) + ... over `terms` terms.
    pub(crate) fn in_order(terms: usize) -> Self {
        let mut nodes = Vec::with_capacity(2 * terms);
        for term in 0..terms {
            nodes.push(Node::Term(term));
            if term > 0 {
                nodes.push(Node::Sum { left: nodes.len() - 2, right: nodes.len() - 1 });
            }
        }
        Self { nodes, spare_tiles: Vec::new() }
    }

    /// Along the canonical tree over `leaves` leaves; term i is the sum over the leaves `ranges[i]`.
    ///
    /// # Errors
    /// [`Error::Roots`] where the ranges are not nodes that cover each leaf once.
    pub(crate) fn tree(leaves: usize, ranges: &[(usize, usize)]) -> Result<Self, Error> {
        let problem = |problem: String| Error::Roots { leaves, problem };
        let mut sorted: Vec<_> = ranges.iter().enumerate().map(|(term, &(lo, hi))| (lo, hi, term)).collect();
        sorted.sort_unstable();
        let mut next = 0;
        for &(lo, hi, _) in &sorted {
            if !crate::tree::is_node(lo, hi, leaves) {
                return Err(problem(format!("{lo}..{hi} is no node of the tree")));
            }
            if lo < next {
                return Err(problem(format!("leaf {lo} is in two roots")));
            }
            if lo > next {
                return Err(problem(format!("leaf {next} is in no root")));
            }
            next = hi;
        }
        if next < leaves {
            return Err(problem(format!("leaf {next} is in no root")));
        }
        let mut plan = Self { nodes: Vec::with_capacity(2 * sorted.len()), spare_tiles: Vec::new() };
        if leaves > 0 {
            plan.grow(0, leaves, &sorted);
            plan.spare_tiles.resize(TILE * plan.height(plan.nodes.len() - 1), 0.0);
        }
        Ok(plan)
    }

    /// Adds the nodes for the leaves `lo..hi`, which `sorted` covers exactly.
    fn grow(&mut self, lo: usize, hi: usize, sorted: &[(usize, usize, usize)]) {
        if let [(_, _, term)] = sorted {
            self.nodes.push(Node::Term(*term));
            return;
        }
        let middle = split(lo, hi);
        let (left, right) = sorted.split_at(sorted.partition_point(|&(lo, ..)| lo < middle));
        self.grow(lo, middle, left);
        let left = self.nodes.len() - 1;
        self.grow(middle, hi, right);
        self.nodes.push(Node::Sum { left, right: self.nodes.len() - 1 });
    }

    fn height(&self, node: usize) -> usize {
        match self.nodes[node] {
            Node::Term(_) => 0,
            Node::Sum { left, right } => 1 + self.height(left).max(self.height(right)),
        }
    }

    /// Writes the sum of `terms` to `out`; all have its length.
    pub(crate) fn add(&mut self, terms: &[&[f32]], out: &mut [f32]) {
        if self.nodes.is_empty() {
            out.fill(0.0);
            return;
        }
        let mut spare_tiles = std::mem::take(&mut self.spare_tiles);
        for (tile, out) in out.chunks_mut(TILE).enumerate() {
            let tile = Tile { terms, at: tile * TILE };
            self.add_node(self.nodes.len() - 1, tile, out, &mut spare_tiles);
        }
        self.spare_tiles = spare_tiles;
    }

    fn add_node(&self, node: usize, tile: Tile<'_>, out: &mut [f32], spare: &mut [f32]) {
        let (left, right) = match self.nodes[node] {
            Node::Term(term) => return out.copy_from_slice(tile.of(term, out.len())),
            Node::Sum { left, right } => (left, right),
        };
        match (self.nodes[left], self.nodes[right]) {
            (Node::Term(left), Node::Term(right)) => {
                let (left, right) = (tile.of(left, out.len()), tile.of(right, out.len()));
                for ((out, left), right) in out.iter_mut().zip(left).zip(right) {
                    *out = left + right;
                }
            }
            (_, Node::Term(right)) => {
                self.add_node(left, tile, out, spare);
                add_assign(out, tile.of(right, out.len()));
            }
            _ => {
                self.add_node(left, tile, out, spare);
                let (own, spare) = spare.split_at_mut(TILE);
                let own = &mut own[..out.len()];
                self.add_node(right, tile, own, spare);
                add_assign(out, own);
            }
        }
    }
}

/// A tile's place in the terms.
#[derive(Clone, Copy)]
struct Tile<'a> {
    terms: &'a [&'a [f32]],
    at: usize,
}

impl<'a> Tile<'a> {
    fn of(&self, term: usize, len: usize) -> &'a [f32] {
        &self.terms[term][self.at..self.at + len]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sum(plan: &mut Plan, terms: &[f32]) -> f32 {
        let terms: Vec<_> = terms.iter().map(std::slice::from_ref).collect();
        let mut out = [f32::NAN];
        plan.add(&terms, &mut out);
        out[0]
    }

    #[test]
    fn terms_in_order_are_added_from_the_left() {
        assert_eq!(sum(&mut Plan::in_order(3), &[1e8, 1.0, -1e8]), 0.0);
        assert_eq!(sum(&mut Plan::in_order(3), &[1e8, -1e8, 1.0]), 1.0);
        assert_eq!(sum(&mut Plan::in_order(1), &[3.0]), 3.0);
    }

    #[test]
    fn terms_of_a_tree_are_added_by_subtree_whatever_order_they_come_in() {
        let terms = [1e8f32, -1e8, 1.0, 1.0, 5.0];
        let expected = ((terms[0] + terms[1]) + (terms[2] + terms[3])) + terms[4];
        let mut plan = Plan::tree(5, &[(0, 1), (1, 2), (2, 3), (3, 4), (4, 5)]).unwrap();
        assert_eq!(sum(&mut plan, &terms), expected);
        let mut plan = Plan::tree(5, &[(4, 5), (0, 4)]).unwrap();
        assert_eq!(sum(&mut plan, &[5.0, 2.0]), 7.0);
    }

    #[test]
    fn a_vector_longer_than_a_tile_is_added_whole() {
        let len = 2 * TILE + 3;
        let terms: Vec<Vec<f32>> = (0..4).map(|term| vec![term as f32; len]).collect();
        let terms: Vec<_> = terms.iter().map(Vec::as_slice).collect();
        let mut out = vec![0.0; len];
        Plan::tree(4, &[(0, 1), (1, 2), (2, 3), (3, 4)]).unwrap().add(&terms, &mut out);
        assert_eq!(out, vec![6.0; len]);
    }

    #[test]
    fn no_leaves_sum_to_zero() {
        assert_eq!(sum(&mut Plan::tree(0, &[]).unwrap(), &[]), 0.0);
    }

    #[test]
    fn ranges_that_miss_repeat_or_cross_leaves_are_refused() {
        for ranges in [
            &[(0, 4)][..],
            &[(0, 4), (0, 4), (4, 8)],
            &[(0, 4), (4, 8), (7, 8)],
            &[(0, 3), (3, 8)],
            &[(4, 8)],
        ] {
            assert!(matches!(Plan::tree(8, ranges), Err(Error::Roots { leaves: 8, .. })), "{ranges:?}");
        }
    }
}
