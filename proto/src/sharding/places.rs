//! Ranks and nodes as pieces come to lie on them, one table after the other.

use std::collections::BTreeMap;

use super::nodes::Nodes;
use super::plan::TablePlan;
use super::{Placement, TableDecl};

/// Old ranks that go on, with their new ones.
pub(super) type Kept = BTreeMap<u32, u32>;

/// What lies where so far.
pub(super) struct Places<'a> {
    nodes: &'a Nodes,
    /// Bytes on each rank of tables that are on one rank or node.
    load: Vec<u64>,
    /// The first rank of each column block of tables whose blocks are forced to stay together, or apart.
    blocks: BTreeMap<&'a str, Vec<u32>>,
}

impl<'a> Places<'a> {
    pub(super) fn new(nodes: &'a Nodes) -> Self {
        Self { nodes, load: vec![0; nodes.world_size() as usize], blocks: BTreeMap::new() }
    }

    /// Places a table anew.
    pub(super) fn place(&mut self, table: &'a TableDecl, wish: Placement) -> TablePlan {
        let placement = wish.of_block();
        let ranks = match placement {
            Placement::TableWise => vec![self.rank(table, None)],
            Placement::TableRowWise => {
                let node = self.node(table, None);
                self.nodes.ranks(node).to_vec()
            }
            _ => self.all(),
        };
        TablePlan::even(placement, table.row_blocks, &ranks)
    }

    /// Whether some of a table is still where it was.
    pub(super) fn stays(old: &TablePlan, kept: &Kept) -> bool {
        old.owners.iter().any(|owner| kept.contains_key(owner))
    }

    /// Places a table with as much as can be where it was.
    pub(super) fn repair(&mut self, table: &'a TableDecl, old: &TablePlan, kept: &Kept) -> TablePlan {
        let owners = match old.placement.of_block() {
            Placement::TableWise => {
                let stays = old.owners.first().and_then(|owner| kept.get(owner)).copied();
                vec![self.rank(table, stays); old.owners.len()]
            }
            Placement::TableRowWise => {
                let node = self.node(table, self.most_kept(old, kept));
                rebalance(&old.owners, kept, self.nodes.ranks(node))
            }
            _ => rebalance(&old.owners, kept, &self.all()),
        };
        TablePlan { placement: old.placement.of_block(), owners }
    }

    fn all(&self) -> Vec<u32> {
        (0..self.nodes.world_size()).collect()
    }

    /// The rank of a table that is on one: where its other column blocks are if they stay together, where it `stays`, or
    /// the rank with the fewest of them, if they are to be apart, and the least.
    fn rank(&mut self, table: &'a TableDecl, stays: Option<u32>) -> u32 {
        let rank = self.sibling(table).or(stays).unwrap_or_else(|| {
            let apart = |rank: u32| self.beside(table, |other| other == rank);
            let ranks = (0..).zip(&self.load);
            ranks.min_by_key(|&(rank, bytes)| (apart(rank), *bytes, rank)).map_or(0, |(rank, _)| rank)
        });
        self.load[rank as usize] += table.bytes();
        self.note(table, rank);
        rank
    }

    /// The node of a table that is on one, likewise.
    fn node(&mut self, table: &'a TableDecl, stays: Option<usize>) -> usize {
        let nodes = self.nodes;
        let mean = |node: usize| {
            let ranks = nodes.ranks(node);
            ranks.iter().map(|rank| self.load[*rank as usize]).sum::<u64>() / ranks.len() as u64
        };
        let apart = |node: usize| self.beside(table, |other| nodes.of(other) == node);
        let least = || (0..nodes.len()).min_by_key(|node| (apart(*node), mean(*node), *node)).unwrap_or(0);
        let node = self.sibling(table).map(|rank| nodes.of(rank)).or(stays).unwrap_or_else(least);
        let ranks = nodes.ranks(node);
        ranks.iter().for_each(|rank| self.load[*rank as usize] += table.bytes() / ranks.len() as u64);
        self.note(table, ranks[0]);
        node
    }

    /// Where the other column blocks are of a table whose blocks stay together.
    fn sibling(&self, table: &TableDecl) -> Option<u32> {
        let together = table.placement.is_some_and(|forced| forced == forced.of_block());
        self.blocks.get(table.table()).filter(|_| together).and_then(|ranks| ranks.first()).copied()
    }

    /// How many other column blocks are there of a table whose blocks are to be apart.
    fn beside(&self, table: &TableDecl, there: impl Fn(u32) -> bool) -> usize {
        self.blocks.get(table.table()).map_or(0, |ranks| ranks.iter().filter(|rank| there(**rank)).count())
    }

    fn note(&mut self, table: &'a TableDecl, rank: u32) {
        if table.placement.is_some() {
            self.blocks.entry(table.table()).or_default().push(rank);
        }
    }

    /// The node that has the most of a table's row blocks still; none where it has lost all.
    fn most_kept(&self, old: &TablePlan, kept: &Kept) -> Option<usize> {
        let mut held = vec![0_usize; self.nodes.len()];
        for rank in old.owners.iter().filter_map(|owner| kept.get(owner)) {
            held[self.nodes.of(*rank)] += 1;
        }
        let nodes = held.iter().enumerate().filter(|(_, held)| **held > 0);
        nodes.max_by_key(|&(node, held)| (*held, std::cmp::Reverse(node))).map(|(node, _)| node)
    }
}

/// Owners of the blocks among other ranks, ascending: as even as can be, with the fewest blocks moved.
fn rebalance(owners: &[u32], kept: &Kept, ranks: &[u32]) -> Vec<u32> {
    let (blocks, world) = (owners.len(), ranks.len());
    let mut held = vec![Vec::new(); world];
    let mut orphans = Vec::new();
    for (block, owner) in owners.iter().enumerate() {
        match kept.get(owner).and_then(|rank| ranks.binary_search(rank).ok()) {
            Some(place) => held[place].push(block),
            None => orphans.push(block),
        }
    }
    // The ranks that hold the most may have one more than the others, so that the fewest blocks move.
    let mut by_load: Vec<usize> = (0..world).collect();
    by_load.sort_by_key(|&place| (std::cmp::Reverse(held[place].len()), place));
    let mut share = vec![blocks / world; world];
    by_load.iter().take(blocks % world).for_each(|&place| share[place] += 1);
    for (place, held) in held.iter_mut().enumerate() {
        orphans.extend(held.split_off(share[place].min(held.len())));
    }
    orphans.sort_unstable();
    let mut orphans = orphans.into_iter();
    let mut repaired = vec![0; blocks];
    for (place, mut held) in held.into_iter().enumerate() {
        let missing = share[place] - held.len();
        held.extend(orphans.by_ref().take(missing));
        held.into_iter().for_each(|block| repaired[block] = ranks[place]);
    }
    repaired
}
