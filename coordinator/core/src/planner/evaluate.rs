//! The cost of a plan under change: tables come and go, and the cost follows in the logarithm of the ranks.
//!
//! Each phase keeps a tournament of the ranks' loads, so its peak is at hand. What lies on every rank alike is added
//! once, beside the tournament. Sums drift by rounding under many changes; plans are costed anew in the end.

use super::Placement;
use super::problem::{Choice, Layout, Problem};

/// The largest of a number of loads, kept under change.
#[derive(Debug, Clone)]
struct Tournament {
    leaves: usize,
    nodes: Vec<f64>,
}

impl Tournament {
    fn new(n: usize) -> Self {
        let leaves = n.next_power_of_two();
        Self { leaves, nodes: vec![0.0; 2 * leaves] }
    }

    fn get(&self, idx: usize) -> f64 {
        self.nodes[self.leaves + idx]
    }

    fn set(&mut self, idx: usize, value: f64) {
        let mut node = self.leaves + idx;
        self.nodes[node] = value;
        while node > 1 {
            node /= 2;
            let peak = self.nodes[2 * node].max(self.nodes[2 * node + 1]);
            if self.nodes[node] == peak {
                break;
            }
            self.nodes[node] = peak;
        }
    }

    fn peak(&self) -> f64 {
        self.nodes[1]
    }

    /// The first of the largest.
    fn argmax(&self) -> usize {
        let mut node = 1;
        while node < self.leaves {
            node *= 2;
            if self.nodes[node] < self.nodes[node + 1] {
                node += 1;
            }
        }
        node - self.leaves
    }
}

/// What a state is judged by; less is better.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Score {
    /// Sum over phases of the peaks.
    pub(super) cost: f64,
    /// Sum of the squared loads of ranks: falls where work evens out without a change of the peak.
    pub(super) squares: f64,
}

impl Score {
    /// Better by more than rounding.
    pub(super) fn beats(self, other: Self) -> bool {
        let slack = 1e-12 * other.cost;
        self.cost < other.cost - slack
            || (self.cost <= other.cost + slack && self.squares < other.squares * (1.0 - 1e-9))
    }
}

/// Tables on ranks, some maybe not yet placed.
#[derive(Debug, Clone)]
pub(super) struct State<'a> {
    pub(super) problem: &'a Problem,
    pub(super) placements: Vec<Option<Placement>>,
    loads: Vec<Tournament>,
    /// Loads and memory that every rank has alike.
    even: Vec<f64>,
    even_memory: u64,
    memory: Vec<u64>,
    /// Load of each rank over all phases, its sum and its sum of squares over ranks.
    total: Vec<f64>,
    sum: f64,
    squares: f64,
}

impl<'a> State<'a> {
    /// No table placed.
    pub(super) fn new(problem: &'a Problem) -> Self {
        let world_size = problem.world_size();
        Self {
            problem,
            placements: vec![None; problem.tables().len()],
            loads: vec![Tournament::new(world_size); problem.phases()],
            even: vec![0.0; problem.phases()],
            even_memory: 0,
            memory: vec![0; world_size],
            total: vec![0.0; world_size],
            sum: 0.0,
            squares: 0.0,
        }
    }

    /// The cost and how even it is.
    pub(super) fn score(&self) -> Score {
        let cost = self.loads.iter().zip(&self.even).map(|(load, even)| load.peak() + even).sum();
        let even: f64 = self.even.iter().sum();
        let squares = self.squares + even * (2.0 * self.sum + even * self.total.len() as f64);
        Score { cost, squares }
    }

    /// Work of a rank that others do not have alike.
    pub(super) fn load(&self, rank: usize) -> f64 {
        self.total[rank]
    }

    /// The load of a node's most loaded rank.
    pub(super) fn node_load(&self, node: usize) -> f64 {
        self.problem.ranks_of(node).map(|rank| self.load(rank)).fold(0.0, f64::max)
    }

    /// Bytes that still fit on a rank.
    pub(super) fn room(&self, rank: usize) -> u64 {
        let memory = self.problem.cluster().devices[rank].memory;
        memory.saturating_sub(self.memory[rank]).saturating_sub(self.even_memory)
    }

    /// The rank at the peak of each phase.
    pub(super) fn bottlenecks(&self) -> Vec<usize> {
        let mut ranks: Vec<usize> = self.loads.iter().map(Tournament::argmax).collect();
        ranks.sort_unstable();
        ranks.dedup();
        ranks
    }

    /// Whether the pieces fit beside what lies there.
    pub(super) fn fits(&self, table: usize, placement: &Placement) -> bool {
        let choice = &self.problem.tables()[table].options[placement.option];
        if choice.layout == Layout::EveryRank {
            return choice.pieces().enumerate().all(|(rank, run)| run.memory <= self.room(rank));
        }
        let mut own: Vec<(u32, u64)> =
            placement.ranks.iter().copied().zip(choice.pieces().map(|run| run.memory)).collect();
        own.sort_unstable();
        own.chunk_by(|a, b| a.0 == b.0).all(|pieces| {
            let held: u128 = pieces.iter().map(|(_, memory)| u128::from(*memory)).sum();
            held <= u128::from(self.room(pieces[0].0 as usize))
        })
    }

    /// Places a table that is not placed.
    pub(super) fn place(&mut self, table: usize, placement: Placement) {
        self.add(table, &placement, 1.0);
        self.placements[table] = Some(placement);
    }

    /// Takes a table away.
    pub(super) fn remove(&mut self, table: usize) -> Option<Placement> {
        let placement = self.placements[table].take()?;
        self.add(table, &placement, -1.0);
        Some(placement)
    }

    fn add(&mut self, table: usize, placement: &Placement, sign: f64) {
        let problem = self.problem;
        let choice = &problem.tables()[table].options[placement.option];
        if self.is_even(choice) {
            let run = &choice.runs[0];
            self.even.iter_mut().zip(&run.cost).for_each(|(even, cost)| *even += sign * cost);
            self.even_memory = shifted(self.even_memory, run.memory, sign);
            return;
        }
        for (idx, run) in choice.pieces().enumerate() {
            let rank = if choice.layout == Layout::EveryRank { idx } else { placement.ranks[idx] as usize };
            let class = problem.cluster().devices[rank].class;
            let before = self.total[rank];
            for (phase, cost) in problem.cost(run, class).iter().enumerate() {
                // Rounding may leave a load a hair below zero.
                let load = (self.loads[phase].get(rank) + sign * cost).max(0.0);
                self.total[rank] += sign * cost;
                self.loads[phase].set(rank, load);
            }
            let after = self.total[rank];
            self.sum += after - before;
            self.squares += after * after - before * before;
            self.memory[rank] = shifted(self.memory[rank], run.memory, sign);
        }
    }

    fn is_even(&self, choice: &Choice) -> bool {
        choice.layout == Layout::EveryRank && choice.runs.len() == 1 && self.problem.classes() == 1
    }

    /// The placements, where every table has one.
    pub(super) fn complete(&self) -> Option<Vec<Placement>> {
        self.placements.iter().cloned().collect()
    }
}

fn shifted(memory: u64, by: u64, sign: f64) -> u64 {
    if sign > 0.0 { memory.saturating_add(by) } else { memory.saturating_sub(by) }
}
