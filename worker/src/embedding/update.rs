//! Applying the tables' optimizer to the shards of this rank.

use muster_kernels::Error;
use muster_kernels::optimizer::{Adagrad, Adam, AdamW, RowSquares, Rows, RowwiseAdagrad, Sgd};
use muster_proto::job::{OptimizerKind, OptimizerSpec};

use super::shard::Shard;
use crate::model::{Dense, isa};

/// Updates a shard from the gradient that the step left in it and clears the gradient.
///
/// `lr` is the scheduled learning rate, `step` counts from 1. Rules for all rows make a sparse gradient dense
/// first; rules for touched rows take it as it is (every row is touched by a full softmax).
///
/// # Errors
/// Shapes that do not fit.
pub fn update_shard(shard: &mut Shard, spec: &OptimizerSpec, lr: f64, step: u64) -> Result<(), Error> {
    if !spec.kind.is_sparse() || shard.gradient.dense {
        shard.densify_gradient();
    }
    let Shard { dim, whole_dim, weight, bias, state, gradient, dirty, .. } = shard;
    let rule = Rule { spec, lr, step };
    if gradient.dense {
        dirty.touch_all();
        rule.all_rows(weight, &gradient.weight, &mut state.weight, *dim)?;
        if !bias.is_empty() {
            rule.all_rows(bias, &gradient.bias, &mut state.bias, 1)?;
        }
    } else {
        dirty.touch(&gradient.ids);
        let rows = Rows { ids: &gradient.ids, grads: &gradient.rows, dim: *dim };
        let squares = gradient.whole_squares.take();
        let whole = squares.as_ref().map(|squares| RowSquares { squares, full_dim: *whole_dim });
        rule.touched_rows(rows, whole, weight, &mut state.weight)?;
        if !gradient.row_bias.is_empty() {
            let rows = Rows { ids: &gradient.ids, grads: &gradient.row_bias, dim: 1 };
            rule.touched_rows(rows, None, bias, &mut state.bias)?;
        }
    }
    gradient.clear();
    Ok(())
}

/// Updates dense parameters from their gradient; `lr` and `step` as for a shard.
///
/// # Errors
/// Shapes that do not fit.
pub fn update_dense(
    dense: &mut Dense,
    gradient: &[f32],
    spec: &OptimizerSpec,
    lr: f64,
    step: u64,
) -> Result<(), Error> {
    Rule { spec, lr, step }.all_rows(&mut dense.values, gradient, &mut dense.state, 1)
}

struct Rule<'a> {
    spec: &'a OptimizerSpec,
    lr: f64,
    step: u64,
}

impl Rule<'_> {
    fn adam(&self) -> Adam {
        let OptimizerSpec { beta1, beta2, eps, weight_decay, .. } = *self.spec;
        Adam { lr: self.lr, beta1, beta2, eps, weight_decay }
    }

    fn all_rows(
        &self,
        values: &mut [f32],
        gradient: &[f32],
        state: &mut [Vec<f32>],
        dim: usize,
    ) -> Result<(), Error> {
        let OptimizerSpec { beta1, beta2, eps, weight_decay, momentum, .. } = *self.spec;
        let (lr, step) = (self.lr, self.step);
        match (self.spec.kind, state) {
            (OptimizerKind::Sgd, [buffer]) => {
                let rule = Sgd { lr, momentum, weight_decay, nesterov: false };
                rule.update(values, gradient, [buffer], isa())
            }
            (OptimizerKind::Adam | OptimizerKind::LazyAdam, [m, v]) => {
                self.adam().update(step, values, gradient, [m, v], isa())
            }
            (OptimizerKind::AdamW, [m, v]) => {
                let rule = AdamW { lr, beta1, beta2, eps, weight_decay };
                rule.update(step, values, gradient, [m, v], isa())
            }
            (OptimizerKind::Adagrad, [sum]) => {
                let rule = Adagrad { lr, lr_decay: 0.0, eps, weight_decay };
                rule.update(step, values, gradient, [sum], isa())
            }
            (OptimizerKind::RowWiseAdagrad, [sum]) => {
                RowwiseAdagrad { lr, eps, weight_decay }.update(dim, values, gradient, sum, isa())
            }
            (kind, state) => unreachable!("{kind:?} has {} state slots", state.len()),
        }
    }

    /// `whole` are the squares of the whole rows, where the values are only some of their columns.
    fn touched_rows(
        &self,
        rows: Rows<'_>,
        whole: Option<RowSquares<'_>>,
        values: &mut [f32],
        state: &mut [Vec<f32>],
    ) -> Result<(), Error> {
        let OptimizerSpec { eps, weight_decay, .. } = *self.spec;
        match (self.spec.kind, state) {
            (OptimizerKind::LazyAdam, [m, v]) => {
                self.adam().update_rows(self.step, rows, values, [m, v], isa())
            }
            (OptimizerKind::RowWiseAdagrad, [sum]) => {
                let rule = RowwiseAdagrad { lr: self.lr, eps, weight_decay };
                match whole {
                    None => rule.update_rows(rows, values, sum, isa()),
                    Some(whole) => rule.update_rows_with_squares(rows, whole, values, sum, isa()),
                }
            }
            (kind, state) => unreachable!("{kind:?} with {} state slots is for all rows", state.len()),
        }
    }
}
