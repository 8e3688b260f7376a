//! Heads that work on one micro-batch at a time: sampled softmax, single scores, the regression of a series.

use muster_kernels::cuda::loss::{Loss, binary_cross_entropy, mean_squared_error};
use muster_kernels::cuda::reduce::fill;
use muster_kernels::cuda::softmax::sampled::{
    Candidates, DotInput, SampledGrads, SampledInput, dot_backward, dot_forward, sampled_softmax,
};
use muster_kernels::cuda::{Buffer, Device, Error};

use super::rows::DeviceRows;
use crate::batch::MicroBatch;
use crate::loss::{NegativeSampler, PointwiseKind};

/// Gradients of rows that a head scored, one entry an occurrence.
#[derive(Debug)]
pub(super) struct Scored {
    /// Rows of the table.
    pub(super) ids: Vec<u32>,
    /// `[ids, dim]`.
    pub(super) rows: Buffer<f32>,
    /// `[ids]`.
    pub(super) bias: Buffer<f32>,
}

/// One micro-batch as a head sees it.
#[derive(Clone, Copy)]
pub(super) struct Head<'a> {
    pub(super) device: &'a Device,
    pub(super) batch: &'a MicroBatch,
    /// `[tokens, dim]`.
    pub(super) hidden: &'a Buffer<f32>,
    /// The factor of each position's loss.
    pub(super) weight: f32,
}

/// Weighted loss, gradient of the hidden states, gradients of the scored rows.
pub(super) type Scores = (f64, Buffer<f32>, Scored);

impl Head<'_> {
    pub(super) fn sampled_softmax(
        &self,
        output: &DeviceRows,
        dim: usize,
        sampler: &NegativeSampler,
        negatives: &[u32],
    ) -> Result<Scores, Error> {
        let Self { device, batch, hidden, weight } = *self;
        let (n, k) = (batch.targets.len(), negatives.len());
        let (target_rows, target_bias) = output.of(device, &batch.targets)?;
        let (negative_rows, negative_bias) = output.of(device, negatives)?;
        let [target_ids, negative_ids] = [device.upload(&batch.targets)?, device.upload(negatives)?];
        let [target_q, negative_q] =
            [device.upload(&sampler.log_q_of(&batch.targets))?, device.upload(&sampler.log_q_of(negatives))?];
        let mut weights = device.buffer(n)?;
        fill(device, &mut weights.view_mut(), weight)?;
        let mut d_hidden = device.buffer(n * dim)?;
        let (mut rows, mut bias) = (device.buffer((n + k) * dim)?, device.buffer(n + k)?);
        let mut loss = device.zeros(1)?;
        let (d_targets, d_negatives) = rows.view_mut().split_at(n * dim);
        let (d_target_bias, d_negative_bias) = bias.view_mut().split_at(n);
        let input = SampledInput {
            dim,
            hidden: hidden.view(),
            weights: weights.view(),
            targets: Candidates {
                rows: target_rows.view(),
                bias: Some(target_bias.view()),
                ids: target_ids.view(),
                log_q: target_q.view(),
            },
            negatives: Candidates {
                rows: negative_rows.view(),
                bias: Some(negative_bias.view()),
                ids: negative_ids.view(),
                log_q: negative_q.view(),
            },
        };
        let grads = SampledGrads {
            d_hidden: d_hidden.view_mut(),
            d_targets,
            d_negatives,
            d_target_bias,
            d_negative_bias: Some(d_negative_bias),
            loss: loss.view_mut(),
        };
        sampled_softmax(device, input, grads)?;
        let ids = batch.targets.iter().chain(negatives).copied().collect();
        Ok((device.download(loss.view())?[0], d_hidden, Scored { ids, rows, bias }))
    }

    pub(super) fn pointwise(
        &self,
        kind: PointwiseKind,
        output: &DeviceRows,
        dim: usize,
    ) -> Result<Scores, Error> {
        let Self { device, batch, hidden, .. } = *self;
        let n = batch.targets.len();
        let (rows, bias) = output.of(device, &batch.targets)?;
        let input = DotInput { dim, hidden: hidden.view(), rows: rows.view(), bias: Some(bias.view()) };
        let mut scores = device.buffer(n)?;
        dot_forward(device, input, &mut scores.view_mut())?;
        let (loss, d_scores) = self.loss(kind, &scores)?;
        let (mut d_hidden, mut d_rows) = (device.buffer(n * dim)?, device.buffer(n * dim)?);
        dot_backward(device, input, d_scores.view(), [d_hidden.view_mut(), d_rows.view_mut()])?;
        Ok((loss, d_hidden, Scored { ids: batch.targets.clone(), rows: d_rows, bias: d_scores }))
    }

    /// The weighted loss of predictions against the batch's labels, and its gradient.
    pub(super) fn loss(&self, kind: PointwiseKind, pred: &Buffer<f32>) -> Result<(f64, Buffer<f32>), Error> {
        let Self { device, batch, weight, .. } = *self;
        let labels = device.upload(&batch.labels)?;
        let (mut d_pred, mut loss) = (device.buffer(pred.len())?, device.zeros(1)?);
        let args = Loss {
            pred: pred.view(),
            target: labels.view(),
            scale: weight,
            d_pred: d_pred.view_mut(),
            loss: loss.view_mut(),
        };
        match kind {
            PointwiseKind::Bce => binary_cross_entropy(device, args)?,
            PointwiseKind::Mse => mean_squared_error(device, args)?,
        }
        Ok((device.download(loss.view())?[0] * f64::from(weight), d_pred))
    }
}
