//! Forecasts of steps on hosts, from calibrations of machines whose every term is a law that is known.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails where it stands")]

use std::collections::BTreeMap;
use std::time::Duration;

use muster_core::cost::host::{Curves, Error, Subject, forecast};
use muster_proto::capacity::Phase;
use muster_proto::job::{Head, JobSpec, OptimizerKind, OptimizerSpec};
use muster_proto::measured::calibration::VERSION;
use muster_proto::measured::{
    Calibration, Elapsed, Forecast, MicroShape, Point, RankShape, Resident, StepShape, Term, TermPoints,
    Workload,
};
use muster_proto::sharding::{ShardingPlan, TableDecl};
use muster_proto::units::ByteSize;

/// Rows of the item table.
const ROWS: u64 = 1_000_000;

const KINDS: [OptimizerKind; 2] = [OptimizerKind::Adam, OptimizerKind::LazyAdam];

/// A machine of two cores on which each unit of work of each term takes a microsecond, however many do the same; a term may
/// take longer with more ranks.
fn machine(slower: impl Fn(Term, u32) -> u64) -> Calibration {
    let of = |term: Term, optimizer: Option<OptimizerKind>| {
        let axes = term.axes().0.len();
        let mut points = Vec::new();
        for busy in [1, 2, 4] {
            for size in [100, 1000] {
                let time = Elapsed(Duration::from_micros(size * slower(term, busy)));
                points.push(Point { at: vec![1.0; axes], size: size as f64, busy, time });
                points.push(Point { at: vec![1e6; axes], size: size as f64, busy, time });
            }
        }
        TermPoints { term, optimizer, points }
    };
    let updates = [Term::UpdateAll, Term::UpdateRows];
    let plain = Term::ALL.into_iter().filter(|term| !updates.contains(term)).map(|term| of(term, None));
    let optimizers = updates.into_iter().flat_map(|term| KINDS.map(|kind| of(term, Some(kind))));
    Calibration {
        version: VERSION,
        machine: "laws".into(),
        cores: 2,
        date: "2026-11-28".into(),
        muster: "0".into(),
        build: "release".into(),
        transport: "auto".into(),
        process: ByteSize::from_mib(10),
        terms: plain.chain(optimizers).collect(),
        trials: Vec::new(),
    }
}

fn job() -> JobSpec {
    let mut job = JobSpec::default();
    job.model.embedding_dim = 16;
    job.model.hidden_size = 16;
    job.batch.micro_batches = 4;
    job.model.head = Head::SampledSoftmax { tied: true, bias: true, negatives: 30, alpha: 0.75, log_q: true };
    job.table_optimizer = Some(OptimizerSpec { kind: OptimizerKind::LazyAdam, ..OptimizerSpec::default() });
    job
}

fn workload(job: &JobSpec, world_size: u32) -> (Workload, ShardingPlan) {
    let rows = |column: &str| (column == "item").then_some(ROWS);
    let tables: Vec<TableDecl> = job.table_decls(rows, "item").unwrap();
    let plan = ShardingPlan::simple(&tables, job.batch.micro_batches, world_size).unwrap();
    let micro = MicroShape { alive: vec![10, 10, 5], rows: vec![20] };
    let ranks = vec![RankShape { rows: vec![60] }; world_size as usize];
    let step = StepShape { micro: vec![micro; job.batch.micro_batches as usize], ranks };
    let workload = Workload {
        world_size,
        tables,
        looked_up: vec![0],
        input: 16,
        parameters: 200,
        steps: vec![step],
        resident: vec![Resident::default(); world_size as usize],
        ..Workload::default()
    };
    (workload, plan)
}

fn on(calibration: &Calibration, job: &JobSpec, workers: u32, threads: usize) -> Result<Forecast, Error> {
    let (workload, plan) = workload(job, workers);
    forecast(&Subject { job, workload: &workload, plan: &plan, threads }, &Curves::new(calibration))
}

fn micros(seconds: f64) -> f64 {
    (seconds * 1e6 * 1e3).round() / 1e3
}

#[test]
fn each_phase_is_the_sum_of_its_terms() {
    let told = on(&machine(|_, _| 1), &job(), 1, 1).unwrap();
    // Per micro-batch of 25 tokens: rows laid out, two products each way, the recurrence each way; then 200 weights packed and
    // two starts of the threads.
    assert_eq!(micros(told.phase(Phase::Dense)), f64::from(4 * (25 * 5) + 200 + 2));
    // 100 ids sorted for the input, then with 60 of them 4 x (25 + 30) scored ones; 60 rows read.
    assert_eq!(micros(told.phase(Phase::Lookup)), f64::from(100 + 60 + 220 + 60));
    // One rank has nobody to exchange with.
    assert_eq!(told.phase(Phase::InputExchange) + told.phase(Phase::BackwardExchange), 0.0);
    assert_eq!(micros(told.phase(Phase::AllReduce)), 200.0);
    assert_eq!(told.layouts, BTreeMap::from([("item".to_owned(), "row_wise".to_owned())]));
}

#[test]
fn ranks_that_share_cores_share_what_they_compute() {
    let laws = machine(|_, _| 1);
    let dense = |workers, threads| {
        let told = on(&laws, &job(), workers, threads).unwrap();
        micros(told.phase(Phase::Dense)) - 202.0
    };
    let alone = dense(1, 1);
    assert_eq!(dense(1, 2), alone / 2.0);
    assert_eq!(dense(2, 1), alone / 2.0);
    assert_eq!(dense(4, 1), alone / 2.0, "four ranks have two cores");
}

#[test]
fn what_ranks_do_together_takes_as_long_as_it_took_so_many_ranks() {
    let laws = machine(|term, busy| if term == Term::SumGradients { u64::from(busy) } else { 1 });
    let sum = |workers| micros(on(&laws, &job(), workers, 1).unwrap().phase(Phase::AllReduce));
    assert_eq!((sum(1), sum(2), sum(4)), (200.0, 400.0, 800.0));
    // Between numbers that were measured, a straight line.
    assert_eq!(sum(3), 600.0);
}

#[test]
fn more_ranks_than_were_measured_are_told() {
    let mut job = job();
    job.batch.micro_batches = 8;
    let told = on(&machine(|_, _| 1), &job, 8, 1).unwrap();
    assert!(told.extrapolated.contains(&"sum_gradients".to_owned()), "{:?}", told.extrapolated);
    assert!(!told.extrapolated.contains(&"lstm_forward".to_owned()), "{:?}", told.extrapolated);
}

#[test]
fn a_term_that_was_not_measured_is_named() {
    let mut laws = machine(|_, _| 1);
    laws.terms.retain(|term| term.term != Term::LstmBackward);
    let message = on(&laws, &job(), 1, 1).unwrap_err().to_string();
    assert_eq!(
        message,
        "the calibration has no points of lstm_backward; measure again with muster calibrate"
    );
    let mut sgd = job();
    sgd.optimizer.kind = OptimizerKind::Sgd;
    let message = on(&machine(|_, _| 1), &sgd, 1, 1).unwrap_err().to_string();
    assert!(message.contains("update_all of sgd"), "{message}");
}

#[test]
fn a_rank_holds_its_share_of_the_tables_and_a_copy_of_a_neighbours() {
    let laws = machine(|_, _| 1);
    let mut job = job();
    job.tables.placement = BTreeMap::from([("item".to_owned(), muster_proto::sharding::Placement::RowWise)]);
    // Too short for a second copy.
    job.training.max_steps = Some(10);
    let peaks = |workers| on(&laws, &job, workers, 1).unwrap().peak_bytes;
    let (one, four) = (peaks(1), peaks(4));
    assert_eq!((one.len(), four.len()), (1, 4));
    // Weights and two moments of 17 values a row, and at the end all of it once more, with a shard that is being encoded.
    let weights = ROWS * 17 * 4;
    assert!((weights * 6..weights * 7).contains(&one[0]), "{one:?}");
    // A quarter of the tables with its moments, its copy and a neighbour's, and at the end once more with a shard that is encoded.
    assert!((weights * 3..weights * 4).contains(&four[1]), "{four:?}");
}
