//! Losses of one value a position: clicks (binary cross-entropy), ratings and series (squared error).

use muster_kernels::Error;
use muster_kernels::embedding::{SortBuffers, scatter_sum};
use muster_kernels::loss::{Loss, binary_cross_entropy, mean_squared_error};
use muster_kernels::softmax::dot::{DotGrads, DotInput, dot_backward, dot_forward};

use crate::batch::MicroBatch;
use crate::embedding::{RowGradient, Rows};
use crate::model::isa;

/// Gradients of looked-up rows, one entry an occurrence.
#[derive(Debug, Clone, Default)]
pub struct Occurrences {
    /// Rows of the table.
    pub ids: Vec<u32>,
    /// `[ids, dim]`.
    pub rows: Vec<f32>,
    /// `[ids]`, or empty.
    pub bias: Vec<f32>,
}

impl Occurrences {
    /// Appends the occurrences of a head to those of the inputs, which have no bias of their own.
    pub fn append(&mut self, other: &Self) {
        if !other.bias.is_empty() {
            self.bias.resize(self.ids.len(), 0.0);
            self.bias.extend_from_slice(&other.bias);
        }
        self.ids.extend_from_slice(&other.ids);
        self.rows.extend_from_slice(&other.rows);
    }

    /// Sums the occurrences of each row in their order.
    ///
    /// # Errors
    /// As many rows as ids are needed.
    pub fn sum(&self, table: usize, dim: usize) -> Result<RowGradient, Error> {
        let mut buffers = SortBuffers::default();
        let bias = if self.bias.is_empty() {
            Vec::new()
        } else {
            scatter_sum(&self.ids, &self.bias, 1, &mut buffers)?.grads.to_vec()
        };
        let unique = scatter_sum(&self.ids, &self.rows, dim, &mut buffers)?;
        Ok(RowGradient { table, ids: unique.ids.to_vec(), rows: unique.grads.to_vec(), bias })
    }
}

/// Which loss.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PointwiseKind {
    /// Binary cross-entropy of the score as a logit.
    Bce,
    /// Squared error of the score.
    Mse,
}

/// Loss and gradients of one micro-batch whose positions score the next event's item.
///
/// # Errors
/// A batch whose labels do not fit its targets.
pub fn pointwise(
    kind: PointwiseKind,
    batch: &MicroBatch,
    hidden: &[f32],
    weight: f32,
    output: &Rows,
) -> Result<(f64, Vec<f32>, Occurrences), Error> {
    let (dim, n) = (output.dim, batch.targets.len());
    let mut rows = Vec::with_capacity(n * dim);
    let mut bias = Vec::with_capacity(n);
    for id in &batch.targets {
        let slot = output.slot(*id);
        rows.extend_from_slice(&output.rows[slot * dim..(slot + 1) * dim]);
        bias.push(output.bias[slot]);
    }
    let mut scores = vec![0.0; n];
    let input = DotInput { dim, hidden, rows: &rows, bias: Some(&bias) };
    dot_forward(input, &mut scores, isa())?;
    let mut d_scores = vec![0.0; n];
    let args = Loss { pred: &scores, target: &batch.labels, scale: weight, d_pred: &mut d_scores };
    let loss = match kind {
        PointwiseKind::Bce => binary_cross_entropy(args, isa())?,
        PointwiseKind::Mse => mean_squared_error(args, isa())?,
    };
    let (mut d_hidden, mut d_rows) = (vec![0.0; n * dim], vec![0.0; n * dim]);
    let grads = DotGrads { d_hidden: &mut d_hidden, d_rows: &mut d_rows };
    dot_backward(input, &d_scores, grads, isa())?;
    let loss = loss * f64::from(weight);
    Ok((loss, d_hidden, Occurrences { ids: batch.targets.clone(), rows: d_rows, bias: d_scores }))
}

/// Weighted squared error of predictions against the target values of a series, and its gradient.
///
/// # Errors
/// As many predictions as values are needed.
pub fn series_regression(
    batch: &MicroBatch,
    predictions: &[f32],
    weight: f32,
) -> Result<(f64, Vec<f32>), Error> {
    let mut gradient = vec![0.0; predictions.len()];
    let args = Loss { pred: predictions, target: &batch.labels, scale: weight, d_pred: &mut gradient };
    let loss = mean_squared_error(args, isa())?;
    Ok((loss * f64::from(weight), gradient))
}
