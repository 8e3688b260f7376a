//! The bound of a step against every placement there is, where there are few.

use muster_core::capacity::place;
use muster_core::cost::{
    Calibration, Cluster, Constants, LayoutOption, Phases, Span, Workload, layout, step,
};
use muster_proto::capacity::{CapacitySpec, DenseSpec, Phase, TableSpec, device};
use proptest::prelude::*;

fn workload(tables: &[TableSpec]) -> Workload {
    let text = "name = \"q\"\n[[pools]]\nname = \"p\"\ndevice = \"a100_sxm\"\nnodes = 1\n[run]\nbatch = 16384\nsamples = 1\n";
    let spec: CapacitySpec = muster_proto::config::parse(text, "q.toml", &[]).unwrap();
    let dense = DenseSpec { mlps: vec![vec![64, 1]], ..DenseSpec::default() };
    Workload::new(tables, &dense, &spec.run, Constants::default())
}

/// The shortest step of all placements on two ranks.
fn shortest(
    workload: &Workload,
    options: &[Vec<LayoutOption>],
    cluster: &Cluster,
    loads: &[Phases; 2],
) -> f64 {
    let Some((first, rest)) = options.split_first() else {
        return step::step_time(workload, loads, cluster).seconds;
    };
    let mut least = f64::INFINITY;
    for option in first {
        let pieces = option.pieces.len();
        let lists: Vec<Vec<usize>> = match option.span {
            Span::Rank => {
                (0..1_usize << pieces).map(|bits| (0..pieces).map(|p| bits >> p & 1).collect()).collect()
            }
            Span::Node | Span::All => vec![vec![0, 1]],
        };
        for ranks in lists {
            let mut loads = *loads;
            for (rank, piece) in ranks.iter().zip(option.pieces.iter()) {
                loads[*rank] += piece.cost;
            }
            least = least.min(shortest(workload, rest, cluster, &loads));
        }
    }
    least
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn no_placement_has_a_shorter_step_than_the_bound_whatever_was_measured(
        sizes in proptest::collection::vec((1_000_u64..30_000_000, 1_u32..9, 1.0..200.0_f64), 1..5),
        phase in 0_usize..6,
        (from, ratio, factor, rises) in (1e-5..1e-2_f64, 0.05..3.0_f64, 1.5..50.0_f64, 0.05..3.0_f64),
        is_measured in proptest::bool::ANY
    ) {
        let tables: Vec<TableSpec> = sizes
            .iter()
            .enumerate()
            .map(|(idx, (rows, dim, pooling))| TableSpec::new(format!("t{idx}"), *rows, dim * 8, vec![*pooling]))
            .collect();
        let mut workload = workload(&tables);
        if is_measured {
            let phases = [
                Phase::InputExchange, Phase::Lookup, Phase::ForwardExchange, Phase::BackwardExchange, Phase::TableUpdate, Phase::AllReduce,
            ];
            let points = [(from, from * ratio), (from * factor, from * ratio * (1.0 + (factor - 1.0) * rises))];
            workload.calibrations.push((phases[phase], Calibration::new(&points).unwrap()));
        }
        let cluster = Cluster::new(*device::device("a100_sxm").unwrap(), 1, 2);
        let options: Vec<Vec<LayoutOption>> =
            workload.tables.iter().map(|table| layout::options(table, &cluster, &workload.setting)).collect();
        let placed = place(&workload, &cluster).unwrap();
        let least = shortest(&workload, &options, &cluster, &[Phases::default(); 2]);
        let (bound, proof) = placed.bound.unwrap();
        prop_assert!(bound <= least * (1.0 + 1e-9), "{bound} by {proof:?}, but one takes {least}");
        prop_assert!(placed.step.seconds >= least * (1.0 - 1e-12));
    }
}
