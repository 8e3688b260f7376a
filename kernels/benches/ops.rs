//! Speed of the ops on one core, as a share of the FMA peak measured in the same run.
//!
//! `cargo bench -p muster-kernels --bench ops [-- FILTER]`, where a filter is a part of an op's name. Each figure is the best of several rounds, since other processes only slow
//! a round down; the peak is measured again beside each op.

#![allow(clippy::print_stdout, reason = "the report is what this program is for")]
#![allow(clippy::unwrap_used, reason = "shapes are fixed in this file")]

use std::hint::black_box;
use std::time::{Duration, Instant};

use muster_kernels::dropout::{Dropout, RowKey, dropout};
use muster_kernels::gemm::{Beta, Gemm, GemmPacked, PackedB, gemm, gemm_packed};
use muster_kernels::isa::{Isa, Kernel, Simd};
use muster_kernels::lstm::{self, Gradients, Layout, Parameters, Weights};
use muster_kernels::matrix::{MatrixMut, MatrixRef};
use muster_kernels::rng::Stream;
use muster_kernels::scratch::Scratch;

/// Rounds of each measurement, and what one lasts at least: long enough for the clock's ticks of 4 ms.
const ROUNDS: usize = 9;
const ROUND: Duration = Duration::from_millis(30);

fn main() {
    let isa = Isa::detect();
    println!("instruction set {isa}, one thread, best of {ROUNDS} rounds");
    println!("{:<44} {:>10} {:>9} {:>12}", "op", "GFLOP/s", "of peak", "tokens/s");
    for [m, n, k] in [[750, 12_101, 128], [94, 512, 128], [512, 256, 94], [128, 512, 128], [91, 512, 128]] {
        bench_gemm(isa, [m, n, k], [false, true]);
        bench_gemm_packed(isa, [m, n, k]);
    }
    bench_gemm(isa, [12_101, 128, 750], [true, false]);
    bench_gemm(isa, [512, 128, 6400], [true, false]);
    for m in [1, 2, 3, 4, 6, 8, 16] {
        bench_gemm_packed(isa, [m, 512, 128]);
        bench_gemm_packed(isa, [m, 128, 512]);
    }
    let dense = vec![50; 128];
    // Lengths as in a shopping log of users with five events or more: 5.7 on average.
    let real = vec![22, 11, 8, 6, 5, 5, 4, 4, 4, 4, 3, 3, 3, 3, 3, 3];
    for (name, lengths) in [("128 x 50", dense), ("16 packed of 5.7", real)] {
        bench_lstm(isa, name, &lengths);
    }
    bench_dropout(isa);
}

fn values(len: usize, purpose: u32) -> Vec<f32> {
    let stream = Stream::new(1, purpose);
    (0..len.div_ceil(4) as u64).flat_map(|i| stream.uniform(i, 0)).map(|x| 0.2 * x - 0.1).take(len).collect()
}

/// Counts one operation an element, for want of a better measure.
fn bench_dropout(isa: Isa) {
    const ROWS: usize = 91;
    let name = "dropout (an element as one FLOP)";
    if wanted(name) {
        let row_keys: Vec<RowKey> = (0..ROWS as u64).map(|sample| RowKey { sample, position: 3 }).collect();
        let mut values = vec![1.0; ROWS * 128];
        let measured = rates(isa, values.len() as f64, || {
            let stream = Stream::new(1, 2);
            dropout(Dropout { stream, rate: 0.3, row_keys: &row_keys, values: &mut values }, isa).unwrap();
        });
        report(name, measured, Some(measured.0 / 128.0));
    }
}

/// A chain of multiply-adds that never leaves the registers.
struct Peak;

const PEAK_STEPS: usize = 200_000;
const PEAK_CHAINS: usize = 12;
/// Floating-point operations of [`Peak`] per lane.
const PEAK_FLOPS: f64 = (2 * PEAK_STEPS * PEAK_CHAINS) as f64;

impl Kernel for Peak {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let mut sums = [simd.splat(0.0); PEAK_CHAINS];
        let (left, right) = (simd.splat(black_box(0.5)), simd.splat(black_box(0.25)));
        for _ in 0..PEAK_STEPS {
            for sum in &mut sums {
                *sum = simd.mul_add(left, right, *sum);
            }
        }
        black_box(sums);
    }
}

/// Returns how long this thread has been on a core; where that is not known, how long the program has run.
///
/// Time on a core leaves out what other processes take, so that a busy machine measures about the same.
fn clock(start: Instant) -> Duration {
    let on_core = std::fs::read_to_string("/proc/thread-self/schedstat").ok();
    let nanos = on_core.and_then(|text| text.split(' ').next()?.parse().ok());
    nanos.map_or_else(|| start.elapsed(), Duration::from_nanos)
}

/// Returns how often per second `work` runs, over at least one [`ROUND`].
fn rate(work: &mut impl FnMut()) -> f64 {
    let start = Instant::now();
    let (before, mut count, mut batch) = (clock(start), 0.0, 1);
    loop {
        (0..batch).for_each(|_| work());
        count += f64::from(batch);
        let spent = clock(start) - before;
        if spent >= ROUND {
            return count / spent.as_secs_f64();
        }
        batch *= 2;
    }
}

/// Returns the best rate of `work` in FLOP/s beside the best rate of the peak, rounds alternating.
fn rates(isa: Isa, flops: f64, mut work: impl FnMut()) -> (f64, f64) {
    work();
    let (mut best, mut peak) = (0.0f64, 0.0f64);
    for _ in 0..ROUNDS {
        peak = peak.max(PEAK_FLOPS * isa.lanes() as f64 * rate(&mut || isa.dispatch(Peak)));
        best = best.max(flops * rate(&mut work));
    }
    (best, peak)
}

/// Whether the command line asks for this op.
fn wanted(name: &str) -> bool {
    std::env::args()
        .skip(1)
        .find(|argument| !argument.starts_with('-'))
        .is_none_or(|part| name.contains(&part))
}

fn report(name: &str, (rate, peak): (f64, f64), tokens: Option<f64>) {
    let tokens = tokens.map(|tokens| format!("{tokens:.0}")).unwrap_or_default();
    println!("{name:<44} {:>10.1} {:>8.1}% {tokens:>12}", rate / 1e9, 100.0 * rate / peak);
}

fn operand(data: &[f32], shape: [usize; 2], transposed: bool) -> MatrixRef<'_> {
    let [rows, cols] = shape;
    if transposed {
        MatrixRef::row_major(data, cols, rows).unwrap().transposed()
    } else {
        MatrixRef::row_major(data, rows, cols).unwrap()
    }
}

fn bench_gemm(isa: Isa, [m, n, k]: [usize; 3], [a_transposed, b_transposed]: [bool; 2]) {
    let mark = |transposed| if transposed { "T" } else { "" };
    let name = format!("gemm A{} B{} {m} x {n} x {k}", mark(a_transposed), mark(b_transposed));
    if !wanted(&name) {
        return;
    }
    let (a, b, mut c) = (values(m * k, 1), values(k * n, 2), vec![0.0; m * n]);
    let (a, b) = (operand(&a, [m, k], a_transposed), operand(&b, [k, n], b_transposed));
    let mut scratch = Scratch::new(isa);
    let measured = rates(isa, (2 * m * n * k) as f64, || {
        let c = MatrixMut::row_major(&mut c, m, n).unwrap();
        gemm(Gemm { a, b, c, beta: Beta::Overwrite }, &mut scratch).unwrap();
    });
    report(&name, measured, None);
}

fn bench_gemm_packed(isa: Isa, [m, n, k]: [usize; 3]) {
    let name = format!("gemm_packed {m} x {n} x {k}");
    if !wanted(&name) {
        return;
    }
    let (a, b, mut c) = (values(m * k, 1), values(k * n, 2), vec![0.0; m * n]);
    let a = operand(&a, [m, k], false);
    let mut packed = PackedB::new(isa);
    packed.pack(operand(&b, [k, n], false));
    let mut scratch = Scratch::new(isa);
    let measured = rates(isa, (2 * m * n * k) as f64, || {
        let c = MatrixMut::row_major(&mut c, m, n).unwrap();
        let args = GemmPacked { a, b: &packed, columns: 0..n, c, beta: Beta::Overwrite };
        gemm_packed(args, &mut scratch).unwrap();
    });
    report(&name, measured, None);
}

fn bench_lstm(isa: Isa, name: &str, lengths: &[u32]) {
    const SIZE: usize = 128;
    let layout = Layout::from_lengths(lengths).unwrap();
    let tokens = layout.tokens();
    let (w_ih, w_hh) = (values(4 * SIZE * SIZE, 1), values(4 * SIZE * SIZE, 2));
    let (b_ih, b_hh) = (values(4 * SIZE, 3), values(4 * SIZE, 4));
    let (x, d_h) = (values(tokens * SIZE, 5), values(tokens * SIZE, 6));
    let mut weights = Weights::new(isa);
    let mut scratch = Scratch::new(isa);
    let (input_size, hidden_size) = (SIZE, SIZE);
    let parameters =
        Parameters { input_size, hidden_size, w_ih: &w_ih, w_hh: &w_hh, b_ih: &b_ih, b_hh: &b_hh };
    weights.pack(parameters).unwrap();
    let mut gates = vec![0.0; tokens * 4 * SIZE];
    let (mut c, mut h) = (vec![0.0; tokens * SIZE], vec![0.0; tokens * SIZE]);
    let mut d_x = vec![0.0; tokens * SIZE];
    let (mut d_w_ih, mut d_w_hh) = (w_ih.clone(), w_hh.clone());
    let (mut d_b_ih, mut d_b_hh) = (b_ih.clone(), b_hh.clone());
    let forward_flops = (tokens * 2 * 4 * SIZE * 2 * SIZE) as f64;
    let mut run = |backward: bool| {
        let (layout, weights, x) = (&layout, &weights, &x[..]);
        let (h0, c0) = (None, None);
        let args = lstm::Forward { layout, weights, x, h0, c0, gates: &mut gates, c: &mut c, h: &mut h };
        lstm::forward(args, &mut scratch).unwrap();
        if backward {
            let d_parameters = Gradients {
                w_ih: &mut d_w_ih,
                w_hh: &mut d_w_hh,
                b_ih: &mut d_b_ih,
                b_hh: &mut d_b_hh,
                beta: Beta::Overwrite,
            };
            let (gates, c, h, d_h, d_x) = (&mut gates[..], &c[..], &h[..], &d_h[..], Some(&mut d_x[..]));
            let args = lstm::Backward { layout, weights, x, h0, c0, gates, c, h, d_h, d_x, d_parameters };
            lstm::backward(args, &mut scratch).unwrap();
        }
    };
    for (pass, factor, backward) in [("forward", 1.0, false), ("forward + backward", 3.0, true)] {
        let name = format!("lstm {pass}, {name}");
        if wanted(&name) {
            let measured = rates(isa, factor * forward_flops, || run(backward));
            report(&name, measured, Some(tokens as f64 * measured.0 / (factor * forward_flops)));
        }
    }
}
