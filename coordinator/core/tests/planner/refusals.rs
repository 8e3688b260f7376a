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
    // The third lacks 20 on either rank.
    assert_eq!(error, Error::Exhausted { table: "c".into(), missing: 20 });
}

#[test]
fn pins_to_a_rank_that_is_too_small_name_the_ranks_and_the_bytes_missing() {
    let pinned = |name: &str, memory: u64, ranks: &[usize]| Table {
        demand: Demand { ranks: ranks.to_vec(), ..Demand::default() },
        ..table(name, 1.0, memory)
    };
    let tables = vec![pinned("a", 60, &[0]), pinned("b", 70, &[0]), table("c", 1.0, 10)];
    let error = refused(two_ranks(), tables);
    let expected = Error::Pinned { table: "b".into(), ranks: vec![0], needed: 130, available: 100 };
    assert_eq!(error, expected);
    assert!(
        error.to_string().contains("30 bytes are missing, `b` is the largest; pin to more ranks"),
        "{error}"
    );
    // Two sets, one within the other.
    let four = Cluster::uniform(4, 4, 100).unwrap();
    let tables = vec![pinned("a", 90, &[0]), pinned("b", 90, &[1, 0]), pinned("c", 90, &[1, 0])];
    assert!(matches!(refused(four, tables), Error::Pinned { needed: 270, available: 200, .. }));
}

#[test]
fn many_tables_that_fit_by_their_sum_only_are_not_searched_to_the_end() {
    let tables = (0..15_001).map(|idx| table(&format!("t{idx:05}"), 1.0, 2)).collect();
    let error = refused(Cluster::uniform(2, 2, 15_001).unwrap(), tables);
    assert!(matches!(error, Error::NotFound { missing: 1, .. }), "{error}");
}

#[test]
fn an_option_of_an_absurd_cost_does_not_blur_the_others() {
    let tables = (0..5).map(|idx| {
        let mut table = table(&format!("t{idx}"), 0.3 + f64::from(idx) * 0.1, 50);
        let run = Run { pieces: 1, cost: [1e99].into(), memory: 1 };
        table.options.push(Choice { name: "last_resort".into(), layout: Layout::AnyRank, runs: vec![run] });
        table
    });
    let cluster = Cluster::uniform(2, 2, 150).unwrap();
    let problem = Problem::new(cluster, 1, tables.collect()).unwrap();
    let found = plan(&problem, Effort::default()).unwrap();
    // 0.3 + 0.4 + 0.5 on one rank, 0.6 + 0.7 on the other; no other split has a lower peak.
    assert!((found.cost - 1.3).abs() < 1e-12 && found.bound > 1.3 - 1e-9, "{} {}", found.cost, found.bound);
}

#[test]
fn an_option_in_thousands_of_chosen_pieces_ends_within_its_work() {
    let run = Run { pieces: 4001, cost: [1.0].into(), memory: 1 };
    let options = vec![Choice { name: "column_wise".into(), layout: Layout::AnyRank, runs: vec![run] }];
    let wide = Table { name: "a".into(), options, demand: Demand::default() };
    let problem = Problem::new(Cluster::uniform(2, 2, 10_000).unwrap(), 1, vec![wide]).unwrap();
    let found = plan(&problem, Effort::default()).unwrap();
    assert!(found.cost == 2001.0 && found.bound <= 2001.0, "{found:?}");
}

#[test]
fn costs_that_are_none_are_refused_by_table_and_option() {
    for cost in [f64::NAN, f64::INFINITY, -1.0, 1e200] {
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
