//! What holds for all sizes: more rows take more memory, faster links no more time, curves never fall.

use muster_core::capacity::place;
use muster_core::capacity::scores::kendall_tau;
use muster_core::cost::{Calibration, Cluster, Constants, Layout, Phases, Table, Workload, layout, step};
use muster_proto::capacity::{DenseSpec, Device, RunSpec, TableSpec, device};
use proptest::prelude::*;

fn run(batch: u64) -> RunSpec {
    let text = format!("batch = {batch}\nsamples = 1000000\nsoftware = \"muster\"");
    RunSpec::deserialize_text(&text)
}

/// Specs are read as files have them, so that defaults are those of users.
trait FromText {
    fn deserialize_text(text: &str) -> Self;
}

impl FromText for RunSpec {
    fn deserialize_text(text: &str) -> Self {
        let whole = format!(
            "name = \"q\"\n[[pools]]\nname = \"p\"\ndevice = \"h100_sxm\"\nnodes = 1\n[run]\n{text}\n"
        );
        muster_proto::config::parse::<muster_proto::capacity::CapacitySpec>(&whole, "q", &[]).unwrap().run
    }
}

fn workload(tables: &[TableSpec], batch: u64) -> Workload {
    let dense = DenseSpec { mlps: vec![vec![512, 256, 1]], ..DenseSpec::default() };
    Workload::new(tables, &dense, &run(batch), Constants::default())
}

fn h100() -> Device {
    *device::device("h100_sxm").unwrap()
}

fn tables() -> impl Strategy<Value = Vec<TableSpec>> {
    let table = (1_u64..3_000_000, 1_u32..17, 1.0..40.0_f64, 0.0..1.5_f64);
    proptest::collection::vec(table, 1..12).prop_map(|all| {
        let table = |(idx, (rows, dim, pooling, zipf)): (usize, (u64, u32, f64, f64))| {
            let mut table = TableSpec::new(format!("t{idx}"), rows, dim * 8, vec![pooling]);
            table.zipf = zipf;
            table
        };
        all.into_iter().enumerate().map(table).collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn more_rows_never_take_less_memory_in_any_layout(rows in 1_u64..1_000_000_000, more in 1_u64..1_000_000_000) {
        let cluster = Cluster::new(h100(), 2, 8);
        let of = |rows: u64| {
            let spec = TableSpec::new("t", rows, 64, vec![3.0]);
            let setting = workload(std::slice::from_ref(&spec), 4096).setting;
            layout::options(&Table::from(&spec), &cluster, &setting)
        };
        for (less, more) in of(rows).iter().zip(of(rows + more)) {
            prop_assert_eq!(less.layout, more.layout);
            for (a, b) in less.pieces.iter().zip(more.pieces.iter()) {
                prop_assert!(a.memory <= b.memory, "{:?}: {} {}", less.layout, a.memory, b.memory);
            }
        }
    }

    #[test]
    fn faster_links_never_make_a_layouts_piece_slower(
        tables in tables(), factor in 1.0..8.0_f64, network in 1.0..8.0_f64
    ) {
        let mut fast = h100();
        for curve in [&mut fast.links.all_to_all, &mut fast.links.all_reduce, &mut fast.links.reduce_scatter] {
            curve.rate *= factor;
        }
        fast.network_rate *= network;
        let workload = workload(&tables, 8192);
        let options = |device| {
            let cluster = Cluster::new(device, 2, 8);
            workload.tables.iter().flat_map(|t| layout::options(t, &cluster, &workload.setting)).collect::<Vec<_>>()
        };
        for (slow, fast) in options(h100()).iter().zip(options(fast)) {
            for (a, b) in slow.pieces.iter().zip(fast.pieces.iter()) {
                prop_assert!(b.cost.sum() <= a.cost.sum());
            }
        }
    }

    #[test]
    fn a_placement_never_gets_slower_with_faster_links(tables in tables(), factor in 1.0..8.0_f64, network in 1.0..8.0_f64) {
        let mut fast = h100();
        for curve in [&mut fast.links.all_to_all, &mut fast.links.all_reduce, &mut fast.links.reduce_scatter] {
            curve.rate *= factor;
        }
        fast.network_rate *= network;
        let workload = workload(&tables, 8192);
        let slow = place(&workload, &Cluster::new(h100(), 2, 8)).unwrap();
        let cluster = Cluster::new(fast, 2, 8);
        let mut loads = vec![Phases::default(); 16];
        for ((layout, ranks), table) in slow.tables.iter().zip(&workload.tables) {
            let option = layout::option(table, *layout, &cluster, &workload.setting);
            for (rank, piece) in ranks.iter().zip(option.pieces.iter()) {
                loads[*rank] += piece.cost;
            }
        }
        let fast = step::step_time(&workload, &loads, &cluster);
        prop_assert!(fast.seconds <= slow.step.seconds * (1.0 + 1e-12), "{} {}", fast.seconds, slow.step.seconds);
    }

    #[test]
    fn every_piece_lies_on_a_rank_and_the_step_is_no_shorter_than_the_longest_rank(tables in tables(), nodes in 1_u32..4) {
        let cluster = Cluster::new(h100(), nodes, 8);
        let workload = workload(&tables, 8192);
        let placed = place(&workload, &cluster).unwrap();
        for ((layout, ranks), table) in placed.tables.iter().zip(&workload.tables) {
            let option = layout::option(table, *layout, &cluster, &workload.setting);
            prop_assert_eq!(option.pieces.len(), ranks.len(), "{:?}", layout);
            prop_assert!(ranks.iter().all(|rank| *rank < cluster.world_size as usize));
            let mut distinct = ranks.clone();
            distinct.sort_unstable();
            distinct.dedup();
            // Columns may meet on a rank, other pieces may not.
            let meet = matches!(layout, Layout::ColumnWise(_));
            prop_assert!(distinct.len() == ranks.len() || meet, "{:?}: {:?}", layout, ranks);
        }
        let (bound, _) = placed.bound.unwrap();
        prop_assert!(bound > 0.0 && bound <= placed.step.seconds, "{} {}", bound, placed.step.seconds);
        prop_assert!(placed.step.max_of_sums <= placed.step.seconds * (1.0 + 1e-12));
        prop_assert_eq!(placed, place(&workload, &cluster).unwrap());
    }

    #[test]
    fn a_calibrated_curve_never_falls(
        points in proptest::collection::vec((1.0..1e9_f64, 1e-6..1e3_f64), 2..20), a in 0.1..1e10_f64, b in 0.1..1e10_f64
    ) {
        if let Ok(curve) = Calibration::new(&points) {
            let (low, high) = (curve.predict(a.min(b)), curve.predict(a.max(b)));
            prop_assert!(low.seconds <= high.seconds * (1.0 + 1e-9), "{} {}", low.seconds, high.seconds);
        }
    }

    #[test]
    fn kendalls_tau_stays_within_its_bounds(pairs in proptest::collection::vec((0.0..9.0_f64, 0.0..9.0_f64), 0..30)) {
        let rounded: Vec<(f64, f64)> = pairs.iter().map(|(a, b)| (a.round(), b.round())).collect();
        prop_assert!((-1.0..=1.0).contains(&kendall_tau(&pairs)) && (-1.0..=1.0).contains(&kendall_tau(&rounded)));
    }
}

#[test]
fn a_calibration_gives_its_own_points_and_flags_what_lies_beyond() {
    let curve = Calibration::new(&[(10.0, 1.0), (1000.0, 10.0)]).unwrap();
    assert!(
        (curve.predict(100.0).seconds - 10f64.sqrt()).abs() < 1e-12 && !curve.predict(100.0).extrapolated
    );
    assert!((curve.predict(1000.0).seconds - 10.0).abs() < 1e-12);
    assert!(curve.predict(1001.0).extrapolated && curve.predict(9.0).extrapolated);
    assert_eq!(curve.predict(1.0).seconds, 1.0);
    assert!(Calibration::new(&[(5.0, 1.0), (5.0, 2.0)]).is_err());
}

#[test]
fn equal_orders_have_a_tau_of_one_and_opposite_ones_of_minus_one() {
    assert_eq!(kendall_tau(&[(1.0, 2.0), (2.0, 3.0), (5.0, 9.0)]), 1.0);
    assert_eq!(kendall_tau(&[(1.0, 9.0), (2.0, 3.0), (5.0, 1.0)]), -1.0);
}

#[test]
fn rows_held_by_all_owners_of_a_layout_are_the_table_once() {
    let cluster = Cluster::new(h100(), 2, 8);
    let spec = TableSpec::new("t", 1_000_000_000, 64, vec![1.0]);
    let setting = workload(std::slice::from_ref(&spec), 16).setting;
    for layout in
        [Layout::TableWise, Layout::ColumnWise(4), Layout::RowWise, Layout::TableRowWise, Layout::Grid(2)]
    {
        let option = layout::option(&Table::from(&spec), layout, &cluster, &setting);
        let bytes: f64 = option.pieces.iter().map(|piece| piece.memory).sum();
        assert!((bytes / spec.bytes() - 1.0).abs() < 1e-4, "{layout:?}: {bytes}");
    }
}
