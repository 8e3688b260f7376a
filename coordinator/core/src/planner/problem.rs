//! What is asked: ranks in nodes, and for each table the ways to lay it out.
//!
//! Costs are seconds, milliseconds or any other unit, as long as it is one; memory is bytes. Nothing here knows a cost
//! model or a file format. A [`Problem`] is checked once, by [`Problem::new`], and the rest of the room relies on that.

use std::borrow::Cow;
use std::collections::BTreeSet;

use super::error::Error;

/// Sums of costs and of their squares stay finite.
const MOST_COST: f64 = 1e100;

/// The most phases that a step may have.
pub const MAX_PHASES: usize = 8;

/// One place for pieces of tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Device {
    /// Memory for tables, in bytes.
    pub memory: u64,
    /// Its column in the costs of a piece; devices of one speed share it.
    pub class: usize,
}

/// Ranks, node by node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cluster {
    /// One per rank.
    pub devices: Vec<Device>,
    /// How many consecutive ranks each node has.
    pub node_sizes: Vec<usize>,
}

impl Cluster {
    /// `world_size` equal ranks with `memory` bytes each, `local_world_size` a node.
    ///
    /// # Errors
    /// Where there are no ranks, or the nodes would not be equal.
    pub fn uniform(world_size: usize, local_world_size: usize, memory: u64) -> Result<Self, Error> {
        if world_size == 0 || local_world_size == 0 {
            return Err(Error::NoDevices);
        }
        if !world_size.is_multiple_of(local_world_size) {
            return Err(Error::UnequalNodes { world_size, local_world_size });
        }
        Ok(Self {
            devices: vec![Device { memory, class: 0 }; world_size],
            node_sizes: vec![local_world_size; world_size / local_world_size],
        })
    }
}

/// Where the pieces of an option may lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Layout {
    /// Piece `i` on rank `i`, for all ranks: data-parallel, row-wise.
    EveryRank,
    /// Each piece on any rank, several on one too: table-wise, column-wise.
    AnyRank,
    /// Each piece on any rank of one and the same node: table-column-wise.
    OneNode,
    /// Each run of as many pieces as a node has ranks on a node of its own, piece by rank: table-row-wise, grid.
    WholeNodes,
}

/// A number of equal pieces.
#[derive(Debug, Clone, PartialEq)]
pub struct Run {
    /// How many.
    pub pieces: usize,
    /// Cost of one piece, at `[class * phases + phase]`.
    pub cost: Box<[f64]>,
    /// Memory of one piece, in bytes.
    pub memory: u64,
}

/// One way to lay a table out.
#[derive(Debug, Clone, PartialEq)]
pub struct Choice {
    /// What people call it: `row_wise`, `table_wise/fused`.
    pub name: Cow<'static, str>,
    /// Where its pieces may lie.
    pub layout: Layout,
    /// Its pieces, in order.
    pub runs: Vec<Run>,
}

impl Choice {
    /// How many pieces it has.
    pub fn n_pieces(&self) -> usize {
        self.runs.iter().map(|run| run.pieces).sum()
    }

    /// Its pieces in order, equal ones again and again.
    pub fn pieces(&self) -> impl Iterator<Item = &Run> {
        self.runs.iter().flat_map(|run| std::iter::repeat_n(run, run.pieces))
    }

    /// Memory of all pieces, in bytes.
    pub fn memory(&self) -> u128 {
        self.runs.iter().map(|run| run.pieces as u128 * u128::from(run.memory)).sum()
    }
}

/// A table and how it may be laid out.
#[derive(Debug, Clone, PartialEq)]
pub struct Table {
    /// Unique; also what breaks ties.
    pub name: String,
    /// At least one.
    pub options: Vec<Choice>,
    /// What the user demands of it.
    pub demand: Demand,
}

/// What a user demands of a table; the default demands nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Demand {
    /// Only options with one of these names, where there are any.
    pub only: Vec<String>,
    /// No option with one of these names.
    pub forbid: Vec<String>,
    /// All pieces on these ranks, where there are any.
    pub ranks: Vec<usize>,
}

/// What is minimized.
///
/// Both are the sum over phases of the largest load of a rank; the fixtures' objective has one phase.
#[derive(Debug, Clone, PartialEq)]
pub struct Problem {
    cluster: Cluster,
    tables: Vec<Table>,
    phases: usize,
    classes: usize,
    /// `node_of[rank]`, and the first rank of each node with one past the last.
    node_of: Vec<usize>,
    starts: Vec<usize>,
    /// `allowed[table]`: indices of options that hold what the user demands, in order.
    allowed: Vec<Vec<usize>>,
}

impl Problem {
    /// Checks a problem and sorts its tables by name.
    ///
    /// # Errors
    /// The first table, field or rank that cannot be, and what to change.
    pub fn new(cluster: Cluster, phases: usize, mut tables: Vec<Table>) -> Result<Self, Error> {
        check_cluster(&cluster, phases)?;
        let classes = 1 + cluster.devices.iter().map(|device| device.class).max().unwrap_or(0);
        tables.sort_by(|a, b| a.name.cmp(&b.name));
        if let Some(pair) = tables.windows(2).find(|pair| pair[0].name == pair[1].name) {
            return Err(Error::DuplicateTable { table: pair[0].name.clone() });
        }
        let mut starts = vec![0];
        let mut node_of = Vec::with_capacity(cluster.devices.len());
        for (node, size) in cluster.node_sizes.iter().enumerate() {
            node_of.extend(std::iter::repeat_n(node, *size));
            starts.push(node_of.len());
        }
        let mut problem = Self { cluster, tables, phases, classes, node_of, starts, allowed: Vec::new() };
        let allowed: Result<Vec<_>, Error> =
            problem.tables.iter().map(|table| problem.checked(table)).collect();
        problem.allowed = allowed?;
        Ok(problem)
    }

    /// The ranks.
    pub fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// The tables, by name.
    pub fn tables(&self) -> &[Table] {
        &self.tables
    }

    /// How many phases a step has.
    pub fn phases(&self) -> usize {
        self.phases
    }

    /// How many classes of devices there are.
    pub fn classes(&self) -> usize {
        self.classes
    }

    /// How many ranks there are.
    pub fn world_size(&self) -> usize {
        self.cluster.devices.len()
    }

    /// How many nodes there are.
    pub fn nodes(&self) -> usize {
        self.cluster.node_sizes.len()
    }

    /// The ranks of a node.
    pub fn ranks_of(&self, node: usize) -> std::ops::Range<usize> {
        self.starts[node]..self.starts[node + 1]
    }

    /// The node of a rank.
    pub fn node_of(&self, rank: usize) -> usize {
        self.node_of[rank]
    }

    /// The options of a table that hold what the user demands.
    pub fn allowed(&self, table: usize) -> &[usize] {
        &self.allowed[table]
    }

    /// Whether the user lets pieces of the table lie there.
    pub fn may_lie(&self, table: usize, rank: usize) -> bool {
        let ranks = &self.tables[table].demand.ranks;
        ranks.is_empty() || ranks.contains(&rank)
    }

    /// Cost of a piece in each phase on a device of this class.
    pub fn cost<'r>(&self, run: &'r Run, class: usize) -> &'r [f64] {
        &run.cost[class * self.phases..(class + 1) * self.phases]
    }

    /// The least cost of a piece on any class that the cluster has, summed over phases.
    pub fn least_cost(&self, run: &Run) -> f64 {
        run.cost.chunks(self.phases).map(|phases| phases.iter().sum()).fold(f64::INFINITY, f64::min)
    }

    fn checked(&self, table: &Table) -> Result<Vec<usize>, Error> {
        if table.options.is_empty() {
            return Err(Error::NoOptions { table: table.name.clone() });
        }
        for choice in &table.options {
            self.check_choice(table, choice)?;
        }
        self.check_demand(table)
    }

    fn check_choice(&self, table: &Table, choice: &Choice) -> Result<(), Error> {
        let place = || (table.name.clone(), choice.name.to_string());
        for run in &choice.runs {
            if run.cost.len() != self.phases * self.classes {
                let (table, option) = place();
                let wanted = self.phases * self.classes;
                return Err(Error::CostShape { table, option, found: run.cost.len(), wanted });
            }
            if let Some(cost) = run.cost.iter().find(|cost| !(0.0..=MOST_COST).contains(*cost)) {
                let (table, option) = place();
                return Err(Error::BadCost { table, option, cost: *cost });
            }
        }
        let found = choice.n_pieces();
        let sizes = &self.cluster.node_sizes;
        let (fits, wanted) = match choice.layout {
            Layout::EveryRank => (found == self.world_size(), format!("{}, one a rank", self.world_size())),
            Layout::AnyRank | Layout::OneNode => (found > 0, "at least one".to_owned()),
            Layout::WholeNodes => {
                let size = sizes[0];
                let equal = sizes.iter().all(|other| *other == size);
                let fits = equal && found > 0 && found.is_multiple_of(size) && found / size <= sizes.len();
                (fits, format!("a multiple of the {size} ranks of a node, all nodes alike"))
            }
        };
        if fits {
            return Ok(());
        }
        let (table, option) = place();
        Err(Error::PieceCount { table, option, found, wanted })
    }

    fn check_demand(&self, table: &Table) -> Result<Vec<usize>, Error> {
        let Demand { only, forbid, ranks } = &table.demand;
        let known = |name: &String| table.options.iter().any(|choice| choice.name == *name.as_str());
        if let Some(option) = only.iter().chain(forbid).find(|name| !known(name)) {
            let names: BTreeSet<&str> = table.options.iter().map(|choice| &*choice.name).collect();
            let known = names.into_iter().collect::<Vec<_>>().join(", ");
            return Err(Error::UnknownOption { table: table.name.clone(), option: option.clone(), known });
        }
        if let Some(rank) = ranks.iter().find(|rank| **rank >= self.world_size()) {
            let (rank, world_size) = (*rank, self.world_size());
            return Err(Error::UnknownRank { table: table.name.clone(), rank, world_size });
        }
        let wanted = |choice: &Choice| {
            let named = |names: &[String]| names.iter().any(|name| choice.name == *name.as_str());
            (only.is_empty() || named(only)) && !named(forbid) && self.reaches(choice, ranks)
        };
        let allowed: Vec<usize> = (0..table.options.len()).filter(|o| wanted(&table.options[*o])).collect();
        if allowed.is_empty() {
            return Err(Error::Contradiction { table: table.name.clone() });
        }
        Ok(allowed)
    }

    /// Whether these ranks (all, where there are none) have room for the layout.
    fn reaches(&self, choice: &Choice, ranks: &[usize]) -> bool {
        if ranks.is_empty() {
            return true;
        }
        let has = |rank: usize| ranks.contains(&rank);
        match choice.layout {
            Layout::AnyRank | Layout::OneNode => true,
            Layout::EveryRank => (0..self.world_size()).all(has),
            Layout::WholeNodes => {
                let whole = (0..self.nodes()).filter(|node| self.ranks_of(*node).all(has)).count();
                whole * self.cluster.node_sizes[0] >= choice.n_pieces()
            }
        }
    }
}

fn check_cluster(cluster: &Cluster, phases: usize) -> Result<(), Error> {
    if cluster.devices.is_empty() {
        return Err(Error::NoDevices);
    }
    if !(1..=MAX_PHASES).contains(&phases) {
        return Err(Error::Phases { phases });
    }
    let sum: usize = cluster.node_sizes.iter().sum();
    if sum != cluster.devices.len() || cluster.node_sizes.contains(&0) {
        return Err(Error::NodeSizes { sum, world_size: cluster.devices.len() });
    }
    Ok(())
}
