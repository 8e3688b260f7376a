//! The item bound, and the pigeonhole bound over several items.
//!
//! Whatever option a table takes, some rank bears its largest piece. Of `k * N + 1` tables, `k + 1` put that piece on the same
//! rank, whose load is then at least the sum of the `k + 1` smallest of them; `k = 0` is the item bound, `k = 1` the pair bound.

use super::super::problem::{Choice, Problem};
use super::ROUNDING;

/// The least cost that the heaviest rank of an option can bear for it, summed over phases.
pub(in super::super) fn largest_piece(problem: &Problem, choice: &Choice) -> f64 {
    let costs = choice.runs.iter().filter(|run| run.pieces > 0).map(|run| problem.least_cost(run));
    costs.fold(0.0, f64::max)
}

/// The best of the bounds; `useful` names each table's options.
pub(in super::super) fn bound(problem: &Problem, useful: &[Vec<usize>]) -> f64 {
    let mut least: Vec<f64> = useful
        .iter()
        .zip(problem.tables())
        .map(|(options, table)| {
            let pieces = options.iter().map(|option| largest_piece(problem, &table.options[*option]));
            pieces.fold(f64::INFINITY, f64::min)
        })
        .collect();
    least.sort_by(|a, b| b.total_cmp(a));
    let world_size = problem.world_size();
    let mut best = 0.0f64;
    let mut k = 0;
    while k * world_size < least.len() {
        let smallest = k * world_size;
        let sum: f64 = (0..=k).map(|i| least[smallest - i]).sum();
        best = best.max(sum);
        k += 1;
    }
    best * ROUNDING
}
