//! Which ranks share a host.

use std::collections::BTreeMap;

/// The node of each rank: ranks of one host are a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Nodes {
    /// The node of each rank, numbered as they come.
    of: Vec<u32>,
    /// The ranks of each node, ascending.
    ranks: Vec<Vec<u32>>,
}

impl Nodes {
    /// From the hosts of all ranks, in rank order; a rank whose host is not known is a node of its own.
    pub fn by_host<'h>(hosts: impl IntoIterator<Item = &'h str>) -> Self {
        let mut known: BTreeMap<&str, usize> = BTreeMap::new();
        let mut nodes = Self { of: Vec::new(), ranks: Vec::new() };
        for (rank, host) in (0..).zip(hosts) {
            let new = nodes.ranks.len();
            let node = if host.is_empty() { new } else { *known.entry(host).or_insert(new) };
            if node == new {
                nodes.ranks.push(Vec::new());
            }
            nodes.of.push(node as u32);
            nodes.ranks[node].push(rank);
        }
        nodes
    }

    /// As many nodes as ranks.
    #[must_use]
    pub fn alone(world_size: u32) -> Self {
        Self::by_host((0..world_size).map(|_| ""))
    }

    /// Number of ranks.
    #[must_use]
    pub fn world_size(&self) -> u32 {
        self.of.len() as u32
    }

    /// Number of nodes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ranks.len()
    }

    /// Whether there is no rank.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.of.is_empty()
    }

    /// The node of a rank.
    #[must_use]
    pub fn of(&self, rank: u32) -> usize {
        self.of[rank as usize] as usize
    }

    /// The ranks of a node, ascending.
    #[must_use]
    pub fn ranks(&self, node: usize) -> &[u32] {
        &self.ranks[node]
    }
}
