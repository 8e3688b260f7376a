//! A placement of a workload's tables, by the planner, with the step that follows from it.
//!
//! Baselines that place by a rule of their own (TensorFlow's) are dealt by that rule, since a forecast of them has to have
//! their imbalance.

use std::collections::BTreeMap;

use super::{dealt, solve};
use crate::cost::layout::{self, LayoutOption};
use crate::cost::{Cluster, Layout, Phases, Piece, StepTime, Workload, memory, step};
use crate::planner::{Effort, Moves, Proof};
use muster_proto::capacity::Software;

/// Why a workload cannot be placed.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Unplaced {
    /// What lies beside the tables is too large.
    #[error(
        "the dense part does not fit: a device lacks {}; take a smaller batch or layers, or devices with more memory",
        bytes(*missing)
    )]
    Dense {
        /// Bytes that a device lacks.
        missing: f64,
    },
    /// No layout of a table has pieces that fit a device.
    #[error(
        "table {table} does not fit: its smallest layout lacks {} on a device; add nodes, or take a smaller dim, precision or \
         optimizer state",
        bytes(*missing)
    )]
    Table {
        /// The table.
        table: String,
        /// Bytes that are missing on the device with the most room.
        missing: f64,
    },
    /// All tables together are larger than all memory.
    #[error(
        "the tables do not fit: all devices together lack {}, and {table} is the largest; add nodes, or take a smaller dim, \
         precision or optimizer state",
        bytes(*missing)
    )]
    Together {
        /// The largest table.
        table: String,
        /// Bytes that are missing in all.
        missing: f64,
    },
    /// No placement was found, or there is none though the sum of bytes would do.
    #[error(
        "no placement fits: table {table} came closest and lacks {}; add nodes, or allow more layouts or ranks",
        bytes(*missing)
    )]
    Found {
        /// The table that found no room.
        table: String,
        /// Bytes that it lacked.
        missing: f64,
    },
    /// Pins to devices that are too small for what is pinned there.
    #[error(
        "the tables that `ranks` pins to {ranks} do not fit there: {} are missing, and {table} is the largest; pin to more ranks, or \
         pin fewer tables",
        bytes(*missing)
    )]
    Pinned {
        /// The largest of the tables.
        table: String,
        /// The ranks, with commas.
        ranks: String,
        /// Bytes that these ranks lack.
        missing: f64,
    },
    /// A rule dealt more onto a device than it holds.
    #[error(
        "tensor_flow deals tables and columns by size: a device of table {table} lacks {}; add nodes, or take a smaller dim or \
         precision",
        bytes(*missing)
    )]
    Dealt {
        /// The largest table of the device.
        table: String,
        /// Bytes that the device lacks.
        missing: f64,
    },
    /// The hosts' memory is too small for the tables that lie there.
    #[error(
        "the tables with a device_cache do not fit a host: it lacks {}, and {table} is the largest; add nodes or host_memory",
        bytes(*missing)
    )]
    Host {
        /// The largest table in the hosts' memory.
        table: String,
        /// Bytes that the fullest host lacks.
        missing: f64,
    },
    /// A plan that the check refuses: a fault of the planner.
    #[error("the plan does not hold, which is a fault of the planner: {what}")]
    Faulty {
        /// What the check found.
        what: String,
    },
    /// What the user demands of a table cannot be on this cluster.
    #[error("table {table}: {what}")]
    Demand {
        /// The table.
        table: String,
        /// What is wrong and how to mend it, in words.
        what: String,
    },
}

/// Bytes in the largest unit that has something before the point.
fn bytes(bytes: f64) -> String {
    match bytes {
        bytes if bytes >= 1e9 => format!("{:.1} GB", bytes / 1e9),
        bytes if bytes >= 1e6 => format!("{:.1} MB", bytes / 1e6),
        bytes => format!("{bytes:.0} B"),
    }
}

impl Unplaced {
    /// The table at fault, or `dense part`.
    #[must_use]
    pub fn table(&self) -> &str {
        match self {
            Self::Dense { .. } => "dense part",
            Self::Faulty { .. } => "",
            Self::Table { table, .. }
            | Self::Together { table, .. }
            | Self::Found { table, .. }
            | Self::Dealt { table, .. }
            | Self::Pinned { table, .. }
            | Self::Host { table, .. }
            | Self::Demand { table, .. } => table,
        }
    }

    /// Bytes that are missing; 0 where memory is not at fault.
    #[must_use]
    pub fn missing(&self) -> f64 {
        match self {
            Self::Dense { missing }
            | Self::Table { missing, .. }
            | Self::Together { missing, .. }
            | Self::Found { missing, .. }
            | Self::Dealt { missing, .. }
            | Self::Pinned { missing, .. }
            | Self::Host { missing, .. } => *missing,
            Self::Demand { .. } | Self::Faulty { .. } => 0.0,
        }
    }
}

/// Where each table is.
#[derive(Debug, Clone, PartialEq)]
pub struct Placement {
    /// Layout of each table, and the rank of each of its pieces.
    pub tables: Vec<(Layout, Vec<usize>)>,
    /// Seconds of each rank, by phase, without what is common to all.
    pub loads: Vec<Phases>,
    /// Bytes of each rank's device, with what is beside the tables.
    pub memory: Vec<f64>,
    /// Bytes of each rank in its host's memory.
    pub host: Vec<f64>,
    /// The step that follows.
    pub step: StepTime,
    /// Seconds that no placement's step is shorter than, and what shows it; none where a rule placed the tables.
    pub bound: Option<(f64, Proof)>,
}

impl Placement {
    /// Bytes of the host that holds most.
    #[must_use]
    pub fn fullest_host(&self, cluster: &Cluster) -> f64 {
        let of_nodes = self.host.chunks(cluster.per_node.max(1) as usize).map(|node| node.iter().sum());
        of_nodes.fold(0.0, f64::max)
    }

    /// Bytes that the fullest host lacks; 0 or less where none does, or what hosts have is not known.
    #[must_use]
    pub(super) fn host_missing(&self, cluster: &Cluster) -> f64 {
        cluster.host_memory.map_or(0.0, |room| self.fullest_host(cluster) - room)
    }

    /// How much longer the step is than the bound, as a share of the bound.
    #[must_use]
    pub fn gap(&self) -> Option<f64> {
        self.bound.map(|(bound, _)| (self.step.seconds / bound - 1.0).max(0.0))
    }
}

/// How much work a placement may be, and what lies where already.
#[derive(Debug, Clone, PartialEq)]
pub struct Wish {
    /// Work of each search.
    pub effort: Effort,
    /// What lies where: the layout's name and the rank of each piece, by table; empty for a first plan.
    pub present: BTreeMap<String, (String, Vec<u32>)>,
    /// How much more than a fresh plan's a plan may cost that moves less, as a share.
    pub tolerance: f64,
}

impl Default for Wish {
    fn default() -> Self {
        Self { effort: Effort::quick(), present: BTreeMap::new(), tolerance: 0.0 }
    }
}

/// Places all tables of a workload.
///
/// # Errors
/// A table, or the dense part, that fits on no device; a demand that cannot be.
pub fn place(workload: &Workload, cluster: &Cluster) -> Result<Placement, Unplaced> {
    place_as(workload, cluster, &Wish::default()).map(|(placement, _)| placement)
}

/// Places all tables of a workload, and says what moves where something lies somewhere already.
///
/// # Errors
/// As [`place`].
pub fn place_as(
    workload: &Workload,
    cluster: &Cluster,
    wish: &Wish,
) -> Result<(Placement, Option<Moves>), Unplaced> {
    let beside = workload.beside_tables(cluster);
    let room = memory::usable(cluster);
    if beside > room {
        return Err(Unplaced::Dense { missing: beside - room });
    }
    let placed = if workload.setting.software == Software::TensorFlow {
        (dealt::deal(workload, cluster)?, None)
    } else {
        let options = |table| layout::options(table, cluster, &workload.setting);
        let options: Vec<Vec<LayoutOption>> = workload.tables.iter().map(options).collect();
        solve::solve(workload, &options, cluster, wish)?
    };
    check_hosts(workload, cluster, &placed.0)?;
    Ok(placed)
}

/// The search knows the devices' memory only; what lies on the hosts is counted afterwards.
fn check_hosts(workload: &Workload, cluster: &Cluster, placement: &Placement) -> Result<(), Unplaced> {
    let missing = placement.host_missing(cluster);
    if missing <= 0.0 {
        return Ok(());
    }
    let hosted = workload.tables.iter().filter(|table| table.device_cache.is_some());
    let largest = hosted.max_by(|a, b| a.bytes().total_cmp(&b.bytes()));
    Err(Unplaced::Host { table: largest.map_or_else(String::new, |table| table.name.clone()), missing })
}

/// The ranks while they fill up.
pub(super) struct Ranks {
    loads: Vec<Phases>,
    memory: Vec<f64>,
    host: Vec<f64>,
}

impl Ranks {
    pub(super) fn new(workload: &Workload, cluster: &Cluster) -> Self {
        let n = cluster.world_size as usize;
        Self {
            loads: vec![Phases::default(); n],
            memory: vec![workload.beside_tables(cluster); n],
            host: vec![0.0; n],
        }
    }

    pub(super) fn add(&mut self, rank: usize, piece: &Piece) {
        self.loads[rank] += piece.cost;
        self.memory[rank] += piece.memory;
        self.host[rank] += piece.host;
    }

    pub(super) fn finish(
        self,
        tables: Vec<(Layout, Vec<usize>)>,
        workload: &Workload,
        cluster: &Cluster,
    ) -> Placement {
        let step = step::step_time(workload, &self.loads, cluster);
        Placement { tables, loads: self.loads, memory: self.memory, host: self.host, step, bound: None }
    }
}
