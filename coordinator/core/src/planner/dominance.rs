//! Which options cannot help: too large for every rank, or no better in any way than another one.
//!
//! Option A dominates B where A could stand in for B in any plan, at no more cost and memory on any rank:
//! same layout, piece by piece; or A has one piece, no worse than the least piece of B, where B covers a rank that A may
//! lie on; or A fills one node and B every rank.

use super::problem::{Choice, Layout, Problem, Run};

/// The options of each table that are worth a look, in order.
pub(super) fn useful(problem: &Problem) -> Vec<Vec<usize>> {
    let largest = problem.cluster().devices.iter().map(|device| device.memory).max().unwrap_or(0);
    (0..problem.tables().len()).map(|table| of_table(problem, table, largest)).collect()
}

fn of_table(problem: &Problem, table: usize, largest: u64) -> Vec<usize> {
    let options = &problem.tables()[table].options;
    let fits = |o: &&usize| options[**o].runs.iter().all(|run| run.pieces == 0 || run.memory <= largest);
    let fitting: Vec<usize> = problem.allowed(table).iter().filter(fits).copied().collect();
    let mut kept: Vec<usize> = Vec::with_capacity(fitting.len());
    for option in fitting {
        let new = &options[option];
        if kept.iter().any(|old| dominates(problem, table, &options[*old], new)) {
            continue;
        }
        kept.retain(|old| !dominates(problem, table, new, &options[*old]));
        kept.push(option);
    }
    kept.sort_unstable();
    kept
}

fn dominates(problem: &Problem, table: usize, a: &Choice, b: &Choice) -> bool {
    let free = problem.tables()[table].demand.ranks.is_empty();
    let single = |choice: &Choice| {
        choice.n_pieces() == 1 && matches!(choice.layout, Layout::AnyRank | Layout::OneNode)
    };
    let one_node = |choice: &Choice| {
        choice.layout == Layout::WholeNodes && choice.n_pieces() == problem.cluster().node_sizes[0]
    };
    let pairwise = a.layout == b.layout || (single(a) && single(b));
    if pairwise && a.n_pieces() == b.n_pieces() {
        return if a.runs.len() == 1 && b.runs.len() == 1 {
            no_worse(&a.runs[0], &b.runs[0])
        } else {
            a.pieces().zip(b.pieces()).all(|(a, b)| no_worse(a, b))
        };
    }
    let covers = free && (single(a) || (one_node(a) && b.layout == Layout::EveryRank));
    covers && a.runs.iter().all(|a| b.runs.iter().all(|b| no_worse(a, b)))
}

fn no_worse(a: &Run, b: &Run) -> bool {
    a.memory <= b.memory && a.cost.iter().zip(&b.cost).all(|(a, b)| a <= b)
}

/// Whether two choices may be counted as one in a bound: alike in layout, cost and memory.
pub(super) fn alike(a: &Choice, b: &Choice) -> bool {
    a.layout == b.layout && a.runs == b.runs
}
