//! A whole training step on the device against the same step of the CPU's ops: lookup, LSTM, softmax over the item
//! table, backward, clipping, table update, dense Adam. The text of the device's side is that of `cuda`'s module docs.

#![allow(clippy::unwrap_used, reason = "a test ends at the first thing that does not hold")]

mod cuda;

use std::ops::Range;

use cuda::{assert_close, caching_device, device, everywhere, host, ids, values};
use muster_kernels::cuda::embedding::{
    Combine, Ids, RowGradients, RowRule, Segments, Table, add_rows, gather, update_rows,
};
use muster_kernels::cuda::lstm::{self, Recurrence};
use muster_kernels::cuda::norm::{clip_factor, sum_of_squares};
use muster_kernels::cuda::softmax::{
    Positions, SoftmaxGrads, SoftmaxWeights, TableShard, Targets, combine_shards, softmax_gradient,
    softmax_loss, softmax_scan,
};
use muster_kernels::cuda::{Buffer, DenseRule, Device, ViewMut, update_dense};
use muster_kernels::embedding::{self as cpu_embedding, SortBuffers};
use muster_kernels::gemm::Beta;
use muster_kernels::isa::Isa;
use muster_kernels::lstm::Layout;
use muster_kernels::optimizer::{Adam, Rows, RowwiseAdagrad};
use muster_kernels::reduce::sum_of_squares as host_sum_of_squares;
use muster_kernels::reference::Lstm;
use muster_kernels::scratch::Scratch;
use muster_kernels::softmax as cpu;

/// Rows of the item table, and its width, which is also the hidden size (the table is input and output).
const N_ROWS: usize = 50;
const DIM: usize = 12;
const STEPS: u64 = 3;
const CLIP: f64 = 0.8;
const ADAM: Adam = Adam { lr: 0.01, beta1: 0.9, beta2: 0.999, eps: 1e-8, weight_decay: 0.0 };
const ADAGRAD: RowwiseAdagrad = RowwiseAdagrad { lr: 0.1, eps: 1e-8, weight_decay: 0.0 };

/// A batch: token i reads `items[i]` and should predict `targets[i]`.
struct Batch {
    layout: Layout,
    items: Vec<u32>,
    targets: Vec<u32>,
    weights: Vec<f32>,
}

impl Batch {
    fn new(step: u64) -> Self {
        let layout = Layout::from_lengths(&[7, 5, 5, 3, 2, 1]).unwrap();
        let n = layout.tokens();
        let [items, targets] = [1, 2].map(|purpose| ids(n, N_ROWS as u32, purpose + 10 * step as u32));
        Self { layout, items, targets, weights: vec![1.0 / n as f32; n] }
    }
}

/// Where w_ih, w_hh, b_ih and b_hh lie in the flat dense parameters; each starts at a multiple of 16 bytes.
fn tensors() -> [Range<usize>; 4] {
    let lens = [4 * DIM * DIM, 4 * DIM * DIM, 4 * DIM, 4 * DIM];
    let mut end = 0;
    lens.map(|len| {
        end += len;
        end - len..end
    })
}

struct Model {
    table: Vec<f32>,
    sum: Vec<f32>,
    dense: Vec<f32>,
    m: Vec<f32>,
    v: Vec<f32>,
}

impl Model {
    fn new() -> Self {
        let n = tensors()[3].end;
        let scaled = |len, purpose| values(len, purpose).iter().map(|x| x * 0.3).collect::<Vec<f32>>();
        Self {
            table: scaled(N_ROWS * DIM, 1),
            sum: vec![0.0; N_ROWS],
            dense: scaled(n, 2),
            m: vec![0.0; n],
            v: vec![0.0; n],
        }
    }

    /// One step of the CPU's ops; returns the loss.
    fn step(&mut self, batch: &Batch, step: u64) -> f64 {
        let (n, isa) = (batch.items.len(), Isa::detect());
        let x = cpu_embedding::reference::gather(
            cpu_embedding::Table { rows: &self.table, dim: DIM },
            &batch.items,
        );
        let [w_ih, w_hh, b_ih, b_hh] = tensors().map(|range| &self.dense[range]);
        let (layout, h0, c0) = (&batch.layout, None, None);
        let layer = Lstm { layout, input_size: DIM, hidden_size: DIM, w_ih, w_hh, b_ih, b_hh, x: &x, h0, c0 };
        let states = layer.forward();
        let targets: Vec<Option<u32>> = batch.targets.iter().copied().map(Some).collect();
        let table = cpu::TableShard { rows: &self.table, bias: None, dim: DIM };
        let positions = cpu::Positions { hidden: &states.h, targets: &targets };
        let (mut scan, mut scratch) = (cpu::BlockScan::default(), Scratch::new(isa));
        cpu::softmax_scan(table, positions, &mut scan, &mut scratch).unwrap();
        let mut combined = cpu::CombinedStats::default();
        cpu::combine_shards(&[scan.stats()], &mut combined, isa).unwrap();
        let loss = cpu::softmax_loss(&combined, &batch.weights, isa).unwrap();
        let (mut d_h, mut d_table) = (vec![0.0; n * DIM], vec![0.0; N_ROWS * DIM]);
        let grads = cpu::SoftmaxGrads {
            d_hidden: &mut d_h,
            d_rows: &mut d_table,
            d_bias: None,
            beta: Beta::Overwrite,
        };
        let weights = cpu::SoftmaxWeights { combined: &combined, weights: &batch.weights };
        cpu::softmax_gradient(table, positions, weights, &mut scan, grads, &mut scratch).unwrap();
        let gradients = layer.backward(&states, &d_h);
        // The table's gradient: what the head gave every row, and what the lookup gave those that occur.
        let mut buffers = SortBuffers::default();
        let Rows { ids, grads, dim } =
            cpu_embedding::scatter_sum(&batch.items, &gradients.x, DIM, &mut buffers).unwrap();
        for (&id, grad) in ids.iter().zip(grads.chunks_exact(dim)) {
            d_table[id as usize * DIM..][..DIM].iter_mut().zip(grad).for_each(|(sum, value)| *sum += value);
        }
        let parts = [&gradients.w_ih, &gradients.w_hh, &gradients.bias, &gradients.bias];
        let mut flat: Vec<f32> = parts.into_iter().flatten().copied().collect();
        let norm = (host_sum_of_squares(isa, &flat) + host_sum_of_squares(isa, &d_table)).sqrt();
        let factor = (CLIP / (norm + 1e-6)).min(1.0) as f32;
        flat.iter_mut().chain(&mut d_table).for_each(|value| *value *= factor);
        ADAGRAD.update(DIM, &mut self.table, &d_table, &mut self.sum, isa).unwrap();
        ADAM.update(step, &mut self.dense, &flat, [&mut self.m, &mut self.v], isa).unwrap();
        loss
    }
}

/// The same model in device memory.
struct OnDevice {
    table: Buffer<f32>,
    sum: Buffer<f32>,
    dense: Buffer<f32>,
    m: Buffer<f32>,
    v: Buffer<f32>,
    /// Every row once, as a dense gradient has it.
    every_row: Segments,
}

impl OnDevice {
    fn new(device: &Device, model: &Model) -> Self {
        let upload = |array: &Vec<f32>| device.upload(array).unwrap();
        Self {
            table: upload(&model.table),
            sum: upload(&model.sum),
            dense: upload(&model.dense),
            m: upload(&model.m),
            v: upload(&model.v),
            every_row: Segments::of_all_rows(device, N_ROWS).unwrap(),
        }
    }

    fn parameters(&self) -> lstm::Parameters<'_> {
        let [w_ih, w_hh, b_ih, b_hh] = tensors().map(|range| self.dense.view().range(range));
        lstm::Parameters { input_size: DIM, hidden_size: DIM, w_ih, w_hh, b_ih, b_hh }
    }

    fn step(&mut self, device: &Device, batch: &Batch, step: u64, recurrence: Recurrence) -> f64 {
        let n = batch.items.len();
        let layout = lstm::Layout::upload(device, batch.layout.clone()).unwrap();
        let ids = Ids::upload(device, &batch.items).unwrap();
        let targets: Vec<Option<u32>> = batch.targets.iter().copied().map(Some).collect();
        let targets = Targets::upload(device, &targets).unwrap();
        let weights = device.upload(&batch.weights).unwrap();
        let buffer = |len: usize| device.buffer::<f32>(len).unwrap();

        let mut x = buffer(n * DIM);
        let table = Table { rows: self.table.view(), dim: DIM };
        gather(device, table, &ids, &mut x.view_mut(), DIM, Combine::Replace).unwrap();
        let (mut gates, mut c, mut h) = (buffer(n * 4 * DIM), buffer(n * DIM), buffer(n * DIM));
        let forward = lstm::Forward {
            layout: &layout,
            parameters: self.parameters(),
            x: x.view(),
            h0: None,
            c0: None,
            gates: gates.view_mut(),
            c: c.view_mut(),
            h: h.view_mut(),
            recurrence,
        };
        lstm::forward(device, forward).unwrap();
        let (mut d_h, mut d_table) = (buffer(n * DIM), buffer(N_ROWS * DIM));
        let loss = self.head(device, &h, (&targets, &weights), [&mut d_h, &mut d_table]);
        let (mut d_x, mut flat) = (buffer(n * DIM), buffer(self.dense.len()));
        let backward = lstm::Backward {
            layout: &layout,
            parameters: self.parameters(),
            x: x.view(),
            h0: None,
            c0: None,
            gates: gates.view_mut(),
            c: c.view(),
            h: h.view(),
            d_h: d_h.view(),
            d_x: Some(d_x.view_mut()),
            d_parameters: gradients(flat.view_mut()),
            recurrence,
        };
        lstm::backward(device, backward).unwrap();
        self.update(device, step, (&ids, &d_x), (&mut d_table, &flat));
        host(device, &loss)[0]
    }

    /// The softmax over the whole table, 10 positions at a time.
    fn head(
        &self,
        device: &Device,
        h: &Buffer<f32>,
        (targets, weights): (&Targets, &Buffer<f32>),
        [d_h, d_table]: [&mut Buffer<f32>; 2],
    ) -> Buffer<f64> {
        let n = targets.len();
        let mut loss = device.zeros(1).unwrap();
        let shard =
            TableShard { rows: self.table.view(), bias: None, rounded: None, n_rows: N_ROWS, dim: DIM };
        for first in (0..n).step_by(10) {
            let len = 10.min(n - first);
            let span = first * DIM..(first + len) * DIM;
            let positions = Positions { hidden: h.view().range(span.clone()), targets, first, len };
            let scan = softmax_scan(device, shard, positions).unwrap();
            let combined = combine_shards(device, &[scan.stats()]).unwrap();
            let weights =
                SoftmaxWeights { combined: &combined, weights: weights.view().range(first..first + len) };
            softmax_loss(device, &combined, weights.weights, &mut loss.view_mut()).unwrap();
            let beta = if first == 0 { Beta::Overwrite } else { Beta::Accumulate };
            let mut d_hidden = d_h.view_mut();
            let (d_hidden, d_rows) = (d_hidden.range(span), d_table.view_mut());
            let grads = SoftmaxGrads { d_hidden, d_rows, d_bias: None, beta };
            softmax_gradient(device, shard, positions, weights, scan, grads).unwrap();
        }
        loss
    }

    /// Adds the lookup's gradient onto the head's, clips and updates, without waiting for the device.
    fn update(
        &mut self,
        device: &Device,
        step: u64,
        (ids, d_x): (&Ids, &Buffer<f32>),
        (d_table, flat): (&mut Buffer<f32>, &Buffer<f32>),
    ) {
        let segments = Segments::of_ids(device, ids).unwrap();
        let of_lookup =
            RowGradients { segments: &segments, grads: d_x.view(), dim: DIM, stride: DIM, factor: None };
        add_rows(device, of_lookup, &mut d_table.view_mut()).unwrap();
        let (mut squares, mut factor) = (device.zeros(1).unwrap(), device.buffer(1).unwrap());
        sum_of_squares(device, flat.view(), &mut squares.view_mut()).unwrap();
        sum_of_squares(device, d_table.view(), &mut squares.view_mut()).unwrap();
        clip_factor(device, squares.view(), CLIP, &mut factor.view_mut()).unwrap();
        let factor = Some(factor.view());
        let gradients =
            RowGradients { segments: &self.every_row, grads: d_table.view(), dim: DIM, stride: DIM, factor };
        let rule = RowRule::RowwiseAdagrad(ADAGRAD, self.sum.view_mut());
        update_rows(device, gradients, &mut self.table.view_mut(), rule).unwrap();
        let rule = DenseRule::Adam(ADAM, step, [self.m.view_mut(), self.v.view_mut()]);
        update_dense(device, &mut self.dense.view_mut(), flat.view(), factor, rule).unwrap();
    }
}

/// Cuts the flat gradient into the layer's.
fn gradients(flat: ViewMut<'_, f32>) -> lstm::Gradients<'_> {
    let [w_ih, w_hh, b_ih, _] = tensors();
    let (w_ih, rest) = flat.split_at(w_ih.len());
    let (w_hh, rest) = rest.split_at(w_hh.len());
    let (b_ih, b_hh) = rest.split_at(b_ih.len());
    lstm::Gradients { w_ih, w_hh, b_ih, b_hh, beta: Beta::Overwrite }
}

#[test]
fn three_steps_on_the_device_are_three_steps_of_the_cpu() {
    everywhere(|| {
        // Once with exact buffers, once with memory that other buffers had before.
        for (recurrence, device) in [(Recurrence::Steps, device()), (Recurrence::Auto, caching_device())] {
            let mut expected = Model::new();
            let mut got = OnDevice::new(&device, &expected);
            for step in 1..=STEPS {
                let batch = Batch::new(step);
                let loss = expected.step(&batch, step);
                let on_device = got.step(&device, &batch, step, recurrence);
                assert!((loss - on_device).abs() < 1e-5 * loss, "step {step}: {on_device}, expected {loss}");
            }
            // Adam divides by the root of small second moments, which makes of a last bit some 1e-5 of the rate.
            assert_close("table", &host(&device, &got.table), &expected.table, 2e-5);
            assert_close("sum", &host(&device, &got.sum), &expected.sum, 1e-5);
            assert_close("dense", &host(&device, &got.dense), &expected.dense, 1e-4);
        }
    });
}
