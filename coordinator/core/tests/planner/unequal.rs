//! Problems that listing everything cannot take: tables in many unequal pieces, and tables that lie on every rank only.

use muster_core::planner::{Choice, Cluster, Demand, Effort, Layout, Problem, Run, Table, plan, verify};

/// Cost and memory of the pieces of three tables. A rank has room for two of the large ones.
const PIECES: [[(f64, u64); 8]; 3] = [
    [(2.16, 36), (4.96, 35), (3.27, 36), (5.11, 35), (4.66, 8), (4.54, 8), (3.66, 3), (4.98, 12)],
    [(5.76, 34), (5.51, 34), (5.57, 35), (1.74, 36), (5.38, 12), (3.91, 6), (3.42, 5), (2.0, 7)],
    [(3.71, 34), (4.22, 34), (3.38, 36), (3.63, 35), (5.57, 5), (2.86, 11), (3.1, 7), (2.53, 5)],
];

/// A plan of them on 8 ranks, found by annealing.
const KNOWN: [usize; 24] = [4, 4, 5, 7, 0, 6, 6, 4, 3, 1, 5, 0, 2, 6, 7, 0, 1, 2, 7, 0, 3, 1, 5, 2];

fn table(name: usize, options: Vec<Choice>) -> Table {
    Table { name: format!("t{name}"), options, demand: Demand::default() }
}

#[test]
fn a_list_of_placements_that_is_cut_proves_nothing() {
    let run = |(cost, memory): &(f64, u64)| Run { pieces: 1, cost: [*cost].into(), memory: *memory };
    let tables = PIECES.iter().enumerate().map(|(name, pieces)| {
        let runs = pieces.iter().map(run).collect();
        table(name, vec![Choice { name: "column_wise".into(), layout: Layout::AnyRank, runs }])
    });
    let cluster = Cluster::uniform(8, 8, 100).unwrap();
    let problem = Problem::new(cluster, 1, tables.collect()).unwrap();
    let mut on = [(0.0, 0); 8];
    for ((cost, memory), rank) in PIECES.as_flattened().iter().zip(KNOWN) {
        on[rank] = (on[rank].0 + cost, on[rank].1 + memory);
    }
    assert!(on.iter().all(|(_, memory)| *memory <= 100), "the known plan fits: {on:?}");
    let known = on.iter().map(|(cost, _)| *cost).fold(0.0, f64::max);
    let found = plan(&problem, Effort::default()).unwrap();
    assert_eq!(verify(&problem, &found), Ok(()));
    assert!(found.bound <= known + 1e-9, "{} is above the known {known}: {:?}", found.bound, found.proof);
}

#[test]
fn tables_that_lie_on_every_rank_only_are_planned_like_others() {
    let tables = (0..26).map(|name| {
        let run = |cost, memory| vec![Run { pieces: 8, cost: [cost].into(), memory }];
        let all = |text: &'static str, runs| Choice { name: text.into(), layout: Layout::EveryRank, runs };
        let cost = 1.0 + (name * 7 % 26) as f64 / 10.0;
        table(name, vec![all("data_parallel", run(cost, 80)), all("row_wise", run(1.5 * cost, 10))])
    });
    let tables: Vec<Table> = tables.collect();
    let within = |memory| {
        let cluster = Cluster::uniform(8, 8, memory).unwrap();
        plan(&Problem::new(cluster, 1, tables.clone()).unwrap(), Effort::default())
    };
    let found = within(1_000).unwrap();
    // Room for 260 bytes of row-wise pieces, and 740 more: ten tables may be whole.
    assert!(found.bound <= found.cost && found.bound > 0.0, "{found:?}");
    let all: f64 = (0..26).map(|name| 1.0 + f64::from(name * 7 % 26) / 10.0).sum();
    assert!(found.cost < 1.5 * all && found.cost > all, "{}", found.cost);
    assert!(within(200).is_err(), "26 pieces of 10 bytes do not fit into 200");
}
