//! Problems that cannot be are refused with what is wrong and what to change.

use muster_core::planner::{
    Choice, Cluster, Demand, Device, Effort, Error, Layout, Placement, Problem, Run, Table, plan, verify,
};

fn table(name: &str, cost: f64, memory: u64) -> Table {
    let run = Run { pieces: 1, cost: [cost].into(), memory };
    let options = vec![Choice { name: "table_wise".into(), layout: Layout::AnyRank, runs: vec![run] }];
    Table { name: name.to_owned(), options, demand: Demand::default() }
}

fn refused(cluster: Cluster, tables: Vec<Table>) -> Error {
    match Problem::new(cluster, 1, tables) {
        Err(error) => error,
        Ok(problem) => plan(&problem, Effort::default()).unwrap_err(),
    }
}

fn two_ranks() -> Cluster {
    Cluster::uniform(2, 2, 100).unwrap()
}

#[test]
fn a_cluster_without_devices_or_with_ranks_that_fill_no_nodes_is_refused() {
    assert_eq!(Cluster::uniform(0, 8, 1), Err(Error::NoDevices));
    assert_eq!(Cluster::uniform(8, 0, 1), Err(Error::NoDevices));
    let error = Cluster::uniform(12, 8, 1).unwrap_err();
    assert!(error.to_string().contains("world_size 12 is not a multiple of local_world_size 8"), "{error}");
    let nodes = Cluster { devices: vec![Device { memory: 1, class: 0 }; 3], node_sizes: vec![2, 2] };
    assert_eq!(refused(nodes, Vec::new()), Error::NodeSizes { sum: 4, world_size: 3 });
}

#[test]
fn a_table_larger_than_each_rank_is_named_with_the_bytes_missing() {
    let error = refused(two_ranks(), vec![table("small", 1.0, 10), table("huge", 1.0, 160)]);
    assert_eq!(error, Error::TableTooLarge { table: "huge".into(), missing: 60 });
}

#[test]
fn tables_larger_than_all_memory_are_named_with_the_bytes_missing() {
    let tables = vec![table("a", 1.0, 90), table("b", 1.0, 95), table("c", 1.0, 40)];
    let error = refused(two_ranks(), tables);
    assert_eq!(error, Error::TooLarge { table: "b".into(), needed: 225, available: 200, missing: 25 });
}

#[test]
fn tables_that_fit_by_their_sum_but_in_no_placement_are_proved_not_to_fit() {
    let error = refused(two_ranks(), vec![table("a", 1.0, 60), table("b", 1.0, 60), table("c", 1.0, 60)]);
    assert!(matches!(error, Error::Exhausted { .. }), "{error}");
}

#[test]
fn costs_that_are_none_are_refused_by_table_and_option() {
    for cost in [f64::NAN, f64::INFINITY, -1.0] {
        let error = refused(two_ranks(), vec![table("a", cost, 1)]);
        assert!(
            matches!(&error, Error::BadCost { table, option, .. } if table == "a" && option == "table_wise")
        );
        assert!(error.to_string().contains("finite and not negative"), "{error}");
    }
}

#[test]
fn tables_without_options_or_of_one_name_are_refused() {
    let empty = Table { options: Vec::new(), ..table("a", 1.0, 1) };
    assert_eq!(refused(two_ranks(), vec![empty]), Error::NoOptions { table: "a".into() });
    let twice = vec![table("a", 1.0, 1), table("b", 1.0, 1), table("a", 1.0, 1)];
    assert_eq!(refused(two_ranks(), twice), Error::DuplicateTable { table: "a".into() });
}

#[test]
fn pieces_that_a_layout_cannot_place_are_refused() {
    let mut wide = table("a", 1.0, 1);
    wide.options[0].layout = Layout::EveryRank;
    let error = refused(two_ranks(), vec![wide]);
    assert!(error.to_string().contains("has 1 pieces; its layout needs 2, one a rank"), "{error}");
}

#[test]
fn demands_that_contradict_each_other_are_refused() {
    let demand = |only: &[&str], forbid: &[&str], ranks: &[usize]| {
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let demand = Demand { only: names(only), forbid: names(forbid), ranks: ranks.to_vec() };
        refused(two_ranks(), vec![Table { demand, ..table("a", 1.0, 1) }])
    };
    assert_eq!(demand(&["table_wise"], &["table_wise"], &[]), Error::Contradiction { table: "a".into() });
    assert!(demand(&["rowwise"], &[], &[]).to_string().contains("it has: table_wise"));
    assert!(demand(&[], &[], &[2]).to_string().contains("ranks are 0 to 1"));
}

#[test]
fn a_pinned_table_lies_where_it_is_pinned() {
    let pinned = Demand { ranks: vec![1], ..Demand::default() };
    let tables = vec![Table { demand: pinned, ..table("a", 1.0, 1) }, table("b", 1.0, 1)];
    let problem = Problem::new(two_ranks(), 1, tables).unwrap();
    let found = plan(&problem, Effort::default()).unwrap();
    assert_eq!(found.placements[0], Placement { option: 0, ranks: vec![1] });
    assert_eq!(found.placements[1], Placement { option: 0, ranks: vec![0] });
    assert_eq!(verify(&problem, &found), Ok(()));
}

#[test]
fn no_tables_cost_nothing() {
    let problem = Problem::new(two_ranks(), 1, Vec::new()).unwrap();
    let found = plan(&problem, Effort::default()).unwrap();
    assert_eq!((found.cost, found.bound, found.gap()), (0.0, 0.0, 0.0));
}
