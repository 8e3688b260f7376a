//! Heads: the softmax over a table shard, sampled negatives, one score a position, and gradients of rows.

use muster_kernels::bf16::Precision;
use muster_kernels::gemm::Beta;
use muster_kernels::softmax::{
    BlockScan, CombinedStats, Positions, SoftmaxGrads, SoftmaxWeights, TableShard, combine_shards,
    softmax_gradient, softmax_scan,
};
use muster_proto::job::{FeatureSpec, ModelSpec};
use muster_proto::measured::Term;

use super::watch::Watch;
use super::{Effort, Points, ids, threads, values};
use crate::batch::MicroBatch;
use crate::embedding::Rows;
use crate::loss::{NegativeSampler, Occurrences, PointwiseKind, pointwise, sampled_softmax_head};
use crate::model::{Inputs, isa, with_scratch};

const DIM: [usize; 6] = [8, 16, 32, 64, 128, 256];
/// Kernels refuse only shapes that do not fit, and the shapes here are made to.
const FITS: &str = "the shapes of a trial fit each other";

pub(super) fn measure(effort: &Effort, points: &mut Points) {
    for ranks in &effort.workers {
        for count in [100, 2_000] {
            let times = threads::run(*ranks, effort.time(), || draws(count));
            points.point(Term::DrawNegatives, (&[], count, *ranks), times[0]);
        }
    }
    for busy in effort.levels() {
        for dim in effort.some(&DIM) {
            for positions in [32, 256] {
                for rows in effort.some(&[32, 128, 512, 1024, 4096]) {
                    let times = threads::run(busy, effort.time(), || softmax(dim, positions, rows));
                    points.point(Term::Softmax, (&[dim, positions], rows, busy), times[0] / SHARDS as u32);
                }
            }
            for tokens in [48, 400] {
                for negatives in effort.some(&[32, 200, 1024]) {
                    let times = threads::in_turn(busy, effort.time(), || sampled(dim, negatives, tokens));
                    points.point(Term::SampledSoftmax, (&[dim, negatives], tokens, busy), times[0]);
                }
                let times = threads::in_turn(busy, effort.time(), || scores(dim, tokens));
                points.point(Term::Pointwise, (&[dim], tokens, busy), times[0]);
            }
            for tokens in [48, 400, 3000] {
                for parts in [1, 2] {
                    let times = threads::in_turn(busy, effort.time(), || gradients(dim, parts, tokens));
                    points.point(Term::RowGradients, (&[dim, parts], tokens, busy), times[0] / parts as u32);
                }
            }
        }
    }
}

/// What calls gave, for as long as a step keeps it: memory that a step holds cannot be had again in it.
struct Kept<T>(Vec<T>);

impl<T> Default for Kept<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T> Kept<T> {
    /// Drops all where a thread's share of a step's micro-batches is there.
    fn renew(&mut self) {
        if self.0.len() >= SHARDS {
            self.0.clear();
        }
    }
}

/// Draws from as many items as a shop has.
fn draws(count: usize) -> impl FnMut(&mut Watch) {
    let counts: Vec<u64> = (0..50_000).map(|item| 1 + 100_000 / (1 + item)).collect();
    let sampler = NegativeSampler::new(&counts, 0.75, count as u32, true, 1);
    let mut step = 0;
    move |watch: &mut Watch| {
        step += 1;
        let drawn = sampler.sample(step, 0);
        watch.lap(0);
        drop(drawn);
    }
}

/// Shards that a thread scores in turn: all of them forward before the first goes backward, so that what is kept of one may
/// have left the nearest caches.
const SHARDS: usize = 4;

/// What one shard has and gets.
struct Scored {
    rows: Vec<f32>,
    bias: Vec<f32>,
    scan: BlockScan,
    d_rows: Vec<f32>,
    d_bias: Vec<f32>,
    d_hidden: Vec<f32>,
}

fn softmax(dim: usize, positions: usize, n_rows: usize) -> impl FnMut(&mut Watch) {
    let shard = |_| Scored {
        rows: values(n_rows * dim, 0.2),
        bias: values(n_rows, 0.1),
        scan: BlockScan::new(Precision::F32),
        d_rows: vec![0.0; n_rows * dim],
        d_bias: vec![0.0; n_rows],
        d_hidden: vec![0.0; positions * dim],
    };
    let mut shards: Vec<Scored> = (0..SHARDS).map(shard).collect();
    let hidden = values(positions * dim, 1.0);
    let targets: Vec<Option<u32>> =
        (0..positions).map(|p| (p % 8 == 0).then_some((p % n_rows) as u32)).collect();
    let weights = vec![1.0 / positions as f32; positions];
    let mut combined = CombinedStats::default();
    move |watch: &mut Watch| {
        let positions = Positions { hidden: &hidden, targets: &targets };
        for Scored { rows, bias, scan, .. } in &mut shards {
            let table = TableShard { rows, bias: Some(bias), dim };
            with_scratch(|scratch| softmax_scan(table, positions, scan, scratch)).expect(FITS);
        }
        let stats: Vec<_> = shards.iter().map(|shard| shard.scan.stats()).collect();
        combine_shards(&stats, &mut combined, isa()).expect(FITS);
        let weights = SoftmaxWeights { combined: &combined, weights: &weights };
        for Scored { rows, bias, scan, d_rows, d_bias, d_hidden } in &mut shards {
            let table = TableShard { rows, bias: Some(bias), dim };
            let grads = SoftmaxGrads { d_hidden, d_rows, d_bias: Some(d_bias), beta: Beta::Accumulate };
            with_scratch(|scratch| softmax_gradient(table, positions, weights, scan, grads, scratch))
                .expect(FITS);
        }
        watch.lap(0);
    }
}

/// Looked-up rows of `count` ids.
fn looked_up(count: usize, dim: usize) -> Rows {
    let ids: Vec<u32> = (0..count as u32).collect();
    Rows { ids, dim, rows: values(count * dim, 0.2), bias: values(count, 0.1) }
}

fn batch_of(tokens: usize, rows: usize) -> MicroBatch {
    let labels = (0..tokens).map(|token| (token % 2) as f32).collect();
    MicroBatch { targets: ids(tokens, rows, 5), labels, ..MicroBatch::default() }
}

fn sampled(dim: usize, negatives: usize, tokens: usize) -> impl FnMut(&mut Watch) {
    let known = 2 * (negatives + tokens);
    let (output, batch) = (looked_up(known, dim), batch_of(tokens, known));
    let counts: Vec<u64> = (0..known as u64).map(|item| 1 + 1000 / (1 + item)).collect();
    let sampler = NegativeSampler::new(&counts, 0.75, negatives as u32, true, 1);
    let (drawn, hidden) = (sampler.sample(0, 0), values(tokens * dim, 1.0));
    let mut kept = Kept::default();
    move |watch: &mut Watch| {
        kept.renew();
        watch.begin();
        let done = sampled_softmax_head(&batch, &hidden, 0.01, &output, &sampler, &drawn);
        watch.lap(0);
        kept.0.push(done.expect(FITS));
    }
}

fn scores(dim: usize, tokens: usize) -> impl FnMut(&mut Watch) {
    let (output, batch) = (looked_up(2 * tokens, dim), batch_of(tokens, 2 * tokens));
    let hidden = values(tokens * dim, 1.0);
    let mut kept = Kept::default();
    move |watch: &mut Watch| {
        kept.renew();
        watch.begin();
        let done = pointwise(PointwiseKind::Bce, &batch, &hidden, 0.01, &output);
        watch.lap(0);
        kept.0.push(done.expect(FITS));
    }
}

/// The gradient of a micro-batch's rows, from that of its input, of which they are all or half.
fn gradients(dim: usize, parts: usize, tokens: usize) -> impl FnMut(&mut Watch) {
    let dim_u32 = dim as u32;
    let features =
        (1..parts).map(|part| FeatureSpec { column: format!("c{part}"), dim: Some(dim_u32) }).collect();
    let spec = ModelSpec { embedding_dim: dim_u32, hidden_size: dim_u32, features, ..ModelSpec::default() };
    let inputs = Inputs::new(&spec, 0);
    let (ids, d_x) = (ids(tokens, 4 * tokens, 3), values(tokens * dim * parts, 0.01));
    let mut kept = Kept::default();
    move |watch: &mut Watch| {
        kept.renew();
        watch.begin();
        for (table, rows) in inputs.table_gradients(&d_x) {
            let occurrences = Occurrences { ids: ids.clone(), rows, bias: Vec::new() };
            kept.0.push(occurrences.sum(table, dim).expect(FITS));
        }
        watch.lap(0);
    }
}
