//! Which pieces of which tables lie on which ranks, so that a step costs least; and how far from the least that is.
//!
//! [`plan`] turns a [`Problem`] into a [`Plan`], [`verify()`] checks one without the search's code, [`replan`] starts from
//! what lies where and moves little. `README.md` beside this file says what is promised. Effort is counted in work, not in
//! time, so one problem has one plan, on any machine and any number of threads.
//!
//! Absent on purpose: cost models, hardware, clocks.

mod bound;
mod dominance;
mod error;
mod evaluate;
mod infeasible;
pub mod options_file;
mod problem;
mod replan;
mod search;
mod solve;
mod verify;

pub use self::error::Error;
pub use self::problem::{Choice, Cluster, Demand, Device, Layout, MAX_PHASES, Problem, Run, Table};
pub use self::replan::{Moves, replan};
pub use self::solve::{Effort, plan};
pub use self::verify::{Fault, check_placements, loads, verify};

/// Where one table lies.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Placement {
    /// Index into the table's options.
    pub option: usize,
    /// The rank of each piece; empty for [`Layout::EveryRank`], whose piece `i` is on rank `i`.
    pub ranks: Vec<u32>,
}

impl Placement {
    /// The ranks of the pieces of that table, in order.
    pub fn on(&self, problem: &Problem, table: usize) -> Vec<u32> {
        if problem.tables()[table].options[self.option].layout == Layout::EveryRank {
            return (0..problem.world_size() as u32).collect();
        }
        self.ranks.clone()
    }
}

/// What shows that no plan costs less than the bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Proof {
    /// All work, shared evenly, with Lagrange multipliers for memory.
    Area,
    /// The piece that some rank has to hold, or several of them by the pigeonhole principle.
    Item,
    /// What fits on a node within a load, priced by Lagrange multipliers for the tables.
    Pattern,
    /// Every plan was tried, or ruled out by a bound.
    Exhausted,
}

impl Proof {
    /// In words.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Area => "all work shared evenly",
            Self::Item => "pieces that cannot be split further",
            Self::Pattern => "what fits on a rank together",
            Self::Exhausted => "every plan tried or ruled out",
        }
    }
}

/// A placement of every table, with what it costs and what any plan costs at least.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// One per table, in the problem's order.
    pub placements: Vec<Placement>,
    /// Sum over phases of the largest load of a rank.
    pub cost: f64,
    /// No plan costs less.
    pub bound: f64,
    /// What shows the bound.
    pub proof: Proof,
}

impl Plan {
    /// How much more than the bound the plan costs, as a share of the bound.
    pub fn gap(&self) -> f64 {
        if self.cost <= self.bound { 0.0 } else { self.cost / self.bound - 1.0 }
    }

    /// The ranks of a table's pieces, in order.
    pub fn ranks(&self, problem: &Problem, table: usize) -> Vec<u32> {
        self.placements[table].on(problem, table)
    }
}
