//! A first plan: an option for each table by its work, then the largest pieces first, each on the least loaded ranks.
//!
//! Source: Graham's longest-processing-time rule, on nodes and then on ranks.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::super::Placement;
use super::super::bound::item::largest_piece;
use super::super::evaluate::State;
use super::super::infeasible::lacking;
use super::super::problem::{Choice, Layout, Problem};
use super::spots::{Spots, spread};

/// How a start chooses options and orders tables.
#[derive(Debug, Clone, Copy)]
pub(in super::super) struct Taste {
    /// No piece above this cost, where a table has a choice.
    pub(in super::super) largest: f64,
    /// What a byte counts in units of cost.
    pub(in super::super) byte_price: f64,
    /// The most bytes first, instead of the most cost.
    pub(in super::super) by_memory: bool,
}

/// Loads in order, rank or node breaking ties.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Key(f64, u32);

impl Eq for Key {}

impl PartialOrd for Key {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Key {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.total_cmp(&other.0).then(self.1.cmp(&other.1))
    }
}

/// Ranks or nodes by their load, the least first. Loads only rise, so one that rose unseen is put right when it comes up.
#[derive(Debug, Default)]
struct Loads(Option<BinaryHeap<Reverse<Key>>>);

impl Loads {
    /// Takes all of them in, if it has none.
    fn fill(&mut self, n: usize, load: impl Fn(usize) -> f64) {
        self.0.get_or_insert_with(|| (0..n).map(|idx| Reverse(Key(load(idx), idx as u32))).collect());
    }

    /// Takes the least loaded out.
    fn pop(&mut self, load: impl Fn(usize) -> f64) -> Option<Key> {
        let heap = self.0.as_mut()?;
        loop {
            let Reverse(key) = heap.pop()?;
            let now = load(key.1 as usize);
            if key.0 >= now {
                return Some(key);
            }
            heap.push(Reverse(Key(now, key.1)));
        }
    }

    fn put(&mut self, keys: impl IntoIterator<Item = Key>) {
        if let Some(heap) = &mut self.0 {
            heap.extend(keys.into_iter().map(Reverse));
        }
    }
}

/// A table that found no room, and the bytes that it lacked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) struct Lacking {
    pub(in super::super) table: usize,
    pub(in super::super) missing: u64,
}

/// All tables placed, or the first that found no room.
pub(in super::super) fn start<'a>(
    problem: &'a Problem,
    useful: &[Vec<usize>],
    taste: Taste,
) -> Result<State<'a>, Lacking> {
    let choices: Vec<usize> =
        useful.iter().enumerate().map(|(t, options)| chosen(problem, t, options, taste)).collect();
    let choice = |table: usize| &problem.tables()[table].options[choices[table]];
    let rank_of = |table: usize| {
        let free = problem.tables()[table].demand.ranks.is_empty();
        (free, choice(table).layout != Layout::EveryRank, choice(table).layout != Layout::WholeNodes)
    };
    let size = |table: usize| {
        let choice = choice(table);
        if taste.by_memory { choice.memory() as f64 } else { largest_piece(problem, choice) }
    };
    let sizes: Vec<f64> = (0..choices.len()).map(size).collect();
    let mut order: Vec<usize> = (0..choices.len()).collect();
    order.sort_by(|a, b| rank_of(*a).cmp(&rank_of(*b)).then(sizes[*b].total_cmp(&sizes[*a])).then(a.cmp(b)));
    let mut state = State::new(problem);
    let mut ranks = Loads::default();
    let mut nodes = Loads::default();
    for table in order {
        let option = choices[table];
        let free = problem.tables()[table].demand.ranks.is_empty();
        let placement = match choice(table).layout {
            Layout::EveryRank => Some(Placement { option, ranks: Vec::new() }),
            Layout::AnyRank if free => {
                ranks.fill(problem.world_size(), |rank| state.load(rank));
                on_ranks(&state, choice(table), &mut ranks).map(|ranks| Placement { option, ranks })
            }
            Layout::OneNode if free => {
                nodes.fill(problem.nodes(), |node| state.node_load(node));
                on_ranks_of_a_node(&state, choice(table), &mut nodes).map(|ranks| Placement { option, ranks })
            }
            Layout::WholeNodes if free && choice(table).n_pieces() == problem.cluster().node_sizes[0] => {
                nodes.fill(problem.nodes(), |node| state.node_load(node));
                on_node(&state, table, option, &mut nodes)
            }
            _ => None,
        };
        let placement = match placement {
            Some(placement) if state.fits(table, &placement) => placement,
            _ => {
                let Some(found) = fallback(&mut state, table, option, &useful[table]) else {
                    return Err(Lacking { table, missing: lacking(&state, table) });
                };
                // The heaps may hold loads of places that were not taken.
                (ranks, nodes) = Default::default();
                found
            }
        };
        state.place(table, placement);
    }
    Ok(state)
}

fn chosen(problem: &Problem, table: usize, options: &[usize], taste: Taste) -> usize {
    let choice = |option: usize| &problem.tables()[table].options[option];
    let work = |option: usize| {
        let choice = choice(option);
        let cost: f64 = choice.runs.iter().map(|run| run.pieces as f64 * problem.least_cost(run)).sum();
        cost + taste.byte_price * choice.memory() as f64
    };
    let small = |option: &&usize| largest_piece(problem, choice(**option)) <= taste.largest;
    let by_work = |a: &&usize, b: &&usize| work(**a).total_cmp(&work(**b)).then(a.cmp(b));
    let by_piece = |a: &&usize, b: &&usize| {
        let (a_piece, b_piece) = (largest_piece(problem, choice(**a)), largest_piece(problem, choice(**b)));
        a_piece.total_cmp(&b_piece).then(a.cmp(b))
    };
    let best = options.iter().filter(small).min_by(by_work).or_else(|| options.iter().min_by(by_piece));
    *best.unwrap_or(&0)
}

/// The ranks of pieces, largest first, each on the least loaded rank with room; the heap follows.
fn on_ranks(state: &State<'_>, choice: &Choice, loads: &mut Loads) -> Option<Vec<u32>> {
    let problem = state.problem;
    let mut pieces: Vec<(usize, f64, u64)> =
        choice.pieces().enumerate().map(|(idx, run)| (idx, problem.least_cost(run), run.memory)).collect();
    pieces.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
    let runs: Vec<_> = choice.pieces().collect();
    let mut ranks = vec![0; pieces.len()];
    let mut held: Vec<(u32, u64)> = Vec::new();
    for (idx, _, memory) in pieces {
        let mut full = Vec::new();
        let found = loop {
            let Some(key) = loads.pop(|rank| state.load(rank)) else { break None };
            let own: u64 = held.iter().filter(|(rank, _)| *rank == key.1).map(|(_, memory)| memory).sum();
            if state.room(key.1 as usize) >= memory.saturating_add(own) {
                break Some(key);
            }
            full.push(key);
        };
        loads.put(full);
        let key = found?;
        ranks[idx] = key.1;
        held.push((key.1, memory));
        let class = problem.cluster().devices[key.1 as usize].class;
        let cost: f64 = problem.cost(runs[idx], class).iter().sum();
        loads.put([Key(key.0 + cost, key.1)]);
    }
    Some(ranks)
}

/// The ranks of pieces on the least loaded node that has room for all of them, each on the least loaded of its ranks.
fn on_ranks_of_a_node(state: &State<'_>, choice: &Choice, loads: &mut Loads) -> Option<Vec<u32>> {
    let problem = state.problem;
    let mut full = Vec::new();
    let mut found = None;
    while let Some(key) = loads.pop(|node| state.node_load(node)) {
        let mut ranks: Vec<u32> = problem.ranks_of(key.1 as usize).map(|rank| rank as u32).collect();
        ranks.sort_by(|a, b| state.load(*a as usize).total_cmp(&state.load(*b as usize)).then(a.cmp(b)));
        if let Some(ranks) = spread(state, choice, ranks.into_iter()) {
            // The node's load is looked up when it comes up again.
            loads.put([key]);
            found = Some(ranks);
            break;
        }
        full.push(key);
    }
    loads.put(full);
    found
}

fn on_node(state: &State<'_>, table: usize, option: usize, loads: &mut Loads) -> Option<Placement> {
    let problem = state.problem;
    let mut full = Vec::new();
    let mut found = None;
    while let Some(key) = loads.pop(|node| state.node_load(node)) {
        let ranks = problem.ranks_of(key.1 as usize).map(|rank| rank as u32).collect();
        let placement = Placement { option, ranks };
        if state.fits(table, &placement) {
            let cost = largest_piece(problem, &problem.tables()[table].options[option]);
            loads.put([Key(key.0 + cost, key.1)]);
            found = Some(placement);
            break;
        }
        full.push(key);
    }
    loads.put(full);
    found
}

/// A place in this option, or in the one with the best score of those that have a place.
fn fallback(state: &mut State<'_>, table: usize, option: usize, useful: &[usize]) -> Option<Placement> {
    let spots = Spots::new(state, usize::MAX);
    if let Some(placement) = spots.of(state, table, option).into_iter().next() {
        return Some(placement);
    }
    Spots::best(state, table, useful)
}
