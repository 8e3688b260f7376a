//! Plans after plans: nothing moves without a reason, and no step gets longer than the tolerance allows.

use std::collections::BTreeMap;

use muster_core::capacity::{Placement, Wish, place, place_as};
use muster_core::cost::{Cluster, Constants, Layout, Table, Workload, layout};
use muster_core::planner::Moves;
use muster_proto::capacity::{CapacitySpec, DenseSpec, TableSpec, device};
use proptest::prelude::*;

fn workload(tables: &[TableSpec]) -> Workload {
    let text = "name = \"q\"\n[[pools]]\nname = \"p\"\ndevice = \"h100_sxm\"\nnodes = 1\n[run]\nbatch = 65536\nsamples = 1\n";
    let spec: CapacitySpec = muster_proto::config::parse(text, "q.toml", &[]).unwrap();
    let dense = DenseSpec { mlps: vec![vec![512, 256, 1]], ..DenseSpec::default() };
    Workload::new(tables, &dense, &spec.run, Constants::default())
}

fn present(workload: &Workload, placed: &Placement) -> BTreeMap<String, (String, Vec<u32>)> {
    let of = |ranks: &[usize]| ranks.iter().map(|rank| *rank as u32).collect();
    let tables = workload.tables.iter().zip(&placed.tables);
    tables.map(|(table, (layout, ranks))| (table.name.clone(), (layout.name(), of(ranks)))).collect()
}

fn nodes(nodes: u32) -> Cluster {
    Cluster::new(*device::device("h100_sxm").unwrap(), nodes, 8)
}

#[test]
fn a_plan_after_itself_moves_nothing_though_copies_on_every_rank_look_cheap_without_their_sums() {
    let tables: Vec<TableSpec> =
        (0..26).map(|idx| TableSpec::new(format!("t{idx}"), 1_000_000, 128, vec![1.0])).collect();
    let workload = workload(&tables);
    let first = place(&workload, &nodes(8)).unwrap();
    for tolerance in [0.0, 0.05] {
        let wish = Wish { present: present(&workload, &first), tolerance, ..Wish::default() };
        let (again, moves) = place_as(&workload, &nodes(8), &wish).unwrap();
        assert_eq!(moves, Some(Moves::default()));
        assert_eq!(again.step, first.step);
    }
}

fn read(text: &str) -> (CapacitySpec, Workload) {
    let head =
        "name = \"q\"\n[run]\nbatch = 4096\nsamples = 1\n[[pools]]\nname = \"p\"\ndevice = \"h100_sxm\"\n";
    let spec: CapacitySpec = muster_proto::config::parse(&format!("{head}{text}"), "q.toml", &[]).unwrap();
    let workload = Workload::from_spec(&spec);
    (spec, workload)
}

#[test]
fn rows_over_fewer_ranks_are_other_rows_and_move() {
    let (_, workload) =
        read("nodes = 4\n[[tables]]\nname = \"t\"\nrows = 100000000\ndim = 128\nlayouts = [\"row_wise\"]\n");
    let first = place(&workload, &nodes(4)).unwrap();
    let wish = Wish { present: present(&workload, &first), ..Wish::default() };
    let (_, moves) = place_as(&workload, &nodes(2), &wish).unwrap();
    assert_eq!(moves.unwrap().pieces, 16);
}

#[test]
fn what_lies_there_is_left_where_it_no_longer_fits_the_hosts() {
    let tables: String = (0..16)
        .map(|idx| {
            format!("[[tables]]\nname = \"t{idx}\"\nrows = 10000000\ndim = 64\ndevice_cache = \"64MiB\"\nlayouts = [\"table_wise\"]\n")
        })
        .collect();
    let crowded = |memory: &str| {
        let (spec, workload) = read(&format!("nodes = 2\nhost_memory = \"{memory}\"\n{tables}"));
        let cluster =
            muster_core::capacity::answer::cluster(&spec.pools[0], spec.pools[0].device().unwrap(), 2);
        (workload, cluster)
    };
    // All tables on the first host: 82 GB of rows and optimizer state.
    let table = |idx: u32| (format!("t{idx}"), ("table_wise".to_owned(), vec![idx % 8]));
    let present: BTreeMap<_, _> = (0..16).map(table).collect();
    let wish = Wish { present, tolerance: 10.0, ..Wish::default() };
    let (workload, roomy) = crowded("100GB");
    assert_eq!(place_as(&workload, &roomy, &wish).unwrap().1, Some(Moves::default()));
    let (workload, tight) = crowded("60GB");
    let (found, moves) = place_as(&workload, &tight, &wish).unwrap();
    assert!(found.fullest_host(&tight) <= 60e9 && moves.unwrap().pieces > 0);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn a_plan_after_one_for_fewer_tables_keeps_the_tolerance_and_moves_no_more_than_a_fresh_one(
        sizes in proptest::collection::vec((1_000_u64..3_000_000, 1_u32..17, 1.0..40.0_f64), 2..10),
        tolerance in 0.0..0.3_f64
    ) {
        let tables: Vec<TableSpec> = sizes
            .iter()
            .enumerate()
            .map(|(idx, (rows, dim, pooling))| TableSpec::new(format!("t{idx}"), *rows, dim * 8, vec![*pooling]))
            .collect();
        let fewer = workload(&tables[..tables.len() - 1]);
        let before = present(&fewer, &place(&fewer, &nodes(2)).unwrap());
        let all = workload(&tables);
        let fresh = place(&all, &nodes(2)).unwrap();
        let wish = Wish { present: before.clone(), tolerance, ..Wish::default() };
        let (found, moves) = place_as(&all, &nodes(2), &wish).unwrap();
        prop_assert!(found.step.seconds <= fresh.step.seconds * (1.0 + tolerance) * (1.0 + 1e-12));
        let moves = moves.unwrap();
        // Counted again: pieces that come to a rank which has not the same piece of the same layout.
        let bytes = |placed: &Placement| -> u128 {
            let of_table = |((layout, ranks), table): (&(Layout, Vec<usize>), &Table)| -> u128 {
                let option = layout::option(table, *layout, &nodes(2), &all.setting);
                let old = before.get(&table.name);
                let old = old.filter(|(name, old)| *name == layout.name() && old.len() == ranks.len());
                let stays = |idx: usize, rank: usize| old.is_some_and(|(_, old)| old[idx] as usize == rank);
                let pieces = option.pieces.iter().zip(ranks).enumerate();
                let moved = pieces.filter(|(idx, (_, rank))| !stays(*idx, **rank));
                moved.map(|(_, (piece, _))| piece.memory.ceil() as u128).sum()
            };
            placed.tables.iter().zip(&all.tables).map(of_table).sum()
        };
        prop_assert_eq!(moves.bytes, bytes(&found));
        prop_assert!(moves.bytes <= bytes(&fresh), "{:?} against {}", moves, bytes(&fresh));
    }
}
