//! A first plan: an option for each table by its work, then the largest pieces first, each on the least loaded ranks.
//!
//! Source: Graham's longest-processing-time rule, on nodes and then on ranks.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::super::Placement;
use super::super::bound::item::largest_piece;
use super::super::evaluate::State;
use super::super::problem::{Choice, Layout, Problem};
use super::spots::Spots;

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

/// All tables placed, or the first that found no room.
pub(in super::super) fn start<'a>(
    problem: &'a Problem,
    useful: &[Vec<usize>],
    taste: Taste,
) -> Result<State<'a>, usize> {
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
    let mut ranks: Option<BinaryHeap<Reverse<Key>>> = None;
    let mut nodes: Option<BinaryHeap<Reverse<Key>>> = None;
    for table in order {
        let option = choices[table];
        let free = problem.tables()[table].demand.ranks.is_empty();
        let placement = match choice(table).layout {
            Layout::EveryRank => Some(Placement { option, ranks: Vec::new() }),
            Layout::AnyRank if free => {
                let heap = ranks.get_or_insert_with(|| {
                    (0..problem.world_size()).map(|r| Reverse(Key(state.load(r), r as u32))).collect()
                });
                on_ranks(&state, choice(table), heap).map(|ranks| Placement { option, ranks })
            }
            Layout::WholeNodes if free && choice(table).n_pieces() == problem.cluster().node_sizes[0] => {
                let heap = nodes.get_or_insert_with(|| {
                    (0..problem.nodes()).map(|n| Reverse(Key(state.node_load(n), n as u32))).collect()
                });
                on_node(&state, table, option, heap)
            }
            _ => None,
        };
        let placement = match placement {
            Some(placement) if state.fits(table, &placement) => placement,
            _ => {
                let found = fallback(&state, table, option, &useful[table]).ok_or(table)?;
                // The heaps no longer know the loads of the ranks that it took.
                (ranks, nodes) = (None, None);
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
fn on_ranks(state: &State<'_>, choice: &Choice, heap: &mut BinaryHeap<Reverse<Key>>) -> Option<Vec<u32>> {
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
            let Some(Reverse(key)) = heap.pop() else { break None };
            let own: u64 = held.iter().filter(|(rank, _)| *rank == key.1).map(|(_, memory)| memory).sum();
            if state.room(key.1 as usize) >= memory.saturating_add(own) {
                break Some(key);
            }
            full.push(Reverse(key));
        };
        heap.extend(full);
        let key = found?;
        ranks[idx] = key.1;
        held.push((key.1, memory));
        let class = problem.cluster().devices[key.1 as usize].class;
        let cost: f64 = problem.cost(runs[idx], class).iter().sum();
        heap.push(Reverse(Key(key.0 + cost, key.1)));
    }
    Some(ranks)
}

fn on_node(
    state: &State<'_>,
    table: usize,
    option: usize,
    heap: &mut BinaryHeap<Reverse<Key>>,
) -> Option<Placement> {
    let problem = state.problem;
    let mut full = Vec::new();
    let mut found = None;
    while let Some(Reverse(key)) = heap.pop() {
        let ranks = problem.ranks_of(key.1 as usize).map(|rank| rank as u32).collect();
        let placement = Placement { option, ranks };
        if state.fits(table, &placement) {
            let cost = largest_piece(problem, &problem.tables()[table].options[option]);
            heap.push(Reverse(Key(key.0 + cost, key.1)));
            found = Some(placement);
            break;
        }
        full.push(Reverse(key));
    }
    heap.extend(full);
    found
}

/// A place in this option, or in the one with the best score of those that have a place.
fn fallback(state: &State<'_>, table: usize, option: usize, useful: &[usize]) -> Option<Placement> {
    let spots = Spots::new(state, usize::MAX);
    if let Some(placement) = spots.of(state, table, option).into_iter().next() {
        return Some(placement);
    }
    Spots::best(&mut state.clone(), table, useful)
}
