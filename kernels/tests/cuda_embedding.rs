//! Lookups, pooled lookups and updates of rows on the device against the CPU's, bit for bit where sums are in order.

#![allow(clippy::unwrap_used, reason = "a test ends at the first thing that does not hold")]

mod cuda;

use cuda::{assert_close, assert_same_bits, device, everywhere, host, host_view, ids, values};
use muster_kernels::cuda::embedding::{
    Bags, Combine, Ids, RowGradients, RowRule, Segments, Table, bag_forward, gather, scatter_sum, update_rows,
};
use muster_kernels::cuda::{Buffer, Device};
use muster_kernels::embedding::{self as cpu, SortBuffers};
use muster_kernels::isa::Isa;
use muster_kernels::optimizer::{Adagrad, Adam, AdamW, Rows, RowwiseAdagrad, Sgd};

/// Odd, small and wide rows; 128 and 132 take the vector path.
const DIMS: [usize; 6] = [1, 3, 33, 127, 128, 132];

#[test]
fn a_lookup_copies_the_rows_of_any_width() {
    everywhere(|| {
        let device = device();
        for dim in DIMS {
            for (n, rows) in [(1, 1), (5, 3), (70, 40)] {
                let (table, ids) = (values(rows * dim, 1), ids(n, rows as u32, 2));
                let expected = cpu::reference::gather(cpu::Table { rows: &table, dim }, &ids);
                let (table, ids) = (device.upload(&table).unwrap(), Ids::upload(&device, &ids).unwrap());
                let mut out = device.buffer(n * dim).unwrap();
                let from = Table { rows: table.view(), dim };
                gather(&device, from, &ids, &mut out.view_mut(), dim, Combine::Replace).unwrap();
                assert_same_bits("rows", &host(&device, &out), &expected);
            }
        }
    });
}

#[test]
fn a_lookup_fills_or_adds_to_a_part_of_a_wider_input() {
    everywhere(|| {
        let device = device();
        for (dim, width, place) in [(3, 8, 4), (4, 12, 8), (128, 136, 4)] {
            let (table, ids, before) = (values(6 * dim, 1), ids(9, 6, 2), values(9 * width, 3));
            let on_device = (device.upload(&table).unwrap(), Ids::upload(&device, &ids).unwrap());
            let mut out = device.upload(&before).unwrap();
            let from = Table { rows: on_device.0.view(), dim };
            let mut expected = before.clone();
            for combine in [Combine::Add, Combine::Replace] {
                let mut whole = out.view_mut();
                let mut part = whole.range(place..9 * width);
                gather(&device, from, &on_device.1, &mut part, width, combine).unwrap();
                for (row, &id) in expected.chunks_exact_mut(width).zip(&ids) {
                    let added = table[id as usize * dim..][..dim].iter();
                    row[place..place + dim].iter_mut().zip(added).for_each(|(to, &value)| {
                        *to = if combine == Combine::Add { *to + value } else { value };
                    });
                }
                assert_same_bits("input", &host(&device, &out), &expected);
            }
        }
    });
}

#[test]
fn a_pooled_lookup_sums_each_bag_in_order_and_empty_bags_give_zeros() {
    everywhere(|| {
        let device = device();
        for dim in DIMS {
            let (table, ids) = (values(20 * dim, 1), ids(23, 20, 2));
            let bags = cpu::Bags { ids: &ids, offsets: &[0, 0, 1, 1, 12, 17, 23, 23] };
            let expected = cpu::reference::bag_forward(cpu::Table { rows: &table, dim }, bags);
            let table = device.upload(&table).unwrap();
            let bags = Bags::upload(&device, bags).unwrap();
            let mut out = device.buffer(bags.len() * dim).unwrap();
            bag_forward(&device, Table { rows: table.view(), dim }, &bags, &mut out.view_mut()).unwrap();
            assert_same_bits("bags", &host(&device, &out), &expected);
        }
    });
}

#[test]
fn segments_are_the_sorted_distinct_ids() {
    everywhere(|| {
        let device = device();
        for (n, bound) in [(0, 1), (1, 1), (7, 1), (300, 9), (2500, 70_000), (4100, 300), (10_300, 3000)] {
            let ids = ids(n, bound, 3);
            let mut expected: Vec<u32> = ids.clone();
            expected.sort_unstable();
            expected.dedup();
            let segments = Segments::of_ids(&device, &Ids::upload(&device, &ids).unwrap()).unwrap();
            let count = host_view(&device, segments.count())[0] as usize;
            assert_eq!(count, expected.len(), "distinct of {n} ids");
            assert_eq!(host_view(&device, segments.unique().view().range(0..count)), expected);
            let slots = host_view(&device, segments.slots().unwrap().view());
            let found: Vec<u32> = slots.iter().map(|&slot| expected[slot as usize]).collect();
            assert_eq!(found, ids);
            // Each row of the table once, then each occurrence from there.
            let rows = values(bound as usize * 2, 1);
            let wanted = cpu::reference::gather(cpu::Table { rows: &rows, dim: 2 }, &ids);
            let rows = device.upload(&rows).unwrap();
            let (mut distinct, mut all) = (device.buffer(2 * n).unwrap(), device.buffer(2 * n).unwrap());
            let table = Table { rows: rows.view(), dim: 2 };
            let to = &mut distinct.view_mut();
            gather(&device, table, segments.unique(), to, 2, Combine::Replace).unwrap();
            let table = Table { rows: distinct.view(), dim: 2 };
            let to = &mut all.view_mut();
            gather(&device, table, segments.slots().unwrap(), to, 2, Combine::Replace).unwrap();
            assert_same_bits("rows", &host(&device, &all), &wanted);
        }
    });
}

/// A table with the state of a rule, on the host.
#[derive(Clone)]
struct Model {
    params: Vec<f32>,
    state: Vec<Vec<f32>>,
}

#[derive(Clone, Copy, Debug)]
enum Rule {
    Sgd(Sgd),
    Adam(Adam),
    AdamW(AdamW),
    Adagrad(Adagrad),
    Rowwise(RowwiseAdagrad),
}

const SGD: Sgd = Sgd { lr: 0.1, momentum: 0.0, weight_decay: 0.05, nesterov: false };
const RULES: [Rule; 7] = [
    Rule::Sgd(SGD),
    Rule::Sgd(Sgd { momentum: 0.9, ..SGD }),
    Rule::Sgd(Sgd { momentum: 0.9, nesterov: true, ..SGD }),
    Rule::Adam(Adam { lr: 0.01, beta1: 0.9, beta2: 0.999, eps: 1e-8, weight_decay: 0.05 }),
    Rule::AdamW(AdamW { lr: 0.01, beta1: 0.9, beta2: 0.999, eps: 1e-8, weight_decay: 0.05 }),
    Rule::Adagrad(Adagrad { lr: 0.1, lr_decay: 0.01, eps: 1e-10, weight_decay: 0.05 }),
    Rule::Rowwise(RowwiseAdagrad { lr: 0.1, eps: 1e-8, weight_decay: 0.05 }),
];
const STEP: u64 = 3;

impl Rule {
    fn model(&self, rows: usize, dim: usize) -> Model {
        let positive = |len, purpose| values(len, purpose).iter().map(|x| x.abs()).collect();
        let state = match self {
            Self::Rowwise(_) => vec![positive(rows, 5)],
            Self::Adam(_) | Self::AdamW(_) => vec![values(rows * dim, 5), positive(rows * dim, 6)],
            Self::Sgd(_) | Self::Adagrad(_) => vec![positive(rows * dim, 5)],
        };
        Model { params: values(rows * dim, 4), state }
    }

    fn update_host(&self, model: &mut Model, rows: Rows<'_>) {
        let (isa, params) = (Isa::detect(), &mut model.params);
        match (self, &mut model.state[..]) {
            (Self::Sgd(spec), [buffer]) => spec.update_rows(rows, params, [buffer], isa),
            (Self::Adam(spec), [m, v]) => spec.update_rows(STEP, rows, params, [m, v], isa),
            (Self::AdamW(spec), [m, v]) => spec.update_rows(STEP, rows, params, [m, v], isa),
            (Self::Adagrad(spec), [sum]) => spec.update_rows(STEP, rows, params, [sum], isa),
            (Self::Rowwise(spec), [sum]) => spec.update_rows(rows, params, sum, isa),
            (_, state) => panic!("{} arrays of state", state.len()),
        }
        .unwrap();
    }

    fn update_device(
        &self,
        device: &Device,
        gradients: RowGradients<'_>,
        params: &mut Buffer<f32>,
        state: &mut [Buffer<f32>],
    ) {
        let mut views = state.iter_mut().map(Buffer::view_mut);
        let first = views.next().unwrap();
        let mut second = || views.next().unwrap();
        let rule = match *self {
            Self::Sgd(spec) => RowRule::Sgd(spec, Some(first)),
            Self::Adam(spec) => RowRule::Adam(spec, STEP, [first, second()]),
            Self::AdamW(spec) => RowRule::AdamW(spec, STEP, [first, second()]),
            Self::Adagrad(spec) => RowRule::Adagrad(spec, STEP, first),
            Self::Rowwise(spec) => RowRule::RowwiseAdagrad(spec, first),
        };
        update_rows(device, gradients, &mut params.view_mut(), rule).unwrap();
    }
}

/// Runs an update on the device and gives the new parameters and state.
fn updated(
    device: &Device,
    rule: Rule,
    start: &Model,
    gradients: RowGradients<'_>,
) -> (Vec<f32>, Vec<Vec<f32>>) {
    let mut params = device.upload(&start.params).unwrap();
    let mut state: Vec<Buffer<f32>> = start.state.iter().map(|array| device.upload(array).unwrap()).collect();
    rule.update_device(device, gradients, &mut params, &mut state);
    (host(device, &params), state.iter().map(|array| host(device, array)).collect())
}

#[test]
fn every_rule_updates_the_rows_that_occur_to_the_bits_of_the_cpu() {
    everywhere(|| {
        let device = device();
        for (dim, n, rows) in [(1, 9, 5), (3, 40, 8), (33, 1, 1), (128, 50, 40), (127, 20, 7)] {
            let ids = ids(n, rows as u32, 2);
            let grads = values(n * dim, 3);
            let mut buffers = SortBuffers::default();
            let summed = cpu::scatter_sum(&ids, &grads, dim, &mut buffers).unwrap();
            let on_device = (Ids::upload(&device, &ids).unwrap(), device.upload(&grads).unwrap());
            let segments = Segments::of_ids(&device, &on_device.0).unwrap();
            let grads = on_device.1.view();
            let gradients = RowGradients { segments: &segments, grads, dim, stride: dim, factor: None };
            for rule in RULES {
                let start = rule.model(rows, dim);
                let mut expected = start.clone();
                rule.update_host(&mut expected, summed);
                let (params, state) = updated(&device, rule, &start, gradients);
                assert_same_bits(&format!("{rule:?} of {dim}"), &params, &expected.params);
                for (got, expected) in state.iter().zip(&expected.state) {
                    assert_same_bits(&format!("state of {rule:?}"), got, expected);
                }
            }
        }
    });
}

#[test]
fn popular_rows_are_summed_in_stretches_that_depend_on_the_arguments_alone() {
    everywhere(|| {
        let device = device();
        // Row 0 fills several stretches, row 1 goes over one end, others lie within one; and all in one row.
        for (dim, counts) in [
            (3, vec![300_usize, 70, 5, 1]),
            (4, vec![64, 64, 1]),
            (8, vec![513]),
            (5, vec![63, 130]),
            (6, vec![100]),
        ] {
            let mut ids: Vec<u32> = Vec::new();
            for (row, &count) in counts.iter().enumerate() {
                ids.extend(std::iter::repeat_n(row as u32, count));
            }
            // Occurrences of all rows are mixed: 7 has no divisor in common with the numbers of ids.
            let n = ids.len();
            let mixed: Vec<u32> = (0..n).map(|i| ids[i * 7 % n]).collect();
            let grads = values(n * dim, 3);
            let mut buffers = SortBuffers::default();
            let expected = cpu::scatter_sum(&mixed, &grads, dim, &mut buffers).unwrap();
            let (ids, grads) = (Ids::upload(&device, &mixed).unwrap(), device.upload(&grads).unwrap());
            let segments = Segments::of_ids(&device, &ids).unwrap();
            let gradients =
                RowGradients { segments: &segments, grads: grads.view(), dim, stride: dim, factor: None };
            let mut out = device.zeros(n * dim).unwrap();
            scatter_sum(&device, gradients, &mut out.view_mut()).unwrap();
            let got = host_view(&device, out.view().range(0..counts.len() * dim));
            // Sums of some hundred numbers in another order.
            assert_close("sums", &got, expected.grads, 2e-5);
        }
    });
}

#[test]
fn gradients_of_bags_reach_each_row_of_the_bag_times_a_factor() {
    everywhere(|| {
        let device = device();
        let spec = RowwiseAdagrad { lr: 0.1, eps: 1e-8, weight_decay: 0.0 };
        for dim in [3, 36] {
            let (rows, ids) = (10, ids(31, 10, 2));
            let bags = cpu::Bags { ids: &ids, offsets: &[0, 4, 4, 11, 30, 31] };
            let d_out = values(5 * dim, 3);
            let halved: Vec<f32> = d_out.iter().map(|d| d * 0.5).collect();
            let mut expected = Rule::Rowwise(spec).model(rows, dim);
            let start = expected.clone();
            let table = cpu::RowwiseTable { rows: &mut expected.params, sum: &mut expected.state[0], dim };
            cpu::reference::bag_backward_rowwise_adagrad(table, bags, &halved, &spec);
            let bags = Bags::upload(&device, bags).unwrap();
            let segments = Segments::of_bags(&device, &bags).unwrap();
            let (d_out, factor) = (device.upload(&d_out).unwrap(), device.upload(&[0.5]).unwrap());
            let factor = Some(factor.view());
            let gradients =
                RowGradients { segments: &segments, grads: d_out.view(), dim, stride: dim, factor };
            let (params, state) = updated(&device, Rule::Rowwise(spec), &start, gradients);
            // Halving is exact, so it may come before or after the sum.
            assert_same_bits("params", &params, &expected.params);
            assert_same_bits("sum", &state[0], &expected.state[0]);
        }
    });
}

#[test]
fn ids_outside_of_the_table_are_refused_before_anything_is_launched() {
    everywhere(|| {
        let device = device();
        let table = device.upload(&values(12, 1)).unwrap();
        let ids = Ids::upload(&device, &[0, 4]).unwrap();
        let mut out = device.zeros::<f32>(6).unwrap();
        let from = Table { rows: table.view(), dim: 3 };
        let error = gather(&device, from, &ids, &mut out.view_mut(), 3, Combine::Replace).unwrap_err();
        assert_eq!(error.to_string(), "gather: row id is 4 of 4 rows, expected a row of the table shard");
        assert_same_bits("out", &host(&device, &out), &[0.0; 6]);
    });
}
