//! What the tables of a job cost on the workers at hand, as the planner asks it, and plans as the workers execute them.
//!
//! Costs are the cost model's for the devices that workers report; the layouts are those that workers execute, of each
//! declared table (a whole one, or a column block): row-wise, table-wise, data-parallel, and table-row-wise where hosts have
//! several workers. So a table that is cut may come to lie column-wise or as a grid. Scores of a table are computed by the
//! owners of its row blocks, so they are a cost of its pieces. Only who holds what follows from all this, never a result.

mod cost;
mod memory;

use std::borrow::Cow;

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

/// On more hosts than these, table-row-wise is weighed only where the job forces it: each host is an option of its own,
/// and the more there are, the less one of them is worth.
const MAX_NODES: usize = 16;

/// The planner's problem of a job.
#[derive(Debug)]
pub(super) struct Pieces<'a> {
    tables: &'a [TableDecl],
    nodes: &'a Nodes,
    /// In the order of the problem's tables.
    units: Vec<Unit>,
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
pub(super) struct Shortage {
    pub(super) rank: u32,
    pub(super) bytes: u64,
}

/// Declared tables that get one place: one, or all column blocks of a table that the job wants together.
#[derive(Debug)]
struct Unit {
    name: String,
    tables: Vec<usize>,
    /// What each option of the planner's is, with its node where it is on one.
    options: Vec<(Placement, Option<usize>)>,
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
        let (units, problem) = (units(tables), nothing(&devices)?);
        let mut pieces = Self { tables, nodes, units, costs, room, of_evaluation, problem };
        let unit_tables = (0..pieces.units.len()).map(|unit| pieces.unit(unit, classes.len()));
        let (options, planned): (Vec<_>, Vec<_>) = unit_tables.collect::<Vec<_>>().into_iter().unzip();
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
        let world_size = self.nodes.world_size();
        let mut plan = ShardingPlan { world_size, micro_batches, tables: Default::default() };
        for (unit, placed) in self.units.iter().zip(&found.placements) {
            let (placement, node) = unit.options[placed.option];
            let ranks = match node {
                Some(node) => self.nodes.ranks(node).to_vec(),
                None if placement == Placement::TableWise => placed.ranks.clone(),
                None => (0..world_size).collect(),
            };
            for table in unit.tables.iter().map(|table| &self.tables[*table]) {
                let even = TablePlan::even(placement, table.row_blocks, &ranks);
                plan.tables.insert(table.name.clone(), even);
            }
        }
        Ok((plan, found.cost, found.bound))
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

    /// The planner's table of a unit, and what its options are.
    fn unit(&self, unit: usize, classes: usize) -> (Vec<(Placement, Option<usize>)>, planner::Table) {
        const EXECUTED: [Placement; 4] =
            [Placement::RowWise, Placement::TableWise, Placement::DataParallel, Placement::TableRowWise];
        let Unit { name, tables, .. } = &self.units[unit];
        let first = &self.tables[tables[0]];
        let mut kinds = Vec::new();
        for placement in EXECUTED.into_iter().filter(|placement| self.is_open(first, *placement)) {
            match placement {
                Placement::TableRowWise => {
                    kinds.extend((0..self.nodes.len()).map(|node| (placement, Some(node))));
                }
                _ => kinds.push((placement, None)),
            }
        }
        let options = kinds.iter().map(|(placement, node)| self.choice(unit, *placement, *node, classes));
        let (name, options) = (name.clone(), options.collect());
        (kinds, planner::Table { name, options, demand: Demand::default() })
    }

    fn choice(&self, unit: usize, placement: Placement, node: Option<usize>, classes: usize) -> Choice {
        let tables = &self.units[unit].tables;
        let name = match (placement, node) {
            (_, Some(node)) => Cow::Owned(format!("table_row_wise/{node}")),
            (Placement::TableWise, None) => Cow::Borrowed("table_wise"),
            (Placement::DataParallel, None) => Cow::Borrowed("data_parallel"),
            (_, None) => Cow::Borrowed("row_wise"),
        };
        if placement == Placement::TableWise {
            return Choice {
                name,
                layout: Layout::AnyRank,
                runs: vec![self.run(tables, placement, 1.0, (1, classes))],
            };
        }
        let world_size = self.nodes.world_size();
        let ranks: Vec<u32> = match node {
            Some(node) => self.nodes.ranks(node).to_vec(),
            None => (0..world_size).collect(),
        };
        // Tables of a unit have the same number of row blocks, which is the job's.
        let blocks = self.tables[tables[0]].row_blocks;
        let even = TablePlan::even(placement, blocks, &ranks).owners;
        let mut owned = vec![None; world_size as usize];
        ranks.iter().for_each(|rank| owned[*rank as usize] = Some(0_u32));
        even.iter().for_each(|owner| *owned[*owner as usize].get_or_insert(0) += 1);
        let run = |alike: &[Option<u32>]| match alike[0] {
            Some(owned) => {
                let share = f64::from(owned) / f64::from(blocks.max(1));
                self.run(tables, placement, share, (alike.len(), classes))
            }
            None => Run { pieces: alike.len(), cost: vec![0.0; PHASES.len() * classes].into(), memory: 0 },
        };
        Choice { name, layout: Layout::EveryRank, runs: owned.chunk_by(|a, b| a == b).map(run).collect() }
    }

    /// Pieces that own `share` of the rows of these tables.
    fn run(
        &self,
        tables: &[usize],
        placement: Placement,
        share: f64,
        (pieces, classes): (usize, usize),
    ) -> Run {
        let mut cost = vec![0.0; PHASES.len() * classes];
        let mut memory = 0.0;
        for costs in tables.iter().map(|table| &self.costs[*table]) {
            let seconds = (0..classes).flat_map(|class| costs.seconds(class, placement, share));
            cost.iter_mut().zip(seconds).for_each(|(sum, seconds)| *sum += seconds);
            memory += costs.memory(placement, share);
        }
        Run { pieces, cost: cost.into(), memory: memory.ceil() as u64 }
    }
}

/// Which declared tables get one place, by name.
fn units(tables: &[TableDecl]) -> Vec<Unit> {
    let mut units: Vec<Unit> = Vec::new();
    for (index, table) in tables.iter().enumerate() {
        let together = matches!(table.placement, Some(Placement::TableWise | Placement::TableRowWise));
        let name = if together { table.table() } else { &table.name };
        match units.iter_mut().find(|unit| together && unit.name == name) {
            Some(unit) => unit.tables.push(index),
            None => units.push(Unit { name: name.to_owned(), tables: vec![index], options: Vec::new() }),
        }
    }
    units.sort_by(|a, b| a.name.cmp(&b.name));
    units
}

/// A problem without tables.
fn nothing(devices: &[Device]) -> Result<Problem, planner::Error> {
    let cluster = planner::Cluster { node_sizes: vec![1; devices.len()], devices: devices.to_vec() };
    Problem::new(cluster, PHASES.len(), Vec::new())
}
