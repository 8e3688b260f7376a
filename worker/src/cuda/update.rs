//! The optimizers on the device, and clipping before them.

use muster_collective::Collective;
use muster_kernels::cuda::embedding::{RowGradients, RowRule, scatter_sum, update_rows};
use muster_kernels::cuda::norm::sum_of_squares;
use muster_kernels::cuda::{Buffer, DenseRule, Device, Error, View, ViewMut, update_dense};
use muster_kernels::optimizer::{Adagrad, Adam, AdamW, RowwiseAdagrad, Sgd};
use muster_proto::job::{OptimizerKind, OptimizerSpec};

use super::Accelerator;
use super::gradients::{Contributions, Sparse};
use super::hosted::Fetched;
use super::tables::DeviceTable;
use crate::embedding::{Table, TableSet};
use crate::train::{self, global_factor};

/// An optimizer at a step.
#[derive(Clone, Copy)]
pub(super) struct Rule<'a> {
    pub(super) spec: &'a OptimizerSpec,
    /// The scheduled learning rate.
    pub(super) lr: f64,
    /// Updates that the parameters have been through, this one included.
    pub(super) step: u64,
}

impl Rule<'_> {
    fn adam(&self) -> Adam {
        let OptimizerSpec { beta1, beta2, eps, weight_decay, .. } = *self.spec;
        Adam { lr: self.lr, beta1, beta2, eps, weight_decay }
    }

    fn rowwise(&self) -> RowwiseAdagrad {
        RowwiseAdagrad { lr: self.lr, eps: self.spec.eps, weight_decay: self.spec.weight_decay }
    }

    /// Updates values that all have a gradient, element by element.
    fn elements(
        &self,
        device: &Device,
        values: &mut Buffer<f32>,
        gradient: View<'_, f32>,
        state: &mut [Buffer<f32>],
        factor: Option<View<'_, f32>>,
    ) -> Result<(), Error> {
        let OptimizerSpec { beta1, beta2, eps, weight_decay, momentum, .. } = *self.spec;
        let (lr, step) = (self.lr, self.step);
        let rule = match (self.spec.kind, state) {
            (OptimizerKind::Sgd, [buffer]) => {
                let spec = Sgd { lr, momentum, weight_decay, nesterov: false };
                DenseRule::Sgd(spec, (momentum != 0.0).then(|| buffer.view_mut()))
            }
            (OptimizerKind::Adam | OptimizerKind::LazyAdam, [m, v]) => {
                DenseRule::Adam(self.adam(), step, [m.view_mut(), v.view_mut()])
            }
            (OptimizerKind::AdamW, [m, v]) => {
                let spec = AdamW { lr, beta1, beta2, eps, weight_decay };
                DenseRule::AdamW(spec, step, [m.view_mut(), v.view_mut()])
            }
            (OptimizerKind::Adagrad, [sum]) => {
                DenseRule::Adagrad(Adagrad { lr, lr_decay: 0.0, eps, weight_decay }, step, sum.view_mut())
            }
            (kind, state) => unreachable!("{kind:?} with {} state slots is not elementwise", state.len()),
        };
        update_dense(device, &mut values.view_mut(), gradient, factor, rule)
    }

    /// Updates rows that have a gradient.
    fn rows(
        &self,
        device: &Device,
        gradients: RowGradients<'_>,
        values: &mut ViewMut<'_, f32>,
        state: &mut [Buffer<f32>],
    ) -> Result<(), Error> {
        let rule = match (self.spec.kind, state) {
            (OptimizerKind::LazyAdam, [m, v]) => {
                RowRule::Adam(self.adam(), self.step, [m.view_mut(), v.view_mut()])
            }
            (OptimizerKind::RowWiseAdagrad, [sum]) => RowRule::RowwiseAdagrad(self.rowwise(), sum.view_mut()),
            (kind, state) => unreachable!("{kind:?} with {} state slots is for all rows", state.len()),
        };
        update_rows(device, gradients, values, rule)
    }
}

impl DeviceTable {
    /// Updates the table from its gradient of all rows.
    fn update_all(
        &mut self,
        device: &Device,
        rule: Rule<'_>,
        factor: Option<View<'_, f32>>,
    ) -> Result<(), Error> {
        let Some(gradient) = self.dense.take().filter(|_| self.rows > 0) else { return Ok(()) };
        if rule.spec.kind == OptimizerKind::RowWiseAdagrad {
            let every =
                |grads, dim| RowGradients { segments: &self.every_row, grads, dim, stride: dim, factor };
            let of_rows = every(gradient.weight.view(), self.dim);
            rule.rows(device, of_rows, &mut self.weight.view_mut(), &mut self.weight_state)?;
            if !self.bias.is_empty() {
                let of_bias = every(gradient.bias.view(), 1);
                rule.rows(device, of_bias, &mut self.bias.view_mut(), &mut self.bias_state)?;
            }
            return Ok(());
        }
        let Self { weight, bias, weight_state, bias_state, .. } = self;
        rule.elements(device, weight, gradient.weight.view(), weight_state, factor)?;
        if bias.is_empty() {
            return Ok(());
        }
        rule.elements(device, bias, gradient.bias.view(), bias_state, factor)
    }

    /// Updates the rows that a step touched.
    fn update_touched(
        &mut self,
        device: &Device,
        rule: Rule<'_>,
        contributions: &Contributions,
        factor: Option<View<'_, f32>>,
    ) -> Result<(), Error> {
        let Self { dim, weight, bias, weight_state, bias_state, .. } = self;
        rule.rows(device, contributions.of_rows(*dim, factor), &mut weight.view_mut(), weight_state)?;
        if contributions.bias.is_empty() {
            return Ok(());
        }
        rule.rows(device, contributions.of_bias(factor), &mut bias.view_mut(), bias_state)
    }
}

impl DeviceTable {
    /// As `update_touched`, of a table that stays in the host's memory; false where it does not.
    fn update_fetched(
        &mut self,
        device: &Device,
        rule: Rule<'_>,
        contributions: &Contributions,
        factor: Option<View<'_, f32>>,
        table: &mut Table,
    ) -> Result<bool, Error> {
        let dim = self.dim;
        let Some((hosted, mut host)) = self.hosted_rows(table) else { return Ok(false) };
        let places = &contributions.places;
        if places.is_empty() {
            return Ok(true);
        }
        let mut rows = hosted.fetch(device, places, &host)?;
        let Fetched { weight, weight_state, bias } = &mut rows;
        rule.rows(device, contributions.of_rows(dim, factor), &mut weight.view_mut(), weight_state)?;
        if let Some((bias, state)) = bias.as_mut().filter(|_| !contributions.bias.is_empty()) {
            rule.rows(device, contributions.of_bias(factor), &mut bias.view_mut(), state)?;
        }
        hosted.store(device, places, rows, &mut host)?;
        Ok(true)
    }
}

impl Accelerator {
    /// Applies both optimizers; without a rule, dense parameters stay as they are.
    pub(super) fn update(
        &mut self,
        set: &mut TableSet,
        sparse: &Sparse,
        table_rule: Rule<'_>,
        dense_rule: Option<Rule<'_>>,
        factor: Option<&Buffer<f32>>,
    ) -> Result<(), Error> {
        let (device, factor) = (&self.device, factor.map(Buffer::view));
        for (index, table) in self.tables.iter_mut().enumerate() {
            if table.dense.is_some() {
                set.tables[index].shards.values_mut().for_each(|shard| shard.dirty.touch_all());
                table.update_all(device, table_rule, factor)?;
            }
            for (span, contributions) in sparse.get(&index).into_iter().flatten() {
                let host = &mut set.tables[index];
                table.note_touched(span, &contributions.places, host);
                if !table.update_fetched(device, table_rule, contributions, factor, host)? {
                    table.update_touched(device, table_rule, contributions, factor)?;
                }
            }
        }
        let Some(dense_rule) = dense_rule else { return Ok(()) };
        let (dense, state) = (&mut self.dense, &mut self.dense_state);
        dense_rule.elements(device, dense, self.dense_gradient.view(), state, factor)
    }

    /// The factor by which all gradients shrink to a global norm of `limit`, `[1]`; none where they are within it.
    /// Collective.
    pub(super) fn clip_factor(
        &self,
        set: &TableSet,
        sparse: &Sparse,
        limit: f64,
        collective: &mut dyn Collective,
    ) -> Result<Option<Buffer<f32>>, train::Error> {
        let rank = collective.rank() as u32;
        let mut mine = Vec::new();
        for (index, table) in set.tables.iter().enumerate() {
            for block in table.scored_by(rank) {
                let squares = self.shard_squares(index, block, sparse)?;
                mine.extend([index as u64, u64::from(block), squares.to_bits()]);
            }
        }
        let dense = squares_of(&self.device, &[self.dense_gradient.view()])?;
        let (_, factor) = global_factor(mine, dense, limit, collective)?;
        Ok(factor.map(|factor| self.device.upload(&[factor])).transpose()?)
    }

    fn shard_squares(&self, index: usize, block: u32, sparse: &Sparse) -> Result<f64, Error> {
        let (device, table) = (&self.device, &self.tables[index]);
        let (span, dim) = (table.span(block), table.dim);
        if let Some(gradient) = &table.dense {
            let weight = gradient.weight.view().range(span.start * dim..span.end * dim);
            if gradient.bias.is_empty() {
                return squares_of(device, &[weight]);
            }
            return squares_of(device, &[weight, gradient.bias.view().range(span)]);
        }
        let shards = sparse.get(&index).into_iter().flatten();
        let Some((_, found)) = shards.into_iter().find(|(rows, _)| *rows == span) else { return Ok(0.0) };
        let sums = |gradients: RowGradients<'_>| -> Result<f64, Error> {
            let mut sums = device.buffer(found.segments.most() * gradients.dim)?;
            scatter_sum(device, gradients, &mut sums.view_mut())?;
            squares_of(device, &[sums.view().range(0..found.places.len() * gradients.dim)])
        };
        let rows = sums(found.of_rows(dim, None))?;
        Ok(if found.bias.is_empty() { rows } else { rows + sums(found.of_bias(None))? })
    }
}

fn squares_of(device: &Device, arrays: &[View<'_, f32>]) -> Result<f64, Error> {
    let mut total = device.zeros(1)?;
    for array in arrays {
        sum_of_squares(device, *array, &mut total.view_mut())?;
    }
    Ok(device.download(total.view())?[0])
}
