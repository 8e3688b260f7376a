//! Speed of the full softmax on one core, beside three bare products of the same shapes and the FMA peak.
//!
//! `cargo bench -p muster-kernels --bench softmax`. One JSON line per shape; each figure is the best of rounds that
//! alternate, since other processes only slow a round down.

#![allow(clippy::print_stdout, reason = "the report is what this program is for")]
#![allow(clippy::unwrap_used, reason = "shapes are fixed in this file")]

use std::hint::black_box;
use std::time::Instant;

use muster_kernels::gemm::{Beta, Gemm, gemm};
use muster_kernels::isa::{Isa, Kernel, Simd};
use muster_kernels::matrix::{MatrixMut, MatrixRef};
use muster_kernels::rng::Stream;
use muster_kernels::scratch::Scratch;
use muster_kernels::softmax::{
    BlockScan, CombinedStats, Positions, SoftmaxGrads, SoftmaxWeights, TableShard, combine_shards,
    softmax_gradient, softmax_scan,
};

const ROUNDS: usize = 15;

fn main() {
    for [n, rows, dim] in [[256, 1513, 128], [256, 6050, 128], [256, 1513, 64], [128, 1513, 256]] {
        bench(n, rows, dim);
    }
}

fn values(len: usize, purpose: u32) -> Vec<f32> {
    let stream = Stream::new(1, purpose);
    (0..len).map(|i| 0.2 * stream.normal(i as u64 / 4, 0)[i % 4]).collect()
}

/// A chain of multiply-adds that never leaves the registers.
struct Peak;

impl Kernel for Peak {
    type Output = f64;

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) -> f64 {
        const STEPS: usize = 100_000;
        let mut sums = [simd.splat(0.0); 12];
        let (left, right) = (simd.splat(black_box(0.5)), simd.splat(black_box(0.25)));
        let start = Instant::now();
        for _ in 0..STEPS {
            for sum in &mut sums {
                *sum = simd.mul_add(left, right, *sum);
            }
        }
        black_box(sums);
        (2 * STEPS * sums.len() * S::LANES) as f64 / start.elapsed().as_secs_f64() / 1e9
    }
}

/// The three products that a softmax needs: logits, weighted rows, gradient of the rows.
struct Bare<'a> {
    hidden: MatrixRef<'a>,
    rows: MatrixRef<'a>,
    logits: Vec<f32>,
    d_hidden: Vec<f32>,
    d_rows: Vec<f32>,
}

impl Bare<'_> {
    fn run(&mut self, scratch: &mut Scratch) {
        let Self { hidden, rows, logits, d_hidden, d_rows } = self;
        let (n, v, dim) = (hidden.rows(), rows.rows(), rows.cols());
        let beta = Beta::Overwrite;
        let c = MatrixMut::row_major(logits, n, v).unwrap();
        gemm(Gemm { a: *hidden, b: rows.transposed(), c, beta }, scratch).unwrap();
        let exps = MatrixRef::row_major(logits, n, v).unwrap();
        let c = MatrixMut::row_major(d_hidden, n, dim).unwrap();
        gemm(Gemm { a: exps, b: *rows, c, beta }, scratch).unwrap();
        let c = MatrixMut::row_major(d_rows, v, dim).unwrap();
        gemm(Gemm { a: exps.transposed(), b: *hidden, c, beta }, scratch).unwrap();
    }
}

fn seconds(mut work: impl FnMut()) -> f64 {
    let start = Instant::now();
    work();
    start.elapsed().as_secs_f64()
}

fn bench(n: usize, v: usize, dim: usize) {
    let isa = Isa::detect();
    let mut scratch = Scratch::new(isa);
    let (rows, bias, hidden) = (values(v * dim, 1), values(v, 2), values(n * dim, 3));
    let targets: Vec<_> = (0..n).map(|i| (i % 8 == 0).then_some((i * 5 % v) as u32)).collect();
    let table = TableShard { rows: &rows, bias: Some(&bias), dim };
    let positions = Positions { hidden: &hidden, targets: &targets };
    let weights = vec![1.0 / n as f32; n];
    let (mut scan, mut combined) = (BlockScan::default(), CombinedStats::default());
    let mut grads = [vec![0.0; n * dim], vec![0.0; v * dim], vec![0.0; v]];
    let mut bare = Bare {
        hidden: MatrixRef::row_major(&hidden, n, dim).unwrap(),
        rows: MatrixRef::row_major(&rows, v, dim).unwrap(),
        logits: vec![0.0; n * v],
        d_hidden: vec![0.0; n * dim],
        d_rows: vec![0.0; v * dim],
    };
    let [mut peak, mut bare_time, mut scan_time, mut gradient_time, mut total] =
        [0.0, 9e9, 9e9, 9e9, 9e9_f64];
    for _ in 0..ROUNDS {
        peak = isa.dispatch(Peak).max(peak);
        bare_time = seconds(|| bare.run(&mut scratch)).min(bare_time);
        let forward = seconds(|| softmax_scan(table, positions, &mut scan, &mut scratch).unwrap());
        combine_shards(&[scan.stats()], &mut combined, isa).unwrap();
        let backward = seconds(|| {
            let [d_hidden, d_rows, d_bias] = &mut grads;
            let grads = SoftmaxGrads { d_hidden, d_rows, d_bias: Some(d_bias), beta: Beta::Accumulate };
            let weights = SoftmaxWeights { combined: &combined, weights: &weights };
            softmax_gradient(table, positions, weights, &mut scan, grads, &mut scratch).unwrap();
        });
        scan_time = forward.min(scan_time);
        gradient_time = backward.min(gradient_time);
        total = (forward + backward).min(total);
    }
    black_box((&grads, &bare.d_rows, &bare.d_hidden));
    let flops = 6.0 * (n * v * dim) as f64;
    let rate = flops / total / 1e9;
    println!(
        "{{\"op\":\"softmax\",\"isa\":\"{isa}\",\"positions\":{n},\"rows\":{v},\"dim\":{dim},\"gflops\":{rate:.1},\
         \"bare_gflops\":{:.1},\"peak_gflops\":{peak:.1},\"of_peak\":{:.3},\"of_bare\":{:.3},\"scan_ms\":{:.3},\
         \"gradient_ms\":{:.3}}}",
        flops / bare_time / 1e9,
        rate / peak,
        bare_time / total,
        scan_time * 1e3,
        gradient_time * 1e3,
    );
}
