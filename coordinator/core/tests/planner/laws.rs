//! Laws that hold for every problem.

use muster_core::planner::{
    Choice, Cluster, Demand, Effort, Error, Fault, Layout, Problem, Proof, Run, Table, plan, verify,
};
use proptest::prelude::*;

use crate::brute;
use crate::random::{self, Sizes, large, small};

fn cases(cases: u32) -> ProptestConfig {
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

fn close(a: f64, b: f64) -> bool {
    (a - b).abs() <= 1e-9 * a.abs().max(b.abs())
}

proptest! {
    #![proptest_config(cases(100))]

    #[test]
    fn a_small_problem_gets_the_optimum_that_trying_everything_finds((sizes, seed) in small()) {
        let problem = random::problem(sizes, seed);
        match (plan(&problem, Effort::default()), brute::optimum(&problem)) {
            (Ok(found), Some(optimum)) => {
                prop_assert_eq!(verify(&problem, &found), Ok(()));
                prop_assert!(close(found.cost, optimum), "{} is not {}", found.cost, optimum);
                prop_assert!(found.bound <= optimum * (1.0 + 1e-9), "{} is above {}", found.bound, optimum);
                prop_assert!(found.gap() < 1e-5);
            }
            (Err(error), None) => prop_assert!(!matches!(error, Error::NotFound { .. }), "{}", error),
            (found, optimum) => prop_assert!(false, "{found:?}, but {optimum:?}"),
        }
    }

    #[test]
    fn more_memory_never_makes_the_optimum_worse((sizes, seed) in small()) {
        let cost = |room| plan(&random::problem(Sizes { room, ..sizes }, seed), Effort::default());
        if let Ok(less) = cost(sizes.room) {
            let more = cost(sizes.room * 1.5).unwrap();
            prop_assert!(more.cost <= less.cost * (1.0 + 1e-9), "{} with more, {} with less", more.cost, less.cost);
            prop_assert!(more.bound <= less.bound * (1.0 + 1e-9), "{} with more, {} with less", more.bound, less.bound);
        }
    }

    #[test]
    fn one_more_device_never_makes_the_optimum_worse((sizes, seed) in small()) {
        let (cluster, mut tables) = random::parts(Sizes { phases: 1, classes: 1, ..sizes }, seed);
        // Tables that have a piece on every rank are another problem on more ranks.
        tables.iter_mut().for_each(|table| table.options.retain(|choice| choice.layout == Layout::AnyRank));
        let with = |more: usize| {
            let memory = cluster.devices[0].memory;
            let grown = Cluster::uniform(cluster.devices.len() + more, 1, memory).unwrap();
            plan(&Problem::new(grown, 1, tables.clone()).unwrap(), Effort::default())
        };
        if let Ok(few) = with(0) {
            let many = with(1).unwrap();
            prop_assert!(many.cost <= few.cost * (1.0 + 1e-9), "{} with more, {} with fewer", many.cost, few.cost);
            prop_assert!(many.bound <= few.bound * (1.0 + 1e-9), "{} with more, {} with fewer", many.bound, few.bound);
        }
    }
}

proptest! {
    #![proptest_config(cases(24))]

    #[test]
    fn a_plan_always_holds_and_never_costs_less_than_its_bound((sizes, seed) in large()) {
        let problem = random::problem(sizes, seed);
        match plan(&problem, Effort::default()) {
            Ok(found) => {
                prop_assert_eq!(verify(&problem, &found), Ok(()));
                prop_assert!(found.bound <= found.cost);
            }
            Err(error) => prop_assert!(
                error.is_of_memory(),
                "{}", error
            ),
        }
    }

    #[test]
    fn the_order_of_tables_changes_nothing((sizes, seed) in large()) {
        let problem = random::problem(sizes, seed);
        let mut tables = problem.tables().to_vec();
        tables.reverse();
        let middle = tables.len() / 2;
        tables.rotate_left(middle);
        let turned = Problem::new(problem.cluster().clone(), sizes.phases, tables).unwrap();
        prop_assert_eq!(plan(&problem, Effort::default()), plan(&turned, Effort::default()));
    }

    #[test]
    fn one_thread_and_sixteen_make_the_same_plan((sizes, seed) in large()) {
        let problem = random::problem(sizes, seed);
        let on = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| plan(&problem, Effort::default()))
        };
        prop_assert_eq!(on(1), on(16));
    }
}

proptest! {
    #![proptest_config(cases(40))]

    #[test]
    fn no_bound_is_above_the_optimum_where_memory_differs_by_little_of_much(
        tables in proptest::collection::vec((1_u64..40, 1_u64..40, 1_u64..60), 30..140), share in 0.2..0.9_f64
    ) {
        // On one rank the cost is a sum, so the optimum is a knapsack's, solved exactly over the bytes above a terabyte each. With room
        // for the tables that gain most a byte, no share of a table is left over, and a bound has nothing to hide its rounding in.
        const BASE: u64 = 1_000_000_000_000;
        let mut tables = tables;
        tables.sort_by(|a, b| (b.2 * a.0).cmp(&(a.2 * b.0)));
        let best = (tables.len() as f64 * share) as usize;
        let room: u64 = tables[..best].iter().map(|(more, _, _)| more).sum();
        let memory = BASE * tables.len() as u64 + room;
        let choice = |name: &'static str, cost: u64, memory: u64| Choice {
            name: name.into(),
            layout: Layout::AnyRank,
            runs: vec![Run { pieces: 1, cost: [cost as f64].into(), memory }],
        };
        let table = |(idx, (more, cost, saved)): (usize, &(u64, u64, u64))| Table {
            name: format!("t{idx:03}"),
            options: vec![choice("small", cost + saved, BASE), choice("large", *cost, BASE + more)],
            demand: Demand::default(),
        };
        let all: Vec<Table> = tables.iter().enumerate().map(table).collect();
        let mut least = vec![0_u64; room as usize + 1];
        for (more, cost, saved) in &tables {
            least = (0..=room)
                .map(|held| {
                    let small = least[held as usize] + cost + saved;
                    held.checked_sub(*more).map_or(small, |before| small.min(least[before as usize] + cost))
                })
                .collect();
        }
        let optimum = least[room as usize] as f64;
        let found = plan(&Problem::new(Cluster::uniform(1, 1, memory).unwrap(), 1, all).unwrap(), Effort::default());
        let found = found.unwrap();
        prop_assert!(found.bound <= optimum, "{} by {:?} is above {optimum}", found.bound, found.proof);
        prop_assert!(found.cost >= optimum);
    }
}

#[test]
fn the_verifier_finds_each_kind_of_fault() {
    let sizes = Sizes { tables: 6, nodes: 2, node_size: 2, phases: 1, classes: 1, room: 3.0 };
    let problem = random::problem(sizes, 7);
    let good = plan(&problem, Effort::default()).unwrap();
    assert_eq!(verify(&problem, &good), Ok(()));

    let mut short = good.clone();
    short.placements.pop();
    assert_eq!(verify(&problem, &short), Err(Fault::Tables { found: 5, wanted: 6 }));

    let mut cheap = good.clone();
    cheap.cost *= 0.5;
    assert!(matches!(verify(&problem, &cheap), Err(Fault::Cost { .. })));

    let mut high = good.clone();
    high.bound = high.cost * 1.1;
    assert!(matches!(verify(&problem, &high), Err(Fault::Cost { .. })));

    let mut unknown = good.clone();
    unknown.placements[0].option = 99;
    assert!(matches!(verify(&problem, &unknown), Err(Fault::Option { option: 99, .. })));

    let mut twice = good.clone();
    twice.placements[0].option = 1;
    twice.placements[0].ranks = vec![0, 1, 2];
    assert!(matches!(verify(&problem, &twice), Err(Fault::Pieces { .. })));

    let mut heavy = good;
    for placement in &mut heavy.placements {
        placement.option = 0;
        placement.ranks = vec![0];
    }
    assert!(matches!(verify(&problem, &heavy), Err(Fault::Memory { rank: 0, .. })));
}

#[test]
fn exhaustion_says_that_it_was_the_proof() {
    let sizes = Sizes { tables: 4, nodes: 2, node_size: 2, phases: 1, classes: 1, room: 4.0 };
    let found = plan(&random::problem(sizes, 3), Effort::default()).unwrap();
    assert_eq!((found.proof, found.cost), (Proof::Exhausted, found.bound));
}
