//! Random problems: of a few tables, for exhaustion, or of many.

use muster_core::planner::{Choice, Cluster, Demand, Device, Layout, Problem, Run, Table};
use muster_proto::checkpoint::mix;
use proptest::prelude::*;

/// What a problem is drawn from.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sizes {
    pub(crate) tables: usize,
    pub(crate) nodes: usize,
    pub(crate) node_size: usize,
    pub(crate) phases: usize,
    pub(crate) classes: usize,
    /// Memory of a rank as a share of what all tables need, over ranks.
    pub(crate) room: f64,
}

/// Sizes that a brute force can take.
pub(crate) fn small() -> impl Strategy<Value = (Sizes, u64)> {
    let sizes = (1..=4usize, 1..=2usize, 1..=2usize, 1..=2usize, 1..=2usize, 1.0..4.0f64);
    (sizes, any::<u64>()).prop_map(|((tables, nodes, node_size, phases, classes, room), seed)| {
        (Sizes { tables, nodes, node_size, phases, classes, room }, seed)
    })
}

/// Sizes beyond a brute force.
pub(crate) fn large() -> impl Strategy<Value = (Sizes, u64)> {
    let sizes = (1..=40usize, 1..=4usize, 1..=4usize, 1..=3usize, 1..=3usize, 1.2..6.0f64);
    (sizes, any::<u64>()).prop_map(|((tables, nodes, node_size, phases, classes, room), seed)| {
        (Sizes { tables, nodes, node_size, phases, classes, room }, seed)
    })
}

/// Numbers from a seed, in [0, 1).
pub(crate) struct Draw(u64);

impl Draw {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed | 1)
    }

    pub(crate) fn next(&mut self) -> f64 {
        // SplitMix64 (Steele, Lea, Flood 2014).
        let number = mix(self.0);
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        (number >> 11) as f64 / (1u64 << 53) as f64
    }
}

/// The cluster and tables of a seed.
pub(crate) fn parts(sizes: Sizes, seed: u64) -> (Cluster, Vec<Table>) {
    let mut draw = Draw::new(seed);
    let world_size = sizes.nodes * sizes.node_size;
    let mut needed = 0.0;
    let tables: Vec<Table> = (0..sizes.tables)
        .map(|idx| {
            let (cost, memory) = (0.1 + draw.next(), 1_000.0 * (0.1 + draw.next()));
            needed += memory;
            let mut piece = |name: &'static str, layout, pieces: usize, waste: f64, held: f64| {
                let speed = |slot: usize| 1.0 + (slot / sizes.phases) as f64;
                let costs = (0..sizes.classes * sizes.phases)
                    .map(|slot| cost * waste * (0.2 + draw.next()) * speed(slot) / pieces as f64);
                let run =
                    Run { pieces, cost: costs.collect(), memory: (memory * held / pieces as f64) as u64 };
                Choice { name: name.into(), layout, runs: vec![run] }
            };
            let options = vec![
                piece("table_wise", Layout::AnyRank, 1, 1.0, 1.0),
                piece("column_wise", Layout::AnyRank, 2, 1.2, 1.05),
                piece("table_column_wise", Layout::OneNode, 2, 1.1, 1.05),
                piece("table_row_wise", Layout::WholeNodes, sizes.node_size, 1.3, 1.1),
                piece("row_wise", Layout::EveryRank, world_size, 1.5, 1.1),
            ];
            Table { name: format!("t{idx:03}"), options, demand: Demand::default() }
        })
        .collect();
    let memory = (needed * sizes.room / world_size as f64).max(1.0) as u64;
    let devices = (0..world_size).map(|rank| Device { memory, class: rank % sizes.classes }).collect();
    (Cluster { devices, node_sizes: vec![sizes.node_size; sizes.nodes] }, tables)
}

/// The problem of a seed.
pub(crate) fn problem(sizes: Sizes, seed: u64) -> Problem {
    let (cluster, mut tables) = parts(sizes, seed);
    // Fewer ranks than classes leave a class out; costs are then for those that there are.
    let classes = 1 + cluster.devices.iter().map(|device| device.class).max().unwrap_or(0);
    for run in tables.iter_mut().flat_map(|table| &mut table.options).flat_map(|choice| &mut choice.runs) {
        run.cost = run.cost[..classes * sizes.phases].into();
    }
    Problem::new(cluster, sizes.phases, tables).unwrap()
}
