//! The full softmax.

use super::{assert_slopes, bits, levels, normals, wide};
use crate::bf16::Precision;
use crate::gemm::Beta;
use crate::isa::Isa;
use crate::scratch::Scratch;
use crate::softmax::{
    BlockScan, CombinedStats, Positions, SoftmaxGrads, SoftmaxWeights, TableShard, combine_shards, reference,
    softmax_gradient, softmax_loss, softmax_scan,
};

/// A table with two of its shards, and one block of positions.
struct Case {
    n: usize,
    dim: usize,
    shards: Vec<Shard>,
    hidden: Vec<f32>,
    weights: Vec<f32>,
}

struct Shard {
    rows: Vec<f32>,
    bias: Option<Vec<f32>>,
    targets: Vec<Option<u32>>,
}

impl Shard {
    fn n_rows(&self) -> usize {
        self.bias.as_ref().map_or(self.targets.len(), Vec::len)
    }
}

fn case(n: usize, shard_rows: &[usize], dim: usize) -> Case {
    let total: usize = shard_rows.iter().sum();
    let target = |i: usize| if total > 0 { (i * 7919 + 3) % total } else { 0 };
    let mut first = 0;
    let mut shards = Vec::new();
    for (s, &rows) in shard_rows.iter().enumerate() {
        let local = |i: usize| (first..first + rows).contains(&target(i)).then(|| (target(i) - first) as u32);
        shards.push(Shard {
            rows: normals(10 + s as u32, rows * dim, 0.7),
            bias: Some(normals(20 + s as u32, rows, 0.5)),
            targets: (0..n).map(local).collect(),
        });
        first += rows;
    }
    let weights = (0..n).map(|i| if i % 5 == 4 { 0.0 } else { 1.0 / (1 + i % 3) as f32 }).collect();
    Case { n, dim, shards, hidden: normals(1, n * dim, 1.0), weights }
}

impl Case {
    fn table(&self, s: usize) -> TableShard<'_> {
        let shard = &self.shards[s];
        TableShard { rows: &shard.rows, bias: shard.bias.as_deref(), dim: self.dim }
    }

    fn positions(&self, s: usize) -> Positions<'_> {
        Positions { hidden: &self.hidden, targets: &self.shards[s].targets }
    }
}

fn assert_fast_is_reference(case: &Case) {
    for precision in [Precision::F32, Precision::Bf16] {
        assert_fast_is_reference_in(case, precision);
    }
}

fn assert_fast_is_reference_in(case: &Case, precision: Precision) {
    let scans: Vec<_> = (0..case.shards.len())
        .map(|s| reference::softmax_scan(case.table(s), case.positions(s), precision))
        .collect();
    let stats: Vec<_> = scans.iter().map(reference::Scan::stats).collect();
    let expected = reference::combine_shards(&stats);
    for isa in levels() {
        let mut scratch = Scratch::new(isa);
        let mut fast: Vec<_> = case.shards.iter().map(|_| BlockScan::new(precision)).collect();
        for (s, scan) in fast.iter_mut().enumerate() {
            softmax_scan(case.table(s), case.positions(s), scan, &mut scratch).unwrap();
            assert_eq!(bits(scan.stats().max), bits(&scans[s].max), "maxima at {isa}");
            assert_eq!(bits(scan.stats().sum), bits(&scans[s].sum), "sums at {isa}");
            assert_eq!(bits(scan.stats().target_logit), bits(&scans[s].target_logit), "targets at {isa}");
        }
        let mut combined = CombinedStats::default();
        let parts: Vec<_> = fast.iter().map(BlockScan::stats).collect();
        combine_shards(&parts, &mut combined, isa).unwrap();
        assert_eq!(combined, expected, "combined at {isa}");
        let loss = softmax_loss(&combined, &case.weights, isa).unwrap();
        assert_eq!(
            loss.to_bits(),
            reference::softmax_loss(&expected, &case.weights).to_bits(),
            "loss at {isa}"
        );
        for beta in [Beta::Overwrite, Beta::Accumulate] {
            for (s, scan) in fast.iter_mut().enumerate() {
                let (n_rows, dim) = (case.shards[s].n_rows(), case.dim);
                let mut grads = [vec![9.0; case.n * dim], vec![0.5; n_rows * dim], vec![0.25; n_rows]];
                let mut wanted = grads.clone();
                let weights = SoftmaxWeights { combined: &combined, weights: &case.weights };
                let (table, positions) = (case.table(s), case.positions(s));
                softmax_gradient(table, positions, weights, scan, places(&mut grads, beta), &mut scratch)
                    .unwrap();
                reference::softmax_gradient(table, positions, weights, &scans[s], places(&mut wanted, beta));
                for (name, (got, wanted)) in
                    ["d_hidden", "d_rows", "d_bias"].iter().zip(grads.iter().zip(&wanted))
                {
                    assert_eq!(bits(got), bits(wanted), "{name} of shard {s} at {isa}, {beta:?}");
                }
            }
        }
    }
}

fn places(arrays: &mut [Vec<f32>; 3], beta: Beta) -> SoftmaxGrads<'_> {
    let [d_hidden, d_rows, d_bias] = arrays;
    SoftmaxGrads { d_hidden, d_rows, d_bias: Some(d_bias), beta }
}

#[test]
fn every_level_gives_the_reference_bit_for_bit() {
    for (n, shards, dim) in [
        (1, vec![1], 1),
        (7, vec![300, 13], 12),
        (33, vec![256, 257, 1], 20),
        (70, vec![530], 24),
        (17, vec![40, 41], 300),
        (530, vec![22], 17),
    ] {
        assert_fast_is_reference(&case(n, &shards, dim));
    }
}

/// Gradients of one shard's hidden states, rows and biases.
fn gradients_in(case: &Case, precision: Precision) -> [Vec<f32>; 3] {
    let mut scratch = Scratch::new(Isa::detect());
    let (table, positions, mut scan) = (case.table(0), case.positions(0), BlockScan::new(precision));
    softmax_scan(table, positions, &mut scan, &mut scratch).unwrap();
    let mut combined = CombinedStats::default();
    combine_shards(&[scan.stats()], &mut combined, scratch.isa()).unwrap();
    let weights = SoftmaxWeights { combined: &combined, weights: &case.weights };
    let n_rows = case.shards[0].n_rows();
    let mut grads = [vec![0.0; case.n * case.dim], vec![0.0; n_rows * case.dim], vec![0.0; n_rows]];
    softmax_gradient(table, positions, weights, &mut scan, places(&mut grads, Beta::Overwrite), &mut scratch)
        .unwrap();
    grads
}

#[test]
fn rounded_operands_move_gradients_by_no_more_than_their_rounding() {
    let case = case(40, &[300], 24);
    let (exact, rounded) = (gradients_in(&case, Precision::F32), gradients_in(&case, Precision::Bf16));
    for (name, (exact, rounded)) in ["d_hidden", "d_rows", "d_bias"].iter().zip(exact.iter().zip(&rounded)) {
        let norm =
            |values: &mut dyn Iterator<Item = f32>| values.map(|v| f64::from(v * v)).sum::<f64>().sqrt();
        let off = norm(&mut exact.iter().zip(rounded).map(|(a, b)| a - b)) / norm(&mut exact.iter().copied());
        // A bfloat16 is off by at most 2^-9 of itself; logits of a few units turn that into a few times as much.
        assert!(off > 0.0 && off < 0.03, "{name} is off by {off}");
    }
}

#[test]
fn empty_blocks_and_empty_shards_are_legal() {
    for (n, shards, dim) in [(0, vec![5, 3], 8), (4, vec![0, 9, 0], 8), (0, vec![0], 4)] {
        assert_fast_is_reference(&case(n, &shards, dim));
    }
}

#[test]
fn an_empty_block_clears_the_gradients_it_overwrites() {
    let case = case(0, &[6], 4);
    let mut scan = BlockScan::default();
    let mut scratch = Scratch::new(levels()[0]);
    softmax_scan(case.table(0), case.positions(0), &mut scan, &mut scratch).unwrap();
    let mut grads = [vec![], vec![1.0; 24], vec![1.0; 6]];
    let weights = SoftmaxWeights { combined: &CombinedStats::default(), weights: &[] };
    let places = places(&mut grads, Beta::Overwrite);
    softmax_gradient(case.table(0), case.positions(0), weights, &mut scan, places, &mut scratch).unwrap();
    assert_eq!(grads, [vec![], vec![0.0; 24], vec![0.0; 6]]);
}

#[test]
fn masked_positions_have_no_gradient() {
    let mut case = case(9, &[20], 8);
    case.weights.fill(0.0);
    let mut scratch = Scratch::new(levels()[0]);
    let mut scan = BlockScan::default();
    softmax_scan(case.table(0), case.positions(0), &mut scan, &mut scratch).unwrap();
    let mut combined = CombinedStats::default();
    combine_shards(&[scan.stats()], &mut combined, scratch.isa()).unwrap();
    assert_eq!(softmax_loss(&combined, &case.weights, scratch.isa()).unwrap(), 0.0);
    let mut grads = [vec![1.0; 72], vec![1.0; 160], vec![1.0; 20]];
    let weights = SoftmaxWeights { combined: &combined, weights: &case.weights };
    let places = places(&mut grads, Beta::Overwrite);
    softmax_gradient(case.table(0), case.positions(0), weights, &mut scan, places, &mut scratch).unwrap();
    assert!(grads.iter().flatten().all(|&g| g == 0.0));
}

#[test]
fn a_scan_is_reused_for_smaller_and_larger_blocks() {
    let mut scan = BlockScan::default();
    let mut scratch = Scratch::new(*levels().last().unwrap());
    for n in [40, 3, 61] {
        let case = case(n, &[290], 16);
        softmax_scan(case.table(0), case.positions(0), &mut scan, &mut scratch).unwrap();
        let expected = reference::softmax_scan(case.table(0), case.positions(0), Precision::F32);
        assert_eq!(bits(scan.stats().sum), bits(&expected.sum), "{n} positions");
    }
}

#[test]
fn huge_logits_neither_overflow_nor_vanish() {
    let mut case = case(4, &[300, 40], 8);
    case.hidden.iter_mut().for_each(|h| *h *= 400.0);
    assert_fast_is_reference(&case);
    let scans: Vec<_> =
        (0..2).map(|s| reference::softmax_scan(case.table(s), case.positions(s), Precision::F32)).collect();
    let combined = reference::combine_shards(&[scans[0].stats(), scans[1].stats()]);
    assert!(reference::softmax_loss(&combined, &case.weights).is_finite());
}

/// A table of two shards in f64, as one flat list of parameters: hidden, rows and biases of each shard.
struct Wide {
    dim: usize,
    shard_rows: [usize; 2],
    targets: [Vec<Option<u32>>; 2],
    weights: Vec<f64>,
}

impl Wide {
    fn shard<'a>(&self, s: usize, values: &'a [f64]) -> (TableShard<'a, f64>, &'a [f64]) {
        let n = self.weights.len();
        let size = |s: usize| self.shard_rows[s] * (self.dim + 1);
        let (hidden, tables) = values.split_at(n * self.dim);
        let table = &tables[if s == 0 { 0 } else { size(0) }..][..size(s)];
        let (rows, bias) = table.split_at(self.shard_rows[s] * self.dim);
        (TableShard { rows, bias: Some(bias), dim: self.dim }, hidden)
    }

    fn scans(&self, values: &[f64]) -> Vec<reference::Scan<f64>> {
        let scan = |s| {
            let (table, hidden) = self.shard(s, values);
            reference::softmax_scan(table, Positions { hidden, targets: &self.targets[s] }, Precision::F32)
        };
        vec![scan(0), scan(1)]
    }

    fn loss(&self, values: &[f64]) -> f64 {
        let scans = self.scans(values);
        let combined = reference::combine_shards(&[scans[0].stats(), scans[1].stats()]);
        reference::softmax_loss(&combined, &self.weights)
    }

    fn gradient(&self, values: &[f64]) -> Vec<f64> {
        let scans = self.scans(values);
        let combined = reference::combine_shards(&[scans[0].stats(), scans[1].stats()]);
        let mut total = vec![0.0; self.weights.len() * self.dim];
        let mut tables = Vec::new();
        for (s, scan) in scans.iter().enumerate() {
            let (table, hidden) = self.shard(s, values);
            let mut d_hidden = vec![0.0; hidden.len()];
            let (mut d_rows, mut d_bias) = (vec![0.0; table.rows.len()], vec![0.0; self.shard_rows[s]]);
            let grads = SoftmaxGrads {
                d_hidden: &mut d_hidden,
                d_rows: &mut d_rows,
                d_bias: Some(&mut d_bias),
                beta: Beta::Overwrite,
            };
            let positions = Positions { hidden, targets: &self.targets[s] };
            let weights = SoftmaxWeights { combined: &combined, weights: &self.weights };
            reference::softmax_gradient(table, positions, weights, scan, grads);
            total.iter_mut().zip(d_hidden).for_each(|(total, d)| *total += d);
            tables.extend(d_rows.into_iter().chain(d_bias));
        }
        total.extend(tables);
        total
    }
}

#[test]
fn gradients_over_two_shards_are_the_slopes_of_the_loss() {
    let (n, dim, shard_rows) = (3, 2, [270, 5]);
    let targets = [vec![Some(261), None, Some(0)], vec![None, Some(4), None]];
    let wide_case = Wide { dim, shard_rows, targets, weights: vec![0.5, 1.25, 0.0] };
    let values = wide(&normals(3, n * dim + (270 + 5) * (dim + 1), 1.0));
    assert_slopes("parameter", &values, &wide_case.gradient(&values), |values| wide_case.loss(values));
}

#[test]
fn the_loss_is_the_negative_log_of_the_target_s_share() {
    let case = case(6, &[40, 30], 5);
    let all_rows: Vec<f32> = case.shards.iter().flat_map(|shard| shard.rows.clone()).collect();
    let all_bias: Vec<f32> = case.shards.iter().flat_map(|shard| shard.bias.clone().unwrap()).collect();
    let scans: Vec<_> =
        (0..2).map(|s| reference::softmax_scan(case.table(s), case.positions(s), Precision::F32)).collect();
    let combined = reference::combine_shards(&[scans[0].stats(), scans[1].stats()]);
    let mut expected = 0.0;
    for i in 0..case.n {
        let logit = |v: usize| {
            let dot = |j: usize| f64::from(case.hidden[i * 5 + j]) * f64::from(all_rows[v * 5 + j]);
            (0..5).map(dot).sum::<f64>() + f64::from(all_bias[v])
        };
        let total: f64 = (0..70).map(|v| logit(v).exp()).sum();
        let target = case.shards[0].targets[i]
            .map_or_else(|| 40 + case.shards[1].targets[i].unwrap() as usize, |row| row as usize);
        expected += f64::from(case.weights[i]) * (total.ln() - logit(target));
    }
    let loss = reference::softmax_loss(&combined, &case.weights);
    assert!((loss - expected).abs() < 1e-5 * expected, "{loss} against {expected}");
}
