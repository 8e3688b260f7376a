//! The LSTM stack with its projection and linear head on the device, one micro-batch a call.

use muster_kernels::cuda::dropout::{RowKeys, dropout};
use muster_kernels::cuda::embedding::{Combine, Ids, Table as KernelTable, gather};
use muster_kernels::cuda::lstm::{self, Layout, Recurrence};
use muster_kernels::cuda::{Buffer, Device, Error, View, ViewMut, linear};
use muster_kernels::gemm::Beta;

use super::ahead::PartIds;
use super::rows::{DeviceRows, gathered};
use crate::batch::MicroBatch;
use crate::model::{DropoutPlace, Inputs, Network};

/// What one micro-batch keeps on the device between forward and backward, and its gradients.
#[derive(Debug)]
pub(super) struct MicroState {
    layout: Layout,
    keys: RowKeys,
    layers: Vec<LayerState>,
    /// What the head gets, `[tokens, head input]`.
    pub(super) out: Buffer<f32>,
    /// Gradient of `out`; the head writes it.
    pub(super) d_out: Buffer<f32>,
    /// Predictions of the linear head, `[sequences, outputs]`.
    pub(super) predictions: Buffer<f32>,
    /// Gradient of the first layer's input, `[tokens, input]`.
    pub(super) d_x: Buffer<f32>,
    /// Gradients of the dense parameters, in their layout.
    pub(super) gradient: Buffer<f32>,
}

#[derive(Debug)]
struct LayerState {
    x: Buffer<f32>,
    gates: Buffer<f32>,
    c: Buffer<f32>,
    h: Buffer<f32>,
}

/// The dense parameters as a call sees them.
#[derive(Clone, Copy)]
pub(super) struct Weights<'a> {
    pub(super) network: &'a Network,
    pub(super) values: View<'a, f32>,
}

impl<'a> Weights<'a> {
    fn tensor(&self, name: &str) -> View<'a, f32> {
        self.values.range(self.network.layout().range(name))
    }

    fn layer(&self, layer: usize) -> lstm::Parameters<'a> {
        let hidden_size = self.network.spec().hidden_size as usize;
        let tensor = |name: &str| self.tensor(&format!("lstm.{name}_l{layer}"));
        lstm::Parameters {
            input_size: if layer == 0 { self.network.input_size } else { hidden_size },
            hidden_size,
            w_ih: tensor("weight_ih"),
            w_hh: tensor("weight_hh"),
            b_ih: tensor("bias_ih"),
            b_hh: tensor("bias_hh"),
        }
    }

    fn affine(&self, name: &str, input_size: usize, output_size: usize) -> linear::Weights<'a> {
        let w = self.tensor(&format!("{name}.weight"));
        linear::Weights { input_size, output_size, w, b: Some(self.tensor(&format!("{name}.bias"))) }
    }

    fn projection(&self) -> Option<linear::Weights<'a>> {
        let spec = self.network.spec();
        spec.projection.map(|size| self.affine("projection", spec.hidden_size as usize, size as usize))
    }

    fn linear(&self) -> linear::Weights<'a> {
        self.affine("linear", self.network.spec().head_input() as usize, self.network.outputs)
    }
}

impl MicroState {
    /// Makes the buffers of a micro-batch, with a gradient of zeros.
    pub(super) fn new(device: &Device, network: &Network, batch: &MicroBatch) -> Result<Self, Error> {
        let (tokens, hidden) = (batch.tokens(), network.spec().hidden_size as usize);
        let width = network.spec().head_input() as usize;
        let layer = |layer: usize| {
            let columns = if layer == 0 { network.input_size } else { hidden };
            Ok(LayerState {
                x: device.zeros(tokens * columns)?,
                gates: device.buffer(tokens * 4 * hidden)?,
                c: device.buffer(tokens * hidden)?,
                h: device.buffer(tokens * hidden)?,
            })
        };
        Ok(Self {
            layout: Layout::upload(device, batch.layout.clone())?,
            keys: RowKeys::upload(device, &batch.row_keys)?,
            layers: (0..network.spec().layers as usize).map(layer).collect::<Result<_, Error>>()?,
            out: device.buffer(tokens * width)?,
            d_out: device.zeros(tokens * width)?,
            predictions: device.buffer(batch.sequences() * network.outputs)?,
            d_x: device.buffer(tokens * network.input_size)?,
            gradient: device.zeros(network.layout().len())?,
        })
    }

    /// Fills the first layer's input from looked-up rows and numeric columns.
    pub(super) fn assemble(
        &mut self,
        device: &Device,
        inputs: &Inputs,
        batch: &MicroBatch,
        rows: &[DeviceRows],
        ids: &[PartIds],
    ) -> Result<(), Error> {
        let width = inputs.width();
        let mut ids = ids.iter();
        let combine = if inputs.adds() { Combine::Add } else { Combine::Replace };
        for (part, place, columns) in inputs.places() {
            let mut x = self.layers[0].x.view_mut();
            let len = x.len();
            if len == 0 {
                continue;
            }
            let mut to = x.range(place..len);
            match part.lookup(batch) {
                None => {
                    let values = device.upload(&batch.numeric)?;
                    let every: Vec<u32> = (0..batch.tokens() as u32).collect();
                    let table = KernelTable { rows: values.view(), dim: columns };
                    gather(device, table, &Ids::upload(device, &every)?, &mut to, width, combine)?;
                }
                Some((table, _)) => {
                    let slots = &ids.next().expect("each part that is looked up has its ids").slots;
                    gather(device, rows[table].table(), slots, &mut to, width, combine)?;
                }
            }
        }
        Ok(())
    }

    /// Runs the network; `step` keys the dropout masks.
    pub(super) fn forward(
        &mut self,
        device: &Device,
        weights: Weights<'_>,
        batch: &MicroBatch,
        step: u64,
    ) -> Result<(), Error> {
        let tokens = batch.tokens();
        let drop = Drop { device, network: weights.network, keys: &self.keys, step };
        for layer in 0..self.layers.len() {
            if layer > 0 {
                let (below, above) = self.layers.split_at_mut(layer);
                device.copy(below[layer - 1].h.view(), &mut above[0].x.view_mut())?;
            }
            let LayerState { x, gates, c, h } = &mut self.layers[layer];
            drop.apply(DropoutPlace::Input(layer), &mut x.view_mut())?;
            lstm::forward(
                device,
                lstm::Forward {
                    layout: &self.layout,
                    parameters: weights.layer(layer),
                    x: x.view(),
                    h0: None,
                    c0: None,
                    gates: gates.view_mut(),
                    c: c.view_mut(),
                    h: h.view_mut(),
                    recurrence: Recurrence::Auto,
                },
            )?;
        }
        if let Some(top) = self.layers.last() {
            match weights.projection() {
                Some(affine) => {
                    linear::forward(device, tokens, affine, top.h.view(), &mut self.out.view_mut())?;
                }
                None => device.copy(top.h.view(), &mut self.out.view_mut())?,
            }
        }
        drop.apply(DropoutPlace::Output, &mut self.out.view_mut())?;
        if weights.network.outputs > 0 {
            let x = self.last_rows(device, weights.network, batch)?;
            let rows = batch.sequences();
            linear::forward(device, rows, weights.linear(), x.view(), &mut self.predictions.view_mut())?;
        }
        Ok(())
    }

    /// Runs the linear head backward from the gradient of its predictions, leaving `d_out`.
    pub(super) fn backward_linear(
        &mut self,
        device: &Device,
        weights: Weights<'_>,
        batch: &MicroBatch,
        d_predictions: View<'_, f32>,
    ) -> Result<(), Error> {
        let width = weights.network.spec().head_input() as usize;
        let x = self.last_rows(device, weights.network, batch)?;
        let mut d_last = device.buffer::<f32>(x.len())?;
        let [d_w, d_b] = tensors(&mut self.gradient, weights.network, ["linear.weight", "linear.bias"]);
        let backward = linear::Backward {
            rows: batch.sequences(),
            weights: weights.linear(),
            x: x.view(),
            d_y: d_predictions,
            d_x: Some(d_last.view_mut()),
            d_w,
            d_b: Some(d_b),
            beta: Beta::Overwrite,
        };
        linear::backward(device, backward)?;
        // Each sequence has one last token: its row moves to that token's place.
        for (sequence, token) in batch.last_tokens.iter().enumerate() {
            let from = d_last.view().range(sequence * width..(sequence + 1) * width);
            let start = *token as usize * width;
            device.copy(from, &mut self.d_out.view_mut().range(start..start + width))?;
        }
        Ok(())
    }

    /// Runs the network backward from `d_out`, leaving the gradients of input and dense parameters.
    pub(super) fn backward(
        &mut self,
        device: &Device,
        weights: Weights<'_>,
        batch: &MicroBatch,
        step: u64,
    ) -> Result<(), Error> {
        self.backward_head(device, weights, batch, step)?;
        (0..self.layers.len()).rev().try_for_each(|layer| self.backward_layer(device, weights, layer, step))
    }

    /// The part of [`MicroState::backward`] above the layers.
    pub(super) fn backward_head(
        &mut self,
        device: &Device,
        weights: Weights<'_>,
        batch: &MicroBatch,
        step: u64,
    ) -> Result<(), Error> {
        let tokens = batch.tokens();
        let drop = Drop { device, network: weights.network, keys: &self.keys, step };
        drop.apply(DropoutPlace::Output, &mut self.d_out.view_mut())?;
        let hidden = weights.network.spec().hidden_size as usize;
        let mut d_h = device.buffer(tokens * hidden)?;
        match (weights.projection(), self.layers.last()) {
            (Some(affine), Some(top)) => {
                let names = ["projection.weight", "projection.bias"];
                let [d_w, d_b] = tensors(&mut self.gradient, weights.network, names);
                let backward = linear::Backward {
                    rows: tokens,
                    weights: affine,
                    x: top.h.view(),
                    d_y: self.d_out.view(),
                    d_x: Some(d_h.view_mut()),
                    d_w,
                    d_b: Some(d_b),
                    beta: Beta::Overwrite,
                };
                linear::backward(device, backward)?;
            }
            _ => device.copy(self.d_out.view(), &mut d_h.view_mut())?,
        }
        self.d_x = d_h;
        Ok(())
    }

    /// The part of [`MicroState::backward`] that is one layer's, after those above it: `d_x` is the gradient of its
    /// output before, and of its input after.
    pub(super) fn backward_layer(
        &mut self,
        device: &Device,
        weights: Weights<'_>,
        layer: usize,
        step: u64,
    ) -> Result<(), Error> {
        let drop = Drop { device, network: weights.network, keys: &self.keys, step };
        let LayerState { x, gates, c, h } = &mut self.layers[layer];
        let mut d_x = device.buffer(x.len())?;
        let backward = lstm::Backward {
            layout: &self.layout,
            parameters: weights.layer(layer),
            x: x.view(),
            h0: None,
            c0: None,
            gates: gates.view_mut(),
            c: c.view(),
            h: h.view(),
            d_h: self.d_x.view(),
            d_x: Some(d_x.view_mut()),
            d_parameters: lstm_gradients(&mut self.gradient, weights.network, layer),
            recurrence: Recurrence::Auto,
        };
        lstm::backward(device, backward)?;
        drop.apply(DropoutPlace::Input(layer), &mut d_x.view_mut())?;
        self.d_x = d_x;
        Ok(())
    }

    fn last_rows(
        &self,
        device: &Device,
        network: &Network,
        batch: &MicroBatch,
    ) -> Result<Buffer<f32>, Error> {
        let ids = Ids::upload(device, &batch.last_tokens)?;
        gathered(device, self.out.view(), network.spec().head_input() as usize, &ids)
    }
}

/// The dropout of one micro-batch at one step.
struct Drop<'a> {
    device: &'a Device,
    network: &'a Network,
    keys: &'a RowKeys,
    step: u64,
}

impl Drop<'_> {
    fn apply(&self, place: DropoutPlace, values: &mut ViewMut<'_, f32>) -> Result<(), Error> {
        let (stream, rate) = self.network.dropout_of(self.step, place);
        dropout(self.device, stream, rate, self.keys, values)
    }
}

/// The gradients of neighbouring tensors of the layout.
fn tensors<'g, const N: usize>(
    gradient: &'g mut Buffer<f32>,
    network: &Network,
    names: [&str; N],
) -> [ViewMut<'g, f32>; N] {
    let ranges = names.map(|name| network.layout().range(name));
    let start = ranges.first().map_or(0, |range| range.start);
    let mut left = Some(gradient.view_mut().split_at(start).1);
    ranges.map(|range| {
        let all = left.take().expect("each tensor leaves what comes after it");
        let (mine, rest) = all.split_at(range.len());
        left = Some(rest);
        mine
    })
}

fn lstm_gradients<'g>(gradient: &'g mut Buffer<f32>, network: &Network, layer: usize) -> lstm::Gradients<'g> {
    let names = ["weight_ih", "weight_hh", "bias_ih", "bias_hh"].map(|name| format!("lstm.{name}_l{layer}"));
    let [w_ih, w_hh, b_ih, b_hh] = tensors(gradient, network, names.each_ref().map(String::as_str));
    lstm::Gradients { w_ih, w_hh, b_ih, b_hh, beta: Beta::Overwrite }
}
