//! Adagrad, as `torch.optim.Adagrad`.

use super::Rows;
use super::elementwise::{Rule, check_step, update, update_rows};
use crate::error::Error;
use crate::isa::Isa;

/// Hyper-parameters of Adagrad.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Adagrad {
    /// Learning rate.
    pub lr: f64,
    /// The rate of step t is `lr / (1 + (t - 1) * lr_decay)`.
    pub lr_decay: f64,
    /// Added to the root of the accumulator.
    pub eps: f64,
    /// L2 penalty, added to the gradient.
    pub weight_decay: f64,
}

impl Adagrad {
    /// Updates `params` by `grads`; `step` counts from 1; the state is `sum`.
    ///
    /// # Errors
    /// [`Error::Shape`] where lengths differ, [`Error::Value`] where `step` is 0.
    pub fn update(
        &self,
        step: u64,
        params: &mut [f32],
        grads: &[f32],
        state: [&mut [f32]; 1],
        isa: Isa,
    ) -> Result<(), Error> {
        check_step("adagrad", step)?;
        update("adagrad", Rates::new(self, step), params, grads, state, isa)
    }

    /// Updates the given rows only; `lr_decay` follows the job's `step`.
    ///
    /// # Errors
    /// [`Error::Shape`] where lengths differ, [`Error::Value`] where a row lies outside the shard or `step` is 0.
    pub fn update_rows(
        &self,
        step: u64,
        rows: Rows<'_>,
        params: &mut [f32],
        state: [&mut [f32]; 1],
        isa: Isa,
    ) -> Result<(), Error> {
        check_step("adagrad", step)?;
        update_rows("adagrad", Rates::new(self, step), rows, params, state, isa)
    }
}

/// The scalars of one step, rounded to f32 once.
#[derive(Clone, Copy)]
pub(crate) struct Rates {
    pub(crate) lr: f32,
    pub(crate) eps: f32,
    pub(crate) weight_decay: f32,
}

impl Rates {
    pub(crate) fn new(spec: &Adagrad, step: u64) -> Self {
        Self {
            lr: (spec.lr / (1.0 + (step - 1) as f64 * spec.lr_decay)) as f32,
            eps: spec.eps as f32,
            weight_decay: spec.weight_decay as f32,
        }
    }
}

impl Rule<1> for Rates {
    #[inline(always)]
    fn element(self, param: f32, grad: f32, [sum]: [f32; 1]) -> (f32, [f32; 1]) {
        let grad = grad + self.weight_decay * param;
        let sum = sum + grad * grad;
        (param - self.lr * grad / (sum.sqrt() + self.eps), [sum])
    }
}
