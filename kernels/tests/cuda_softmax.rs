//! Full and sampled softmax on the device against the CPU's references.

#![allow(clippy::unwrap_used, reason = "a test ends at the first thing that does not hold")]

mod cuda;

use cuda::{assert_close, assert_same_bits, device, everywhere, host, ids, values};
use muster_kernels::bf16::Precision;
use muster_kernels::cuda::bf16::round;
use muster_kernels::cuda::softmax::sampled::{
    Candidates, DotInput, SampledGrads, SampledInput, dot_backward, dot_forward, sampled_softmax,
};
use muster_kernels::cuda::softmax::{
    BlockScan, Positions, SoftmaxGrads, SoftmaxWeights, TableShard, Targets, block_of, combine_shards,
    softmax_gradient, softmax_loss, softmax_scan,
};
use muster_kernels::cuda::{Buffer, Device};
use muster_kernels::gemm::Beta;
use muster_kernels::isa::Isa;
use muster_kernels::scratch::Scratch;
use muster_kernels::softmax as cpu;

/// Sums over rows and positions have another order than the CPU's; logits are of size 10.
const TOLERANCE: f32 = 3e-5;

/// Loss, gradient of the hidden states, and per shard the gradients of rows and biases.
type Results = (f64, Vec<f32>, Vec<(Vec<f32>, Vec<f32>)>);

/// A batch over a table in two shards (row r in shard r mod 2), of which one may be empty.
struct Case {
    dim: usize,
    hidden: Vec<f32>,
    weights: Vec<f32>,
    shards: Vec<(Vec<f32>, Vec<f32>)>,
    targets: Vec<Vec<Option<u32>>>,
    /// Positions of a block.
    block: usize,
    precision: Precision,
}

impl Case {
    fn new(n: usize, n_rows: usize, dim: usize, block: usize) -> Self {
        let wide = |len, purpose| values(len, purpose).iter().map(|x| 3.0 * x).collect::<Vec<f32>>();
        let (table, bias, targets) = (wide(n_rows * dim, 1), wide(n_rows, 2), ids(n, n_rows as u32, 3));
        let mut weights: Vec<f32> = values(n, 4).iter().map(|x| 1.0 + x).collect();
        // A position that does not count.
        weights[n / 2] = 0.0;
        let rows_of = |shard: usize| (shard..n_rows).step_by(2);
        let shard = |s: usize| {
            let rows = rows_of(s).flat_map(|row| table[row * dim..][..dim].iter().copied()).collect();
            (rows, rows_of(s).map(|row| bias[row]).collect())
        };
        let local = |s: usize| targets.iter().map(|t| (*t as usize % 2 == s).then_some(t / 2)).collect();
        let (shards, targets) = ((0..2).map(shard).collect(), (0..2).map(local).collect());
        Self { dim, hidden: wide(n * dim, 5), weights, shards, targets, block, precision: Precision::F32 }
    }

    fn blocks(&self) -> impl Iterator<Item = (usize, usize)> {
        let (n, block) = (self.weights.len(), self.block);
        (0..n).step_by(block).map(move |first| (first, block.min(n - first)))
    }

    fn expected(&self) -> Results {
        let (dim, isa) = (self.dim, Isa::detect());
        let mut scratch = Scratch::new(isa);
        let mut loss = 0.0;
        let mut d_hidden = vec![0.0; self.hidden.len()];
        let mut d_shards: Vec<_> =
            self.shards.iter().map(|(rows, bias)| (vec![0.0; rows.len()], vec![0.0; bias.len()])).collect();
        for (first, len) in self.blocks() {
            let span = first * dim..(first + len) * dim;
            let hidden = &self.hidden[span.clone()];
            let weights = &self.weights[first..first + len];
            let mut scans: Vec<cpu::BlockScan> = Vec::new();
            let table = |s: usize| {
                let (rows, bias) = &self.shards[s];
                cpu::TableShard { rows, bias: Some(bias), dim }
            };
            let positions =
                |s: usize| cpu::Positions { hidden, targets: &self.targets[s][first..first + len] };
            for s in 0..2 {
                let mut scan = cpu::BlockScan::new(self.precision);
                cpu::softmax_scan(table(s), positions(s), &mut scan, &mut scratch).unwrap();
                scans.push(scan);
            }
            let mut combined = cpu::CombinedStats::default();
            let parts: Vec<_> = scans.iter().map(cpu::BlockScan::stats).collect();
            cpu::combine_shards(&parts, &mut combined, isa).unwrap();
            loss += cpu::softmax_loss(&combined, weights, isa).unwrap();
            let beta = if first == 0 { Beta::Overwrite } else { Beta::Accumulate };
            for (s, scan) in scans.iter_mut().enumerate() {
                let mut part = vec![0.0; len * dim];
                let (d_rows, d_bias) = &mut d_shards[s];
                let grads = cpu::SoftmaxGrads { d_hidden: &mut part, d_rows, d_bias: Some(d_bias), beta };
                let weights = cpu::SoftmaxWeights { combined: &combined, weights };
                cpu::softmax_gradient(table(s), positions(s), weights, scan, grads, &mut scratch).unwrap();
                d_hidden[span.clone()].iter_mut().zip(part).for_each(|(sum, value)| *sum += value);
            }
        }
        (loss, d_hidden, d_shards)
    }

    fn computed(&self, device: &Device) -> Results {
        let dim = self.dim;
        let upload = |array: &Vec<f32>| device.upload(array).unwrap();
        let (hidden, weights) = (upload(&self.hidden), upload(&self.weights));
        let shards: Vec<_> = self.shards.iter().map(|(rows, bias)| (upload(rows), upload(bias))).collect();
        let in_bf16 = self.precision == Precision::Bf16;
        let operands = |rows: &Buffer<f32>| in_bf16.then(|| round(device, rows.view()).unwrap());
        let rounded: Vec<_> = shards.iter().map(|(rows, _)| operands(rows)).collect();
        let targets: Vec<_> = self.targets.iter().map(|t| Targets::upload(device, t).unwrap()).collect();
        let mut d_shards: Vec<(Buffer<f32>, Buffer<f32>)> = shards
            .iter()
            .map(|(rows, bias)| (device.buffer(rows.len()).unwrap(), device.buffer(bias.len()).unwrap()))
            .collect();
        let (mut loss, mut d_hidden) = (device.zeros(1).unwrap(), vec![0.0; self.hidden.len()]);
        for (first, len) in self.blocks() {
            let span = first * dim..(first + len) * dim;
            let table = |s: usize| {
                let (rows, bias): &(Buffer<f32>, Buffer<f32>) = &shards[s];
                let rounded = rounded[s].as_ref().map(Buffer::view);
                TableShard { rows: rows.view(), bias: Some(bias.view()), rounded, n_rows: bias.len(), dim }
            };
            let positions = |s: usize| Positions {
                hidden: hidden.view().range(span.clone()),
                targets: &targets[s],
                first,
                len,
            };
            let scans: Vec<BlockScan> =
                (0..2).map(|s| softmax_scan(device, table(s), positions(s)).unwrap()).collect();
            let parts: Vec<_> = scans.iter().map(BlockScan::stats).collect();
            let combined = combine_shards(device, &parts).unwrap();
            let weights =
                SoftmaxWeights { combined: &combined, weights: weights.view().range(first..first + len) };
            softmax_loss(device, &combined, weights.weights, &mut loss.view_mut()).unwrap();
            let beta = if first == 0 { Beta::Overwrite } else { Beta::Accumulate };
            for (s, scan) in scans.into_iter().enumerate() {
                let mut part = device.buffer(len * dim).unwrap();
                let (d_rows, d_bias) = &mut d_shards[s];
                let (d_rows, d_bias) = (d_rows.view_mut(), Some(d_bias.view_mut()));
                let grads = SoftmaxGrads { d_hidden: part.view_mut(), d_rows, d_bias, beta };
                softmax_gradient(device, table(s), positions(s), weights, scan, grads).unwrap();
                d_hidden[span.clone()]
                    .iter_mut()
                    .zip(host(device, &part))
                    .for_each(|(sum, value)| *sum += value);
            }
        }
        let d_shards = d_shards.iter().map(|(rows, bias)| (host(device, rows), host(device, bias))).collect();
        (host(device, &loss)[0], d_hidden, d_shards)
    }
}

fn assert_case(device: &Device, case: &Case) {
    let tolerance = match case.precision {
        Precision::F32 => TOLERANCE,
        // The CPU rounds exps and scaled hidden states, the device their product; biases are not rounded there at all.
        Precision::Bf16 => 0.02,
    };
    let (expected, got) = (case.expected(), case.computed(device));
    let error = (got.0 - expected.0).abs();
    assert!(error <= 1e-5 * expected.0.abs().max(1.0), "loss {}, expected {}", got.0, expected.0);
    assert_close("d_hidden", &got.1, &expected.1, tolerance);
    for (got, expected) in got.2.iter().zip(&expected.2) {
        assert_close("d_rows", &got.0, &expected.0, tolerance);
        assert_close("d_bias", &got.1, &expected.1, tolerance);
    }
}

#[test]
fn the_full_softmax_over_two_shards_is_the_cpus() {
    everywhere(|| {
        let device = device();
        // The last but one has a shard without rows.
        for (n, n_rows, dim, block) in
            [(1, 3, 1, 1), (5, 40, 3, 2), (7, 311, 33, 4), (3, 1, 2, 3), (4, 66, 128, 4)]
        {
            assert_case(&device, &Case::new(n, n_rows, dim, block));
        }
    });
}

#[test]
fn with_rounded_operands_the_loss_is_the_cpus_and_gradients_are_near() {
    everywhere(|| {
        let device = device();
        for (n, n_rows, dim, block) in [(1, 3, 1, 1), (7, 311, 33, 4), (4, 66, 128, 4)] {
            let case = Case { precision: Precision::Bf16, ..Case::new(n, n_rows, dim, block) };
            assert_case(&device, &case);
            if n > 1 {
                let exact = Case::new(n, n_rows, dim, block).computed(&device);
                assert_ne!(case.computed(&device), exact, "nothing was rounded");
            }
        }
    });
}

#[test]
fn a_shard_may_have_more_rows_than_a_tile() {
    everywhere(|| assert_case(&device(), &Case::new(2, 2 * 4096 + 3, 2, 2)));
}

#[test]
fn large_logits_neither_overflow_nor_vanish() {
    everywhere(|| {
        let mut case = Case::new(4, 50, 4, 4);
        case.hidden.iter_mut().for_each(|x| *x *= 30.0);
        assert_case(&device(), &case);
    });
}

#[test]
fn a_block_has_as_many_positions_as_its_bytes_allow() {
    assert_eq!(block_of(1000, 4_000_000), 1000);
    assert_eq!(block_of(1000, 10), 1);
    assert_eq!(block_of(0, usize::MAX), 65_535);
}

/// A micro-batch of `n` positions and `k` negatives.
struct SampledCase {
    dim: usize,
    arrays: [Vec<f32>; 8],
    ids: [Vec<u32>; 2],
    lens: [usize; 5],
}

const GRADIENTS: [&str; 5] = ["d_hidden", "d_targets", "d_negatives", "d_target_bias", "d_negative_bias"];

impl SampledCase {
    fn new(n: usize, k: usize, dim: usize) -> Self {
        let mut purpose = 0;
        // Hidden states, weights; rows, biases and log q of targets and of negatives.
        let arrays = [n * dim, n, n * dim, n, n, k * dim, k, k].map(|len| {
            purpose += 1;
            values(len, purpose)
        });
        let ids = [ids(n, 20, 9), ids(k, 20, 10)];
        Self { dim, arrays, ids, lens: [n * dim, n * dim, k * dim, n, k] }
    }

    fn expected(&self) -> (f64, [Vec<f32>; 5]) {
        let [hidden, weights, rows, bias, log_q, n_rows, n_bias, n_log_q] = &self.arrays;
        let [target_ids, negative_ids] = &self.ids;
        let targets = cpu::sampled::Candidates { rows, bias: Some(bias), ids: target_ids, log_q };
        let negatives =
            cpu::sampled::Candidates { rows: n_rows, bias: Some(n_bias), ids: negative_ids, log_q: n_log_q };
        let input = cpu::sampled::SampledInput { dim: self.dim, hidden, weights, targets, negatives };
        let mut gradients = self.lens.map(|len| vec![0.0; len]);
        let [d_hidden, d_targets, d_negatives, d_target_bias, d_negative_bias] = &mut gradients;
        let grads = cpu::sampled::SampledGrads {
            d_hidden,
            d_targets,
            d_negatives,
            d_target_bias: Some(d_target_bias),
            d_negative_bias: Some(d_negative_bias),
        };
        (cpu::sampled::reference::sampled_softmax(input, grads), gradients)
    }

    fn computed(&self, device: &Device) -> (f64, [Vec<f32>; 5]) {
        let arrays = self.arrays.each_ref().map(|array| device.upload(array).unwrap());
        let [hidden, weights, rows, bias, log_q, n_rows, n_bias, n_log_q] =
            arrays.each_ref().map(Buffer::view);
        let ids = self.ids.each_ref().map(|ids| device.upload(ids).unwrap());
        let targets = Candidates { rows, bias: Some(bias), ids: ids[0].view(), log_q };
        let negatives = Candidates { rows: n_rows, bias: Some(n_bias), ids: ids[1].view(), log_q: n_log_q };
        let input = SampledInput { dim: self.dim, hidden, weights, targets, negatives };
        let mut got = self.lens.map(|len| device.buffer::<f32>(len).unwrap());
        let mut loss = device.zeros(1).unwrap();
        let [d_hidden, d_targets, d_negatives, d_target_bias, d_negative_bias] =
            got.each_mut().map(Buffer::view_mut);
        let d_negative_bias = Some(d_negative_bias);
        let grads = SampledGrads {
            d_hidden,
            d_targets,
            d_negatives,
            d_target_bias,
            d_negative_bias,
            loss: loss.view_mut(),
        };
        sampled_softmax(device, input, grads).unwrap();
        (host(device, &loss)[0], got.each_ref().map(|gradient| host(device, gradient)))
    }
}

#[test]
fn the_sampled_softmax_is_the_cpus_without_accidental_hits() {
    everywhere(|| {
        let device = device();
        for (n, k, dim) in [(1, 1, 1), (5, 7, 3), (9, 130, 33), (6, 300, 128), (3, 0, 4)] {
            let case = SampledCase::new(n, k, dim);
            let (expected, got) = (case.expected(), case.computed(&device));
            let error = (got.0 - expected.0).abs();
            assert!(error < 1e-5 * expected.0.abs().max(1.0), "loss {}, expected {}", got.0, expected.0);
            for ((what, got), expected) in GRADIENTS.into_iter().zip(&got.1).zip(&expected.1) {
                assert_close(what, got, expected, TOLERANCE);
            }
        }
    });
}

#[test]
fn single_scores_have_the_bits_of_the_cpu() {
    everywhere(|| {
        let device = device();
        for (n, dim) in [(1, 1), (3, 3), (9, 33), (10, 128)] {
            let (hidden, rows, bias, d_pred) =
                (values(n * dim, 1), values(n * dim, 2), values(n, 3), values(n, 4));
            let input = cpu::dot::DotInput { dim, hidden: &hidden, rows: &rows, bias: Some(&bias) };
            let expected = cpu::dot::reference::dot_forward(input);
            let (mut d_hidden, mut d_rows) = (vec![0.0; n * dim], vec![0.0; n * dim]);
            let grads = cpu::dot::DotGrads { d_hidden: &mut d_hidden, d_rows: &mut d_rows };
            cpu::dot::reference::dot_backward(input, &d_pred, grads);
            let arrays = [&hidden, &rows, &bias, &d_pred].map(|array| device.upload(array).unwrap());
            let [hidden, rows, bias, d_pred] = arrays.each_ref().map(Buffer::view);
            let input = DotInput { dim, hidden, rows, bias: Some(bias) };
            let mut pred = device.buffer(n).unwrap();
            dot_forward(&device, input, &mut pred.view_mut()).unwrap();
            assert_same_bits("pred", &host(&device, &pred), &expected);
            let (mut a, mut b) = (device.buffer(n * dim).unwrap(), device.buffer(n * dim).unwrap());
            dot_backward(&device, input, d_pred, [a.view_mut(), b.view_mut()]).unwrap();
            assert_same_bits("d_hidden", &host(&device, &a), &d_hidden);
            assert_same_bits("d_rows", &host(&device, &b), &d_rows);
        }
    });
}
