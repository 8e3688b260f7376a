//! A placement of tables: the one point at which the planner's solver can take over.
//!
//! For each of some bounds z, a table takes the layout with the least work whose largest piece stays below z, and the longest
//! pieces go to the least loaded ranks first (Graham 1969); the best step of all z is kept. No bound is proved here.

use crate::cost::layout::{self, LayoutOption, Span};
use crate::cost::{Cluster, Layout, Phases, Piece, StepTime, Workload, memory, step};
use muster_proto::capacity::Software;

/// A table that finds no room.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error(
    "table {table} does not fit: its smallest layout lacks {:.1} GB on a device; add nodes, or take a smaller dim, precision or \
     optimizer state",
    missing / 1e9
)]
pub struct NoRoom {
    /// The table, or `dense part`.
    pub table: String,
    /// Bytes that are missing on the device with the most room.
    pub missing: f64,
}

/// Where each table is.
#[derive(Debug, Clone, PartialEq)]
pub struct Placement {
    /// Layout of each table, and the rank of each of its pieces.
    pub tables: Vec<(Layout, Vec<usize>)>,
    /// Seconds of each rank, by phase, without what is common to all.
    pub loads: Vec<Phases>,
    /// Bytes of each rank, with what is beside the tables.
    pub memory: Vec<f64>,
    /// The step that follows.
    pub step: StepTime,
}

/// Places all tables of a workload.
///
/// # Errors
/// A table, or the dense part, that fits on no device.
pub fn place(workload: &Workload, cluster: &Cluster) -> Result<Placement, NoRoom> {
    let beside = workload.beside_tables(cluster);
    let room = memory::usable(cluster);
    if beside > room {
        return Err(NoRoom { table: "dense part".into(), missing: beside - room });
    }
    let options: Vec<Vec<LayoutOption>> =
        workload.tables.iter().map(|table| layout::options(table, cluster, &workload.setting)).collect();
    if workload.setting.software == Software::TensorFlow {
        return dealt(workload, &options, cluster);
    }
    let mut best: Option<Placement> = None;
    let mut refused = None;
    for bound in bounds(&options, cluster) {
        match at_bound(workload, &options, cluster, bound) {
            Ok(found) => {
                if best.as_ref().is_none_or(|best| found.step.seconds < best.step.seconds) {
                    best = Some(found);
                }
            }
            Err(error) => refused = Some(error),
        }
    }
    match (best, refused) {
        (Some(best), _) => Ok(best),
        (None, Some(error)) => Err(error),
        (None, None) => unreachable!("there is at least one bound"),
    }
}

fn largest(option: &LayoutOption) -> f64 {
    option.pieces.iter().map(|piece| piece.cost.sum()).fold(0.0, f64::max)
}

fn work(option: &LayoutOption) -> f64 {
    option.pieces.iter().map(|piece| piece.cost.sum()).sum()
}

/// From an even share of the least work to everything on one rank, a fifth of a doubling apart.
fn bounds(options: &[Vec<LayoutOption>], cluster: &Cluster) -> Vec<f64> {
    let least = |table: &Vec<LayoutOption>| table.iter().map(work).fold(f64::INFINITY, f64::min);
    let total: f64 = options.iter().map(least).sum();
    let even = total / cluster.n();
    let mut bounds = vec![f64::INFINITY];
    let mut bound = even / 16.0;
    while bound < total.min(even * 8.0) {
        bounds.push(bound);
        bound *= 2f64.powf(0.25);
    }
    bounds
}

/// As NVIDIA's distributed-embeddings deals tables (`memory_balanced`): whole tables by size, to and fro over the ranks.
///
/// Balances memory and the number of tables, not lookups; a forecast of that program has to have its imbalance.
fn dealt(workload: &Workload, options: &[Vec<LayoutOption>], cluster: &Cluster) -> Result<Placement, NoRoom> {
    let n = cluster.world_size as usize;
    let mut order: Vec<usize> = (0..options.len()).collect();
    let values = |table: usize| workload.tables[table].rows * workload.tables[table].dim;
    order.sort_by(|a, b| values(*b).total_cmp(&values(*a)).then(b.cmp(a)));
    let mut ranks = Ranks::new(workload, cluster);
    let mut tables = vec![(Layout::TableWise, Vec::new()); options.len()];
    for (at, table) in order.into_iter().enumerate() {
        let turn = at % (2 * n);
        let rank = if turn < n { turn } else { 2 * n - 1 - turn };
        let piece = &options[table][0].pieces[0];
        ranks.add(rank, piece);
        if ranks.memory[rank] > ranks.room {
            let missing = ranks.memory[rank] - ranks.room;
            return Err(NoRoom { table: workload.tables[table].name.clone(), missing });
        }
        tables[table].1.push(rank);
    }
    Ok(ranks.finish(tables, workload, cluster))
}

fn at_bound(
    workload: &Workload,
    options: &[Vec<LayoutOption>],
    cluster: &Cluster,
    bound: f64,
) -> Result<Placement, NoRoom> {
    let mut chosen: Vec<(usize, Vec<&LayoutOption>)> =
        options.iter().enumerate().map(|(table, options)| (table, ranked(options, bound))).collect();
    chosen.sort_by(|a, b| largest(b.1[0]).total_cmp(&largest(a.1[0])).then(a.0.cmp(&b.0)));
    // What lies on all ranks goes first, so that the rest can even it out.
    chosen.sort_by_key(|(_, options)| options[0].span != Span::All);
    let mut ranks = Ranks::new(workload, cluster);
    let mut tables = vec![(Layout::TableWise, Vec::new()); options.len()];
    for (table, options) in chosen {
        let found = options.iter().find_map(|option| Some((option.layout, ranks.put(option)?)));
        tables[table] = found.ok_or_else(|| {
            let missing = options.iter().map(|option| ranks.shortage(option)).fold(f64::INFINITY, f64::min);
            NoRoom { table: workload.tables[table].name.clone(), missing }
        })?;
    }
    Ok(ranks.finish(tables, workload, cluster))
}

/// Options in the order to try: least work with pieces within the bound, then by ever smaller memory.
fn ranked(options: &[LayoutOption], bound: f64) -> Vec<&LayoutOption> {
    let within = options.iter().filter(|option| largest(option) <= bound);
    let first = within
        .min_by(|a, b| work(a).total_cmp(&work(b)))
        .or_else(|| options.iter().min_by(|a, b| largest(a).total_cmp(&largest(b))));
    let mut rest: Vec<&LayoutOption> = options.iter().collect();
    let memory = |option: &LayoutOption| option.pieces.iter().map(|piece| piece.memory).fold(0.0, f64::max);
    rest.sort_by(|a, b| memory(a).total_cmp(&memory(b)));
    first.into_iter().chain(rest).collect()
}

/// The ranks while they fill up.
struct Ranks {
    loads: Vec<Phases>,
    totals: Vec<f64>,
    memory: Vec<f64>,
    room: f64,
    per_node: usize,
}

impl Ranks {
    fn new(workload: &Workload, cluster: &Cluster) -> Self {
        let n = cluster.world_size as usize;
        Self {
            loads: vec![Phases::default(); n],
            totals: vec![0.0; n],
            memory: vec![workload.beside_tables(cluster); n],
            room: memory::usable(cluster),
            per_node: cluster.g() as usize,
        }
    }

    fn add(&mut self, rank: usize, piece: &Piece) {
        self.loads[rank] += piece.cost;
        self.totals[rank] += piece.cost.sum();
        self.memory[rank] += piece.memory;
    }

    fn finish(self, tables: Vec<(Layout, Vec<usize>)>, workload: &Workload, cluster: &Cluster) -> Placement {
        let step = step::step_time(workload, &self.loads, cluster);
        Placement { tables, loads: self.loads, memory: self.memory, step }
    }

    /// Puts all pieces of an option, or none of them.
    fn put(&mut self, option: &LayoutOption) -> Option<Vec<usize>> {
        let ranks = self.seats(option)?;
        for (rank, piece) in ranks.iter().zip(&option.pieces) {
            self.add(*rank, piece);
        }
        Some(ranks)
    }

    fn seats(&self, option: &LayoutOption) -> Option<Vec<usize>> {
        let n = self.totals.len();
        let needed = option.pieces.iter().map(|piece| piece.memory).fold(0.0, f64::max);
        let fits = |rank: &usize| self.memory[*rank] + needed <= self.room;
        match option.span {
            Span::All => (0..n).all(|rank| fits(&rank)).then(|| (0..n).collect()),
            Span::Rank => {
                let mut free: Vec<usize> = (0..n).filter(fits).collect();
                free.sort_by(|a, b| self.totals[*a].total_cmp(&self.totals[*b]).then(a.cmp(b)));
                free.truncate(option.pieces.len());
                (free.len() == option.pieces.len()).then_some(free)
            }
            Span::Node => {
                let load = |node: usize| {
                    let ranks = node * self.per_node..(node + 1) * self.per_node;
                    self.totals[ranks].iter().sum::<f64>()
                };
                let whole =
                    |node: &usize| (node * self.per_node..(node + 1) * self.per_node).all(|rank| fits(&rank));
                let mut nodes: Vec<usize> = (0..n / self.per_node).filter(whole).collect();
                nodes.sort_by(|a, b| load(*a).total_cmp(&load(*b)).then(a.cmp(b)));
                nodes.truncate(option.pieces.len() / self.per_node);
                let seats: Vec<usize> =
                    nodes.iter().flat_map(|node| node * self.per_node..(node + 1) * self.per_node).collect();
                (seats.len() == option.pieces.len()).then_some(seats)
            }
        }
    }

    /// Bytes that the fullest of the best ranks for an option lacks.
    fn shortage(&self, option: &LayoutOption) -> f64 {
        let needed = option.pieces.iter().map(|piece| piece.memory).fold(0.0, f64::max);
        let free: Vec<f64> = self.memory.iter().map(|used| self.room - used).collect();
        let least = |ranks: &[f64]| ranks.iter().copied().fold(f64::INFINITY, f64::min);
        // Each seat has to have the room, so the one that is taken last decides.
        let (mut seats, taken) = match option.span {
            Span::All => (vec![least(&free)], 1),
            Span::Rank => (free, option.pieces.len()),
            Span::Node => {
                (free.chunks(self.per_node).map(least).collect(), option.pieces.len() / self.per_node)
            }
        };
        seats.sort_by(|a, b| b.total_cmp(a));
        needed - seats.get(taken - 1).copied().unwrap_or(0.0)
    }
}
