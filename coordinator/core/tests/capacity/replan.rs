//! Plans after plans: nothing moves without a reason, and no step gets longer than the tolerance allows.

use std::collections::BTreeMap;

use muster_core::capacity::{Placement, Wish, place, place_as};
use muster_core::cost::{Cluster, Constants, Workload};
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
        let of_fresh = fresh.tables.iter().zip(&all.tables).map(|((layout, ranks), table)| {
            let old = before.get(&table.name).filter(|(name, _)| *name == layout.name());
            let stays = |idx: usize, rank: usize| old.is_some_and(|(_, old)| old.get(idx) == Some(&(rank as u32)));
            ranks.iter().enumerate().filter(|(idx, rank)| !stays(*idx, **rank)).count()
        });
        prop_assert!(moves.bytes == 0 || moves.pieces > 0);
        if of_fresh.sum::<usize>() == 0 {
            prop_assert_eq!(moves, Moves::default());
        }
    }
}
