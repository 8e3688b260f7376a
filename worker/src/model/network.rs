//! The LSTM stack with its projection and linear head, forward and backward, one micro-batch a call.

use std::cell::RefCell;

use muster_kernels::dropout::{Dropout, RowKey, dropout};
use muster_kernels::gemm::Beta;
use muster_kernels::isa::Isa;
use muster_kernels::rng::Stream;
use muster_kernels::scratch::Scratch;
use muster_kernels::{Error, linear, lstm};
use muster_proto::job::ModelSpec;

use super::dense::{Dense, Layout};
use crate::batch::MicroBatch;
use crate::random::Purpose;

thread_local! {
    /// Panels and temporaries of the kernels, kept by each compute thread.
    static SCRATCH: RefCell<Scratch> = RefCell::new(Scratch::new(Isa::detect()));
}

/// Runs `f` with this thread's kernel scratch.
pub(crate) fn with_scratch<T>(f: impl FnOnce(&mut Scratch) -> T) -> T {
    SCRATCH.with_borrow_mut(f)
}

/// The instruction set that the kernels run on.
pub(crate) fn isa() -> Isa {
    with_scratch(|scratch| scratch.isa())
}

/// The shape of the network.
#[derive(Debug, Clone)]
pub struct Network {
    spec: ModelSpec,
    layout: Layout,
    /// Columns of the first layer's input.
    pub input_size: usize,
    /// Values that the linear head predicts; 0 without one.
    pub outputs: usize,
    seed: u64,
}

/// The weights in the form that the kernels read; packed once a step, shared by all micro-batches.
#[derive(Debug)]
pub struct Packed {
    layers: Vec<lstm::Weights>,
    projection: Option<linear::Weights>,
    linear: Option<linear::Weights>,
}

/// What one micro-batch keeps between forward and backward, and its gradients. Memory is kept from step to step.
#[derive(Debug, Clone, Default)]
pub struct MicroState {
    layers: Vec<LayerState>,
    /// What the head gets, `[tokens, head input]`.
    pub out: Vec<f32>,
    /// Predictions of the linear head for the last token of each sequence, `[sequences, outputs]`.
    pub predictions: Vec<f32>,
    /// Gradient of `out`; the head writes it.
    pub d_out: Vec<f32>,
    /// Gradient of the first layer's input.
    pub d_x: Vec<f32>,
    /// Gradients of the dense parameters, in their layout.
    pub gradient: Vec<f32>,
}

#[derive(Debug, Clone, Default)]
struct LayerState {
    x: Vec<f32>,
    gates: Vec<f32>,
    c: Vec<f32>,
    h: Vec<f32>,
}

impl Network {
    /// The network of a job whose tables and numeric features give `input_size` columns.
    #[must_use]
    pub fn new(spec: ModelSpec, layout: Layout, input_size: usize, outputs: usize, seed: u64) -> Self {
        Self { spec, layout, input_size, outputs, seed }
    }

    /// The model's declaration.
    pub(crate) fn spec(&self) -> &ModelSpec {
        &self.spec
    }

    /// Where the dense tensors are in their flat vector.
    pub(crate) fn layout(&self) -> &Layout {
        &self.layout
    }

    /// The masks and the rate of a place's dropout at a step.
    pub(crate) fn dropout_of(&self, step: u64, place: DropoutPlace) -> (Stream, f32) {
        let (rate, key) = match place {
            DropoutPlace::Input(0) => (self.spec.dropout_embedding, 0),
            DropoutPlace::Input(layer) => (self.spec.dropout_layers, layer as u64),
            DropoutPlace::Output => (self.spec.dropout_output, OUTPUT_KEY),
        };
        (Purpose::Dropout.stream(self.seed).derive(step, key), rate)
    }

    /// Packs the weights for a step.
    ///
    /// # Errors
    /// Shapes that do not fit, which a parsed job does not have.
    pub fn pack(&self, dense: &Dense, packed: &mut Option<Packed>) -> Result<(), Error> {
        let isa = isa();
        let hidden_size = self.spec.hidden_size as usize;
        let packed = packed.get_or_insert_with(|| Packed {
            layers: (0..self.spec.layers).map(|_| lstm::Weights::new(isa)).collect(),
            projection: self.spec.projection.map(|_| linear::Weights::new(isa)),
            linear: (self.outputs > 0).then(|| linear::Weights::new(isa)),
        });
        for (layer, weights) in packed.layers.iter_mut().enumerate() {
            let tensor = |name: &str| dense.tensor(&format!("lstm.{name}_l{layer}"));
            weights.pack(lstm::Parameters {
                input_size: if layer == 0 { self.input_size } else { hidden_size },
                hidden_size,
                w_ih: tensor("weight_ih"),
                w_hh: tensor("weight_hh"),
                b_ih: tensor("bias_ih"),
                b_hh: tensor("bias_hh"),
            })?;
        }
        if let (Some(weights), Some(size)) = (&mut packed.projection, self.spec.projection) {
            let shape = [size as usize, hidden_size];
            weights.pack(shape, dense.tensor("projection.weight"), Some(dense.tensor("projection.bias")))?;
        }
        if let Some(weights) = &mut packed.linear {
            let shape = [self.outputs, self.spec.head_input() as usize];
            weights.pack(shape, dense.tensor("linear.weight"), Some(dense.tensor("linear.bias")))?;
        }
        Ok(())
    }

    /// The buffer for the first layer's input, `[tokens, input]`, to be filled before `forward`.
    pub fn input<'s>(&self, tokens: usize, state: &'s mut MicroState) -> &'s mut Vec<f32> {
        state.layers.resize_with(self.spec.layers as usize, LayerState::default);
        let x = &mut state.layers[0].x;
        x.resize(tokens * self.input_size, 0.0);
        x
    }

    /// Runs the network over a micro-batch whose input is in place. `step` is the training step that keys the
    /// dropout masks; `None` evaluates without dropout.
    ///
    /// # Errors
    /// Shapes that do not fit, which a parsed job does not have.
    pub fn forward(
        &self,
        batch: &MicroBatch,
        packed: &Packed,
        step: Option<u64>,
        state: &mut MicroState,
    ) -> Result<(), Error> {
        with_scratch(|scratch| {
            let (tokens, hidden) = (batch.tokens(), self.spec.hidden_size as usize);
            self.drop(&batch.row_keys, step, DropoutPlace::Input(0), &mut state.layers[0].x, scratch.isa())?;
            for layer in 0..state.layers.len() {
                if layer > 0 {
                    let (below, above) = state.layers.split_at_mut(layer);
                    above[0].x.clone_from(&below[layer - 1].h);
                    self.drop(
                        &batch.row_keys,
                        step,
                        DropoutPlace::Input(layer),
                        &mut above[0].x,
                        scratch.isa(),
                    )?;
                }
                let LayerState { x, gates, c, h } = &mut state.layers[layer];
                gates.resize(tokens * 4 * hidden, 0.0);
                c.resize(tokens * hidden, 0.0);
                h.resize(tokens * hidden, 0.0);
                let weights = &packed.layers[layer];
                let (h0, c0) = (None, None);
                lstm::forward(
                    lstm::Forward { layout: &batch.layout, weights, x, h0, c0, gates, c, h },
                    scratch,
                )?;
            }
            let top = state.layers.last().map_or(&[][..], |l| &l.h);
            let width = self.spec.head_input() as usize;
            state.out.resize(tokens * width, 0.0);
            match &packed.projection {
                Some(weights) => {
                    linear::forward(
                        linear::Forward { rows: tokens, weights, x: top, y: &mut state.out },
                        scratch,
                    )?;
                }
                None => state.out.copy_from_slice(top),
            }
            self.drop(&batch.row_keys, step, DropoutPlace::Output, &mut state.out, scratch.isa())?;
            if let Some(weights) = &packed.linear {
                let x = last_rows(&state.out, &batch.last_tokens, width);
                state.predictions.resize(batch.sequences() * self.outputs, 0.0);
                let rows = batch.sequences();
                linear::forward(
                    linear::Forward { rows, weights, x: &x, y: &mut state.predictions },
                    scratch,
                )?;
            }
            Ok(())
        })
    }

    /// Runs the network backward from `state.d_out`, leaving the gradients of input and dense parameters.
    ///
    /// # Errors
    /// Shapes that do not fit, which a parsed job does not have.
    pub fn backward(
        &self,
        batch: &MicroBatch,
        packed: &Packed,
        step: u64,
        state: &mut MicroState,
    ) -> Result<(), Error> {
        with_scratch(|scratch| {
            let (tokens, hidden) = (batch.tokens(), self.spec.hidden_size as usize);
            state.gradient.resize(self.layout.len(), 0.0);
            self.drop(&batch.row_keys, Some(step), DropoutPlace::Output, &mut state.d_out, scratch.isa())?;
            let mut d_h = self.backward_projection(tokens, packed, state, scratch)?;
            for layer in (0..state.layers.len()).rev() {
                let columns = if layer == 0 { self.input_size } else { hidden };
                let mut d_x = vec![0.0; tokens * columns];
                let LayerState { x, gates, c, h } = &mut state.layers[layer];
                let d_parameters = self.lstm_gradients(layer, &mut state.gradient);
                let backward = lstm::Backward {
                    layout: &batch.layout,
                    weights: &packed.layers[layer],
                    x,
                    h0: None,
                    c0: None,
                    gates,
                    c,
                    h,
                    d_h: &d_h,
                    d_x: Some(&mut d_x),
                    d_parameters,
                };
                lstm::backward(backward, scratch)?;
                self.drop(&batch.row_keys, Some(step), DropoutPlace::Input(layer), &mut d_x, scratch.isa())?;
                d_h = d_x;
            }
            state.d_x = d_h;
            Ok(())
        })
    }

    /// Runs the linear head backward from the gradient of its predictions, leaving `state.d_out`.
    ///
    /// # Errors
    /// Shapes that do not fit, which a parsed job does not have.
    pub fn backward_linear(
        &self,
        batch: &MicroBatch,
        packed: &Packed,
        d_predictions: &[f32],
        state: &mut MicroState,
    ) -> Result<(), Error> {
        let Some(weights) = &packed.linear else { return Ok(()) };
        let width = self.spec.head_input() as usize;
        let x = last_rows(&state.out, &batch.last_tokens, width);
        let mut d_last = vec![0.0; x.len()];
        state.gradient.resize(self.layout.len(), 0.0);
        let (weight, bias) = (self.layout.range("linear.weight"), self.layout.range("linear.bias"));
        let (d_w, d_b) = state.gradient[weight.start..bias.end].split_at_mut(weight.len());
        let backward = linear::Backward {
            rows: batch.sequences(),
            weights,
            x: &x,
            d_y: d_predictions,
            d_x: Some(&mut d_last),
            d_w,
            d_b: Some(d_b),
            beta: Beta::Overwrite,
        };
        with_scratch(|scratch| linear::backward(backward, scratch))?;
        state.d_out.clear();
        state.d_out.resize(batch.tokens() * width, 0.0);
        for (token, row) in batch.last_tokens.iter().zip(d_last.chunks_exact(width)) {
            let start = *token as usize * width;
            state.d_out[start..start + width].copy_from_slice(row);
        }
        Ok(())
    }

    fn backward_projection(
        &self,
        tokens: usize,
        packed: &Packed,
        state: &mut MicroState,
        scratch: &mut Scratch,
    ) -> Result<Vec<f32>, Error> {
        let Some(weights) = &packed.projection else { return Ok(std::mem::take(&mut state.d_out)) };
        let mut d_h = vec![0.0; tokens * self.spec.hidden_size as usize];
        let (weight, bias) = (self.layout.range("projection.weight"), self.layout.range("projection.bias"));
        let (d_w, d_b) = state.gradient[weight.start..bias.end].split_at_mut(weight.len());
        let x = state.layers.last().map_or(&[][..], |l| &l.h);
        let (d_y, d_x) = (&state.d_out[..], Some(&mut d_h[..]));
        let (d_b, beta) = (Some(d_b), Beta::Overwrite);
        linear::backward(linear::Backward { rows: tokens, weights, x, d_y, d_x, d_w, d_b, beta }, scratch)?;
        Ok(d_h)
    }

    fn lstm_gradients<'g>(&self, layer: usize, gradient: &'g mut [f32]) -> lstm::Gradients<'g> {
        let range = |name: &str| self.layout.range(&format!("lstm.{name}_l{layer}"));
        let start = range("weight_ih").start;
        let (w_ih, rest) = gradient[start..].split_at_mut(range("weight_ih").len());
        let (w_hh, rest) = rest.split_at_mut(range("weight_hh").len());
        let (b_ih, rest) = rest.split_at_mut(range("bias_ih").len());
        let b_hh = &mut rest[..range("bias_hh").len()];
        lstm::Gradients { w_ih, w_hh, b_ih, b_hh, beta: Beta::Overwrite }
    }

    /// Applies the dropout of a place in the network; backward calls it with the same key on the gradient.
    fn drop(
        &self,
        row_keys: &[RowKey],
        step: Option<u64>,
        place: DropoutPlace,
        values: &mut [f32],
        isa: Isa,
    ) -> Result<(), Error> {
        let Some(step) = step else { return Ok(()) };
        let (stream, rate) = self.dropout_of(step, place);
        dropout(Dropout { stream, rate, row_keys, values }, isa)
    }
}

/// A place in the network with a dropout of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DropoutPlace {
    /// The input of a layer.
    Input(usize),
    /// What the head gets.
    Output,
}

/// The key of the output's masks; those of layers' inputs are 0, 1, and so on.
const OUTPUT_KEY: u64 = 1 << 16;

/// The rows of the last token of each sequence.
pub(crate) fn last_rows(rows: &[f32], last_tokens: &[u32], width: usize) -> Vec<f32> {
    let mut last = Vec::with_capacity(last_tokens.len() * width);
    for token in last_tokens {
        last.extend_from_slice(&rows[*token as usize * width..(*token as usize + 1) * width]);
    }
    last
}
