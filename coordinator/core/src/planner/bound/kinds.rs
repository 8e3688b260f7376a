//! Tables that are alike, as one kind; only for equal ranks, equal nodes and one phase.

use std::collections::BTreeMap;

use super::super::dominance::alike;
use super::super::problem::{Choice, Layout, Problem};
use super::item::largest_piece;

/// A part of a table that lies on a rank or a node as a whole.
#[derive(Debug, Clone, Copy)]
pub(in super::super) struct Part {
    /// Index into the kinds.
    pub(in super::super) kind: usize,
    /// The option that it is of.
    pub(in super::super) option: usize,
    /// Its load on a rank.
    pub(in super::super) cost: f64,
    /// Bytes on all its ranks.
    pub(in super::super) memory: f64,
    /// Its share of the table's price; the shares of an option's parts sum to 1.
    pub(in super::super) share: f64,
}

/// Tables with the same options.
#[derive(Debug, Clone)]
pub(in super::super) struct Kind {
    /// By index.
    pub(in super::super) tables: Vec<usize>,
    /// The cheapest option that every rank bears alike: index, cost and bytes on all ranks.
    pub(in super::super) everywhere: Option<(usize, f64, f64)>,
}

/// The kinds, and the parts that lie on single ranks and on whole nodes.
#[derive(Debug, Clone)]
pub(in super::super) struct Kinds {
    pub(in super::super) kinds: Vec<Kind>,
    pub(in super::super) on_rank: Vec<Part>,
    pub(in super::super) on_node: Vec<Part>,
    pub(in super::super) node_size: usize,
    pub(in super::super) nodes: usize,
    pub(in super::super) capacity: f64,
}

/// Sorts tables into kinds, for plans that cost no more than `cost`; `None` where ranks, nodes or phases differ.
pub(in super::super) fn kinds(
    problem: &Problem,
    useful: &[Vec<usize>],
    byte_price: f64,
    cost: f64,
) -> Option<Kinds> {
    let cluster = problem.cluster();
    let (device, node_size) = (cluster.devices[0], cluster.node_sizes[0]);
    let equal = cluster.devices.iter().all(|other| *other == device)
        && cluster.node_sizes.iter().all(|size| *size == node_size);
    if !equal || problem.phases() > 1 || problem.classes() > 1 {
        return None;
    }
    let mut found = Kinds {
        kinds: Vec::new(),
        on_rank: Vec::new(),
        on_node: Vec::new(),
        node_size,
        nodes: problem.nodes(),
        capacity: device.memory as f64 * cluster.devices.len() as f64,
    };
    let mut by_hash: BTreeMap<u64, Vec<usize>> = BTreeMap::new();
    for (table, options) in useful.iter().enumerate() {
        let same = by_hash.entry(digest(problem, table, options)).or_default();
        let old = same.iter().find(|kind| {
            let first = found.kinds[**kind].tables[0];
            let (ours, theirs) = (&problem.tables()[table], &problem.tables()[first]);
            options.len() == useful[first].len()
                && ours.demand == theirs.demand
                && options
                    .iter()
                    .zip(&useful[first])
                    .all(|(a, b)| alike(&ours.options[*a], &theirs.options[*b]))
        });
        if let Some(kind) = old {
            found.kinds[*kind].tables.push(table);
            continue;
        }
        let kind = found.kinds.len();
        same.push(kind);
        found.kinds.push(Kind { tables: vec![table], everywhere: None });
        for option in options {
            let choice = &problem.tables()[table].options[*option];
            // No plan that costs less has a piece that costs more.
            if largest_piece(problem, choice) <= cost {
                found.take(kind, *option, choice, byte_price);
            }
        }
    }
    Some(found)
}

impl Kinds {
    fn take(&mut self, kind: usize, option: usize, choice: &Choice, byte_price: f64) {
        let memory = choice.memory() as f64;
        match choice.layout {
            Layout::EveryRank => {
                let cost = choice.runs.iter().map(|run| run.cost[0]).fold(f64::INFINITY, f64::min);
                let old = &mut self.kinds[kind].everywhere;
                if old.is_none_or(|(_, c, m)| cost + byte_price * memory < c + byte_price * m) {
                    *old = Some((option, cost, memory));
                }
            }
            Layout::AnyRank | Layout::OneNode => {
                let sum: f64 = choice.pieces().map(|run| run.cost[0]).sum();
                let n = choice.n_pieces() as f64;
                for run in &choice.runs {
                    let share = if sum > 0.0 { run.cost[0] / sum } else { 1.0 / n };
                    let part = Part { kind, option, cost: run.cost[0], memory: run.memory as f64, share };
                    self.on_rank.extend(std::iter::repeat_n(part, run.pieces));
                }
            }
            Layout::WholeNodes => {
                let pieces: Vec<(f64, f64)> =
                    choice.pieces().map(|run| (run.cost[0], run.memory as f64)).collect();
                let groups = pieces.chunks(self.node_size);
                let share = 1.0 / groups.len() as f64;
                for group in groups {
                    let cost = group.iter().map(|piece| piece.0).fold(f64::INFINITY, f64::min);
                    let memory = group.iter().map(|piece| piece.1).sum();
                    self.on_node.push(Part { kind, option, cost, memory, share });
                }
            }
        }
    }
}

/// Bits of all costs and bytes, folded by multiplication; equal tables agree, others seldom do.
fn digest(problem: &Problem, table: usize, options: &[usize]) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325u64;
    let mut mix = |bits: u64| hash = (hash ^ bits).wrapping_mul(0x0000_0100_0000_01b3).rotate_left(23);
    for option in options {
        let choice = &problem.tables()[table].options[*option];
        mix(choice.layout as u64);
        for run in &choice.runs {
            mix(run.pieces as u64);
            mix(run.memory);
            run.cost.iter().for_each(|cost| mix(cost.to_bits()));
        }
    }
    hash
}
