//! Optimizers: updates of whole shards and of touched rows, and what goes before them.

use muster_proto::job::{OptimizerKind, OptimizerSpec};
use muster_proto::measured::{Elapsed, Point, Term};
use muster_proto::sharding::TableDecl;

use super::watch::Watch;
use super::{DistinctIds, Effort, Points, threads, values};
use crate::embedding::{Init, Shard, update_shard};

const KINDS: [OptimizerKind; 6] = [
    OptimizerKind::Sgd,
    OptimizerKind::Adam,
    OptimizerKind::AdamW,
    OptimizerKind::Adagrad,
    OptimizerKind::RowWiseAdagrad,
    OptimizerKind::LazyAdam,
];

pub(super) fn measure(effort: &Effort, points: &mut Points) {
    for busy in effort.levels() {
        for kind in KINDS {
            let mut add = |term, at: &[usize], size: usize, time| {
                let at = at.iter().map(|value| *value as f64).collect();
                let point = Point { at, size: size as f64, busy: busy as u32, time: Elapsed(time) };
                points.add(term, Some(kind), point);
            };
            for rows in effort.some(&[256, 4_096, 32_768, 131_072]) {
                let times = threads::run(busy, effort.time(), || whole(kind, rows));
                add(Term::UpdateAll, &[], rows * DIM, times[0]);
            }
            for dim in if kind.is_sparse() { effort.some(&WIDTHS) } else { Vec::new() } {
                for touched in [100, 2_000] {
                    let times = threads::run(busy, effort.time(), || some(kind, dim, touched));
                    add(Term::UpdateRows, &[dim], touched, times[0]);
                }
            }
        }
        for rows in effort.some(&[256, 4_096, 32_768, 131_072]) {
            let times = threads::run(busy, effort.time(), || densify(rows));
            points.point(Term::Densify, (&[], rows * DIM, busy), times[0]);
        }
        for dim in effort.some(&WIDTHS) {
            for touched in [100, 2_000] {
                let times = threads::run(busy, effort.time(), || added(dim, touched));
                points.point(Term::AddRows, (&[dim], touched, busy), times[0]);
            }
        }
    }
}

/// Columns of the shards whose all values are updated; only their number counts.
const DIM: usize = 32;

/// Columns of shards whose rows are updated.
const WIDTHS: [usize; 4] = [8, 32, 128, 512];
/// Rows of a shard for each one that is touched.
const SPARSE: usize = 16;

fn shard(kind: OptimizerKind, rows: usize, dim: usize) -> Shard {
    let decl = TableDecl {
        name: "trial".into(),
        rows: rows as u64,
        dim: dim as u32,
        row_blocks: 1,
        bias: false,
        placement: None,
        columns: None,
    };
    Shard::initial(&decl, 0, kind, Init { seed: 1, std: 0.05 })
}

fn spec(kind: OptimizerKind) -> OptimizerSpec {
    OptimizerSpec { kind, ..OptimizerSpec::default() }
}

fn whole(kind: OptimizerKind, rows: usize) -> impl FnMut(&mut Watch) {
    let (mut shard, spec) = (shard(kind, rows, DIM), spec(kind));
    shard.gradient.weight = values(rows * DIM, 0.01);
    let mut step = 0;
    move |watch: &mut Watch| {
        step += 1;
        shard.gradient.dense = true;
        watch.begin();
        update_shard(&mut shard, &spec, 1e-4, step).expect("a shard fits its own gradient");
        watch.lap(0);
    }
}

fn some(kind: OptimizerKind, dim: usize, touched: usize) -> impl FnMut(&mut Watch) {
    let (mut shard, spec) = (shard(kind, SPARSE * touched, dim), spec(kind));
    let (mut ids, grads) = (DistinctIds::new(SPARSE * touched), values(touched * dim, 0.01));
    let mut step = 0;
    move |watch: &mut Watch| {
        step += 1;
        shard.gradient.ids = ids.draw(touched);
        shard.gradient.rows.clone_from(&grads);
        watch.begin();
        update_shard(&mut shard, &spec, 1e-4, step).expect("a shard fits its own gradient");
        watch.lap(0);
    }
}

fn densify(rows: usize) -> impl FnMut(&mut Watch) {
    let mut shard = shard(OptimizerKind::Sgd, rows, DIM);
    move |watch: &mut Watch| {
        shard.gradient.dense = false;
        watch.begin();
        shard.densify_gradient();
        watch.lap(0);
    }
}

fn added(dim: usize, touched: usize) -> impl FnMut(&mut Watch) {
    let mut shard = shard(OptimizerKind::Sgd, SPARSE * touched, dim);
    shard.densify_gradient();
    let (mut ids, grads) = (DistinctIds::new(SPARSE * touched), values(touched * dim, 0.01));
    move |watch: &mut Watch| {
        shard.gradient.ids = ids.draw(touched);
        shard.gradient.rows.clone_from(&grads);
        watch.begin();
        shard.densify_gradient();
        watch.lap(0);
    }
}
