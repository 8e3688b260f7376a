//! What the tables of a job cost on the workers at hand, as the planner asks it, and plans as the workers execute them.
//!
//! Costs are the cost model's for the devices that workers report; the layouts are those that workers execute, of each
//! declared table (a whole one, or a column block): row-wise, table-wise, data-parallel, and table-row-wise where hosts have
//! several workers. So a table that is cut may come to lie column-wise or as a grid. Scores of a table are computed by the
//! owners of its row blocks, so they are a cost of its pieces. Only who holds what follows from all this, never a result.

mod cost;
mod memory;

use std::borrow::Cow;
use std::collections::BTreeMap;

use muster_proto::capacity;
use muster_proto::config;
use muster_proto::control::Submission;
use muster_proto::job::JobSpec;
use muster_proto::sharding::{Nodes, Placement, ShardingPlan, TableDecl, TablePlan};

use self::cost::{Costs, Model, PHASES};
use super::planning::Worker;
use crate::planner::{self, Choice, Demand, Device, Effort, Layout, Problem, Run};

/// A plan is part of one step of the core, so it tries little: a two-hundredth, which is enough for a job's few tables.
const EFFORT: Effort = Effort { gap: 1e-3, factor: 1, divisor: 200 };

/// On more hosts than these, table-row-wise is not weighed, and what the job forces goes by the simple rule: each host is an
/// option of its own, and the more there are, the less one of them is worth.
const MAX_NODES: usize = 16;

/// The planner's problem of a job.
#[derive(Debug)]
pub(super) struct Pieces<'a> {
    tables: &'a [TableDecl],
    nodes: &'a Nodes,
    /// In the order of the problem's tables.
    units: Vec<Unit>,
    /// What the simple rule makes of the tables that are placed by it.
    forced: ShardingPlan,
    /// Per declared table.
    costs: Vec<Costs>,
    /// Bytes that each rank has for tables and for copies.
    room: Vec<u64>,
    /// Bytes that an evaluation takes of them.
    of_evaluation: f64,
    problem: Problem,
}

/// What a rank lacks for the pieces and copies that a plan gives it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Shortage {
    pub(crate) rank: u32,
    pub(crate) bytes: u64,
}

/// Declared tables that get one place: one, or all column blocks of a table about which the job demands something.
#[derive(Debug)]
struct Unit {
    name: String,
    tables: Vec<usize>,
    /// What each option of the planner's is.
    options: Vec<Way>,
}

/// How the tables of a unit may lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// Row-wise or data-parallel.
    AllRanks(Placement),
    /// Table-wise, where the planner likes.
    OneRank,
    /// Table-row-wise.
    OneNode(usize),
    /// As the simple rule does what the job forces: column blocks apart, or on one of very many nodes.
    Forced,
}

impl<'a> Pieces<'a> {
    /// The problem of the job on these workers, in rank order. A solver knows no rank's neighbour, so each keeps room for
    /// `copies` of others' pieces, in bytes, or for what these are where pieces lie evenly.
    pub(super) fn new(
        submission: &'a Submission,
        workers: &[Worker<'_>],
        nodes: &'a Nodes,
        copies: Option<f64>,
    ) -> Result<Self, planner::Error> {
        // A spec that this version cannot read is refused by the ranks, in words; the plan needs its sizes only.
        let job = config::parse::<JobSpec>(&submission.spec_toml, "job", &[]).unwrap_or_default();
        let mut classes: Vec<capacity::Device> = Vec::new();
        let class_of_worker = workers.iter().map(|worker| {
            let device = cost::device_of(worker.capabilities);
            let known = classes.iter().position(|class| *class == device);
            known.unwrap_or_else(|| {
                classes.push(device);
                classes.len() - 1
            })
        });
        let class_of_worker: Vec<usize> = class_of_worker.collect();
        let tables = &submission.tables;
        let world_size = workers.len() as u32;
        let hosted = workers.iter().any(|worker| memory::in_host_memory(worker, &job));
        let model = Model { job: &job, classes: &classes, world_size, hosted };
        let costs: Vec<Costs> = tables.iter().map(|table| model.costs(table)).collect();
        let room: Vec<u64> = workers.iter().map(|worker| memory::room(worker, &job)).collect();
        let of_evaluation = memory::of_evaluation(&job, tables, &costs, world_size);
        let copies = copies.unwrap_or_else(|| memory::even_copies(&costs, world_size));
        let beside = (copies + of_evaluation).ceil() as u64;
        let device = |(room, class): (&u64, usize)| Device { memory: room.saturating_sub(beside), class };
        let devices: Vec<Device> = room.iter().zip(class_of_worker).map(device).collect();
        let forced = forced(submission, nodes)?;
        let (units, problem) = (units(tables), nothing(&devices)?);
        let mut pieces = Self { tables, nodes, units, forced, costs, room, of_evaluation, problem };
        let planned: Vec<(Vec<Way>, planner::Table)> =
            pieces.units.iter().map(|unit| pieces.options(unit, classes.len())).collect();
        let (options, planned): (Vec<_>, Vec<_>) = planned.into_iter().unzip();
        for (unit, options) in pieces.units.iter_mut().zip(options) {
            unit.options = options;
        }
        // What links inside of a host are worth is not known: each rank counts as a node with links of its own. Options on
        // one host name its ranks themselves.
        let cluster = planner::Cluster { node_sizes: vec![1; devices.len()], devices };
        pieces.problem = Problem::new(cluster, PHASES.len(), planned)?;
        Ok(pieces)
    }

    /// The planner's plan, as workers execute it, with what it costs and what any plan costs at least.
    pub(super) fn solve(&self, micro_batches: u32) -> Result<(ShardingPlan, f64, f64), planner::Error> {
        let found = planner::plan(&self.problem, EFFORT)?;
        let (world_size, mut tables) = (self.nodes.world_size(), BTreeMap::new());
        for (unit, placed) in self.units.iter().zip(&found.placements) {
            let plans = self.plans(unit, unit.options[placed.option], &placed.ranks);
            let names = unit.tables.iter().map(|table| self.tables[*table].name.clone());
            tables.extend(names.zip(plans));
        }
        Ok((ShardingPlan { world_size, micro_batches, tables }, found.cost, found.bound))
    }

    /// How the tables of a unit lie in one way; on the first of `ranks` if on one.
    fn plans(&self, unit: &Unit, way: Way, ranks: &[u32]) -> Vec<TablePlan> {
        let all: Vec<u32>;
        let (placement, ranks) = match way {
            Way::AllRanks(placement) => {
                all = (0..self.nodes.world_size()).collect();
                (placement, &all[..])
            }
            Way::OneRank => (Placement::TableWise, &ranks[..1]),
            Way::OneNode(node) => (Placement::TableRowWise, self.nodes.ranks(node)),
            Way::Forced => {
                let tables = unit.tables.iter().map(|table| &self.tables[*table].name);
                return tables.map(|name| self.forced.tables[name].clone()).collect();
            }
        };
        let tables = unit.tables.iter().map(|table| &self.tables[*table]);
        tables.map(|table| TablePlan::even(placement, table.row_blocks, ranks)).collect()
    }

    /// What a plan costs; none where it does not fit or the job forbids it. Row blocks may lie as they like.
    pub(super) fn cost(&self, plan: &ShardingPlan) -> Option<f64> {
        let open = |table: &TableDecl| {
            plan.tables.get(&table.name).is_some_and(|planned| self.is_open(table, planned.placement))
        };
        if !self.tables.iter().all(open) || self.shortage(plan).is_some() {
            return None;
        }
        let devices = &self.problem.cluster().devices;
        let mut loads = vec![[0.0; PHASES.len()]; devices.len()];
        for (costs, placement, shares) in self.placed(plan) {
            for ((load, device), share) in loads.iter_mut().zip(devices).zip(shares) {
                let seconds = costs.seconds(device.class, placement, share);
                load.iter_mut().zip(seconds).for_each(|(load, seconds)| *load += seconds);
            }
        }
        let peak = |phase: usize| loads.iter().map(|load| load[phase]).fold(0.0, f64::max);
        Some((0..PHASES.len()).map(peak).sum())
    }

    /// The rank that lacks most for a plan, with what it holds for the rank before it; none where all have room.
    pub(super) fn shortage(&self, plan: &ShardingPlan) -> Option<Shortage> {
        let copies = self.copies(plan);
        let mut memory: Vec<f64> = (0..copies.len())
            .map(|rank| copies[(rank + copies.len() - 1) % copies.len()] + self.of_evaluation)
            .collect();
        for (costs, placement, shares) in self.placed(plan) {
            memory.iter_mut().zip(shares).for_each(|(sum, share)| *sum += costs.memory(placement, share));
        }
        let lacks = |(rank, (held, room)): (u32, (f64, &u64))| Shortage {
            rank,
            bytes: (held.ceil() as u64).saturating_sub(*room),
        };
        let shortages = (0..).zip(memory.into_iter().zip(&self.room)).map(lacks);
        shortages.filter(|lack| lack.bytes > 0).max_by_key(|lack| (lack.bytes, std::cmp::Reverse(lack.rank)))
    }

    /// Bytes of the copies that each rank's pieces have on the next one.
    pub(super) fn copies(&self, plan: &ShardingPlan) -> Vec<f64> {
        let mut copies = vec![0.0; self.room.len()];
        for (costs, _, shares) in self.placed(plan) {
            let bytes = costs.bytes * costs.copies;
            copies.iter_mut().zip(shares).for_each(|(sum, share)| *sum += bytes * share);
        }
        copies
    }

    /// Each declared table with how it lies, and the share of its row blocks that each rank owns.
    fn placed(&self, plan: &ShardingPlan) -> impl Iterator<Item = (&Costs, Placement, Vec<f64>)> {
        self.tables.iter().zip(&self.costs).filter_map(|(table, costs)| {
            let planned = plan.tables.get(&table.name)?;
            let mut shares = vec![0.0; self.room.len()];
            planned.owners.iter().for_each(|owner| shares[*owner as usize] += 1.0);
            shares.iter_mut().for_each(|share| *share /= planned.owners.len() as f64);
            Some((costs, planned.placement, shares))
        })
    }

    /// Whether a declared table may lie so.
    fn is_open(&self, table: &TableDecl, placement: Placement) -> bool {
        match table.placement {
            Some(forced) => forced.of_block() == placement,
            // On one rank all are the same; row-wise is what moves least when others join.
            None if self.nodes.world_size() == 1 => placement == Placement::RowWise,
            None if placement == Placement::TableRowWise => {
                let (nodes, world_size) = (self.nodes.len(), self.nodes.world_size() as usize);
                (2..=MAX_NODES).contains(&nodes) && nodes < world_size
            }
            None => placement == placement.of_block(),
        }
    }

    /// The options of a unit, and the planner's table of them.
    fn options(&self, unit: &Unit, classes: usize) -> (Vec<Way>, planner::Table) {
        let first = &self.tables[unit.tables[0]];
        let is_open = |placement| self.is_open(first, placement);
        let mut ways = Vec::new();
        if self.forced.tables.contains_key(&first.name) {
            ways.push(Way::Forced);
        } else {
            let everywhere = [Placement::RowWise, Placement::DataParallel].into_iter();
            ways.extend(everywhere.filter(|placement| is_open(*placement)).map(Way::AllRanks));
            ways.extend(is_open(Placement::TableWise).then_some(Way::OneRank));
            let nodes = if is_open(Placement::TableRowWise) { self.nodes.len() } else { 0 };
            ways.extend((0..nodes).map(Way::OneNode));
        }
        let options = ways.iter().map(|way| self.choice(unit, *way, classes)).collect();
        (ways, planner::Table { name: unit.name.clone(), options, demand: Demand::default() })
    }

    fn choice(&self, unit: &Unit, way: Way, classes: usize) -> Choice {
        let name = match way {
            Way::AllRanks(Placement::DataParallel) => Cow::Borrowed("data_parallel"),
            Way::AllRanks(_) => Cow::Borrowed("row_wise"),
            Way::OneRank => Cow::Borrowed("table_wise"),
            Way::OneNode(node) => Cow::Owned(format!("table_row_wise/{node}")),
            Way::Forced => Cow::Borrowed("forced"),
        };
        let plans = self.plans(unit, way, &[0]);
        if way == Way::OneRank {
            let all = vec![1.0; unit.tables.len()];
            return Choice {
                name,
                layout: Layout::AnyRank,
                runs: vec![self.run(unit, &plans, &all, (1, classes))],
            };
        }
        // Per rank, the share of each table's row blocks that it owns.
        let mut shares = vec![vec![0.0; plans.len()]; self.room.len()];
        for (at, plan) in plans.iter().enumerate() {
            plan.owners.iter().for_each(|owner| shares[*owner as usize][at] += 1.0);
            shares.iter_mut().for_each(|of_rank| of_rank[at] /= plan.owners.len() as f64);
        }
        let run = |alike: &[Vec<f64>]| self.run(unit, &plans, &alike[0], (alike.len(), classes));
        Choice { name, layout: Layout::EveryRank, runs: shares.chunk_by(|a, b| a == b).map(run).collect() }
    }

    /// The pieces of equal ranks that own these shares of a unit's tables.
    fn run(
        &self,
        unit: &Unit,
        plans: &[TablePlan],
        shares: &[f64],
        (pieces, classes): (usize, usize),
    ) -> Run {
        let mut cost = vec![0.0; PHASES.len() * classes];
        let mut memory = 0.0;
        for ((table, plan), share) in unit.tables.iter().zip(plans).zip(shares) {
            let costs = &self.costs[*table];
            let seconds = (0..classes).flat_map(|class| costs.seconds(class, plan.placement, *share));
            cost.iter_mut().zip(seconds).for_each(|(sum, seconds)| *sum += seconds);
            memory += costs.memory(plan.placement, *share);
        }
        Run { pieces, cost: cost.into(), memory: memory.ceil() as u64 }
    }
}

/// Which declared tables get one place, by name.
fn units(tables: &[TableDecl]) -> Vec<Unit> {
    let mut units: Vec<Unit> = Vec::new();
    for (index, table) in tables.iter().enumerate() {
        let together = table.placement.is_some();
        let name = if together { table.table() } else { &table.name };
        match units.last_mut().filter(|unit| together && unit.name == name) {
            Some(unit) => unit.tables.push(index),
            None => units.push(Unit { name: name.to_owned(), tables: vec![index], options: Vec::new() }),
        }
    }
    units.sort_by(|a, b| a.name.cmp(&b.name));
    units
}

/// What the simple rule makes of tables whose column blocks are forced apart, and of those that are forced onto one of very
/// many nodes.
fn forced(submission: &Submission, nodes: &Nodes) -> Result<ShardingPlan, planner::Error> {
    let simply = |table: &&TableDecl| match table.placement {
        Some(Placement::TableRowWise) => nodes.len() > MAX_NODES,
        Some(forced) => forced != forced.of_block(),
        None => false,
    };
    let tables: Vec<TableDecl> = submission.tables.iter().filter(simply).cloned().collect();
    ShardingPlan::simple_on(&tables, submission.micro_batches, nodes).map_err(|_| planner::Error::NoDevices)
}

/// A problem without tables.
fn nothing(devices: &[Device]) -> Result<Problem, planner::Error> {
    let cluster = planner::Cluster { node_sizes: vec![1; devices.len()], devices: devices.to_vec() };
    Problem::new(cluster, PHASES.len(), Vec::new())
}
