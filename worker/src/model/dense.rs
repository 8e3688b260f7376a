//! The dense parameters: one flat vector with named tensors in it, replicated on every rank.
//!
//! Names and shapes are PyTorch's (`lstm.weight_ih_l0` is `[4 hidden, input]`, gates i f g o), so that the file
//! of a checkpoint loads into `torch.nn.LSTM` as it is.

use std::ops::Range;

use muster_proto::job::{Head, JobSpec};

use crate::random::{Purpose, name_key};

/// One named tensor in the flat vector.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tensor {
    /// PyTorch's parameter name.
    pub name: String,
    /// PyTorch's shape.
    pub shape: Vec<usize>,
    /// Where the values are, row-major.
    pub range: Range<usize>,
    /// Initial values are uniform in ± 1 / sqrt(fan).
    fan: usize,
}

/// The tensors of a model in a fixed order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Layout {
    /// The tensors, back to back.
    pub tensors: Vec<Tensor>,
}

impl Layout {
    /// The dense tensors of a job whose network gets `input` columns and, for a series, predicts `outputs` values.
    #[must_use]
    pub fn of(job: &JobSpec, input: usize, outputs: usize) -> Self {
        let model = &job.model;
        let hidden = model.hidden_size as usize;
        let mut layout = Self::default();
        for layer in 0..model.layers as usize {
            let columns = if layer == 0 { input } else { hidden };
            layout.push(format!("lstm.weight_ih_l{layer}"), &[4 * hidden, columns], hidden);
            layout.push(format!("lstm.weight_hh_l{layer}"), &[4 * hidden, hidden], hidden);
            layout.push(format!("lstm.bias_ih_l{layer}"), &[4 * hidden], hidden);
            layout.push(format!("lstm.bias_hh_l{layer}"), &[4 * hidden], hidden);
        }
        if let Some(projection) = model.projection {
            layout.push("projection.weight".into(), &[projection as usize, hidden], hidden);
            layout.push("projection.bias".into(), &[projection as usize], hidden);
        }
        if matches!(model.head, Head::Regression {}) {
            let columns = model.head_input() as usize;
            layout.push("linear.weight".into(), &[outputs, columns], columns);
            layout.push("linear.bias".into(), &[outputs], columns);
        }
        layout
    }

    /// Number of values in all tensors.
    #[must_use]
    pub fn len(&self) -> usize {
        self.tensors.last().map_or(0, |t| t.range.end)
    }

    /// Whether there are no tensors.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.tensors.is_empty()
    }

    /// Where the tensor called `name` is.
    ///
    /// # Panics
    /// When the layout has no such tensor: names come from the layout's own model.
    #[must_use]
    pub fn range(&self, name: &str) -> Range<usize> {
        let tensor = self.tensors.iter().find(|t| t.name == name);
        tensor.unwrap_or_else(|| panic!("the model has no tensor {name}")).range.clone()
    }

    fn push(&mut self, name: String, shape: &[usize], fan: usize) {
        let start = self.len();
        let range = start..start + shape.iter().product::<usize>();
        self.tensors.push(Tensor { name, shape: shape.to_vec(), range, fan });
    }
}

/// Dense parameters with their optimizer state.
#[derive(Debug, Clone, Default)]
pub struct Dense {
    /// The tensors.
    pub layout: Layout,
    /// Their values.
    pub values: Vec<f32>,
    /// Optimizer state, slot by slot, each as long as `values`.
    pub state: Vec<Vec<f32>>,
}

impl Dense {
    /// Initial values: uniform in ± 1 / sqrt(fan) as PyTorch's, keyed by (seed, tensor, element).
    #[must_use]
    pub fn initial(layout: Layout, seed: u64, slots: usize) -> Self {
        let stream = Purpose::DenseInit.stream(seed);
        let mut values = vec![0.0_f32; layout.len()];
        for tensor in &layout.tensors {
            let bound = 1.0 / (tensor.fan.max(1) as f32).sqrt();
            let key = name_key(&tensor.name);
            for (quad, quad_values) in values[tensor.range.clone()].chunks_mut(4).enumerate() {
                let draws = stream.uniform(key, quad as u64);
                for (value, draw) in quad_values.iter_mut().zip(draws) {
                    *value = (2.0 * draw - 1.0) * bound;
                }
            }
        }
        let state = vec![vec![0.0; values.len()]; slots];
        Self { layout, values, state }
    }

    /// The values of the tensor called `name`.
    #[must_use]
    pub fn tensor(&self, name: &str) -> &[f32] {
        &self.values[self.layout.range(name)]
    }
}
