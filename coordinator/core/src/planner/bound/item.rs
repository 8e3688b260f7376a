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

/// Windows up to so many pieces are summed as they are.
const EXACT: usize = 256;

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
    // Sums of the first so many, so that each window is a difference.
    let mut sums = vec![0.0];
    sums.extend(least.iter().scan(0.0, |sum, cost| {
        *sum += cost;
        Some(*sum)
    }));
    let best = (0..least.len().div_ceil(world_size)).fold(0.0, |best: f64, k| {
        let smallest = k * world_size;
        best.max(if k < EXACT {
            least[smallest - k..=smallest].iter().rev().sum()
        } else {
            // A difference has the rounding of both sums.
            sums[smallest + 1] - sums[smallest - k] - sums[smallest + 1] * 1e-11
        })
    });
    best * ROUNDING
}
