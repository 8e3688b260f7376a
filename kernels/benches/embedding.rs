//! Speed of pooled lookup and of its backward with row-wise Adagrad, on one core.
//!
//! `cargo bench -p muster-kernels --bench embedding [-- --rounds N]`. One JSON line per round and op, so that
//! `embedding_torch.py` can run rounds of this program and of PyTorch in turn; each round is the median of its calls.

#![allow(clippy::print_stdout, reason = "the report is what this program is for")]
#![allow(clippy::unwrap_used, reason = "shapes are fixed in this file")]

use std::hint::black_box;
use std::time::Instant;

use muster_kernels::embedding::{
    Bags, RowwiseTable, SortBuffers, Table, TableMemory, bag_backward_rowwise_adagrad, bag_forward, gather,
};
use muster_kernels::isa::Isa;
use muster_kernels::optimizer::{Adam, RowwiseAdagrad};
use muster_kernels::rng::Stream;

const ROWS: usize = 1_000_000;
const BAGS: usize = 512;
const BAG: usize = 20;
/// Batches with ids of their own, so that a call does not find the last call's rows in the cache.
const BATCHES: usize = 16;

fn main() {
    let rounds = std::env::args().skip_while(|arg| arg != "--rounds").nth(1);
    let rounds = rounds.map_or(5, |rounds| rounds.parse().unwrap());
    for round in 0..rounds {
        for dim in [64, 128] {
            bench_bags(dim, round);
        }
        bench_adam(round);
    }
}

/// Returns the median seconds of `calls` calls of `work`, which gets the number of the call.
fn median(calls: usize, mut work: impl FnMut(usize)) -> f64 {
    let mut seconds: Vec<f64> = (0..calls)
        .map(|call| {
            let start = Instant::now();
            work(call);
            start.elapsed().as_secs_f64()
        })
        .collect();
    seconds.sort_by(f64::total_cmp);
    seconds[calls / 2]
}

fn report(op: &str, dim: usize, round: usize, count: f64, bytes: f64, seconds: f64) {
    println!(
        "{{\"by\":\"muster\",\"op\":\"{op}\",\"dim\":{dim},\"round\":{round},\"m_per_s\":{:.3},\"gb_per_s\":{:.3}}}",
        count / seconds / 1e6,
        bytes / seconds / 1e9,
    );
}

fn bench_bags(dim: usize, round: usize) {
    let isa = Isa::detect();
    let stream = Stream::new(3, round as u32);
    let id = |i: usize| stream.below(i as u64, 0, ROWS as u64) as u32;
    let ids: Vec<u32> = (0..BATCHES * BAGS * BAG).map(id).collect();
    let offsets: Vec<usize> = (0..=BAGS).map(|bag| bag * BAG).collect();
    let bags =
        |call: usize| Bags { ids: ids.chunks(BAGS * BAG).nth(call % BATCHES).unwrap(), offsets: &offsets };
    let mut rows = TableMemory::zeroed(ROWS * dim);
    rows.iter_mut().enumerate().for_each(|(i, value)| *value = (i % 1000) as f32 * 1e-3 - 0.5);
    let mut sum = TableMemory::zeroed(ROWS);
    let mut out = vec![0.0; BAGS * dim];
    let lookups = (BAGS * BAG) as f64;
    let bytes = lookups * (dim * size_of::<f32>()) as f64;
    let seconds = median(10 * BATCHES, |call| {
        bag_forward(Table { rows: &rows, dim }, bags(call), &mut out, isa).unwrap();
    });
    report("bag_forward", dim, round, lookups, bytes, seconds);
    let mut gathered = vec![0.0; BAGS * BAG * dim];
    let seconds = median(10 * BATCHES, |call| {
        gather(Table { rows: &rows, dim }, bags(call).ids, &mut gathered).unwrap();
    });
    report("gather", dim, round, lookups, bytes, seconds);
    let spec = RowwiseAdagrad { lr: 0.01, eps: 1e-8, weight_decay: 0.0 };
    let mut buffers = SortBuffers::default();
    let mut backward = Vec::new();
    // As in training, the backward follows the forward of the same ids.
    for call in 0..10 * BATCHES {
        bag_forward(Table { rows: &rows, dim }, bags(call), &mut out, isa).unwrap();
        let table = RowwiseTable { rows: &mut rows, sum: &mut sum, dim };
        let start = Instant::now();
        bag_backward_rowwise_adagrad(table, bags(call), &out, &spec, &mut buffers, isa).unwrap();
        backward.push(start.elapsed().as_secs_f64());
    }
    backward.sort_by(f64::total_cmp);
    report("bag_backward_rowwise_adagrad", dim, round, lookups, 2.0 * bytes, backward[backward.len() / 2]);
    black_box((&out, &gathered, &rows));
}

/// Adam over 4 M parameters beside a copy of as many values, both in bytes read and written.
fn bench_adam(round: usize) {
    const LEN: usize = 4_000_000;
    let isa = Isa::detect();
    let adam = Adam { lr: 1e-3, beta1: 0.9, beta2: 0.999, eps: 1e-8, weight_decay: 0.0 };
    let [mut params, grads, mut m, mut v] = [(); 4].map(|()| vec![0.01_f32; LEN]);
    let seconds = median(9, |call| {
        adam.update(call as u64 + 1, &mut params, &grads, [&mut m, &mut v], isa).unwrap();
    });
    report("adam", 1, round, LEN as f64, 28.0 * LEN as f64, seconds);
    let copies = median(9, |_| params.copy_from_slice(black_box(&grads)));
    report("copy", 1, round, LEN as f64, 8.0 * LEN as f64, copies);
    // The traffic of Adam without its arithmetic: four arrays read, three written.
    let streams = median(9, |_| {
        for (((p, g), m), v) in params.iter_mut().zip(&grads).zip(&mut m).zip(&mut v) {
            (*p, *m, *v) = (*p + *g, *m + *g, *v + *g);
        }
    });
    report("four_streams", 1, round, LEN as f64, 28.0 * LEN as f64, streams);
    black_box((&params, &m, &v));
}
