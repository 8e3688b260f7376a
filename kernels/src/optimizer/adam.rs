//! Adam and AdamW, as `torch.optim.Adam` and `torch.optim.AdamW`; on rows, lazy Adam.

use super::Rows;
use super::elementwise::{Rule, check_step, update, update_rows};
use crate::error::Error;
use crate::isa::Isa;

/// Hyper-parameters of Adam; `weight_decay` is an L2 penalty.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Adam {
    /// Learning rate.
    pub lr: f64,
    /// Share of the first moment that is kept.
    pub beta1: f64,
    /// Share of the second moment that is kept.
    pub beta2: f64,
    /// Added to the root of the second moment, after its bias correction.
    pub eps: f64,
    /// L2 penalty, added to the gradient.
    pub weight_decay: f64,
}

/// Hyper-parameters of AdamW; `weight_decay` shrinks the parameters by themselves.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdamW {
    /// Learning rate.
    pub lr: f64,
    /// Share of the first moment that is kept.
    pub beta1: f64,
    /// Share of the second moment that is kept.
    pub beta2: f64,
    /// Added to the root of the second moment, after its bias correction.
    pub eps: f64,
    /// Parameters are multiplied by `1 - lr * weight_decay` before the step.
    pub weight_decay: f64,
}

impl Adam {
    /// Updates `params` by `grads`; `step` counts from 1; the state is `exp_avg, exp_avg_sq`.
    ///
    /// # Errors
    /// [`Error::Shape`] where lengths differ, [`Error::Value`] where `step` is 0.
    pub fn update(
        &self,
        step: u64,
        params: &mut [f32],
        grads: &[f32],
        state: [&mut [f32]; 2],
        isa: Isa,
    ) -> Result<(), Error> {
        check_step("adam", step)?;
        update("adam", Rates::new(self, step), params, grads, state, isa)
    }

    /// Lazy Adam: updates the given rows only, with the job's `step` in the bias corrections
    /// (the rule of `torch.optim.SparseAdam`), however often a row was touched before.
    ///
    /// # Errors
    /// [`Error::Shape`] where lengths differ, [`Error::Value`] where a row lies outside the shard or `step` is 0.
    pub fn update_rows(
        &self,
        step: u64,
        rows: Rows<'_>,
        params: &mut [f32],
        state: [&mut [f32]; 2],
        isa: Isa,
    ) -> Result<(), Error> {
        check_step("adam", step)?;
        update_rows("adam", Rates::new(self, step), rows, params, state, isa)
    }
}

impl AdamW {
    /// Updates `params` by `grads`; `step` counts from 1; the state is `exp_avg, exp_avg_sq`.
    ///
    /// # Errors
    /// [`Error::Shape`] where lengths differ, [`Error::Value`] where `step` is 0.
    pub fn update(
        &self,
        step: u64,
        params: &mut [f32],
        grads: &[f32],
        state: [&mut [f32]; 2],
        isa: Isa,
    ) -> Result<(), Error> {
        check_step("adamw", step)?;
        update("adamw", Rates::decoupled(self, step), params, grads, state, isa)
    }

    /// Updates the given rows only, with the job's `step` in the bias corrections.
    ///
    /// # Errors
    /// [`Error::Shape`] where lengths differ, [`Error::Value`] where a row lies outside the shard or `step` is 0.
    pub fn update_rows(
        &self,
        step: u64,
        rows: Rows<'_>,
        params: &mut [f32],
        state: [&mut [f32]; 2],
        isa: Isa,
    ) -> Result<(), Error> {
        check_step("adamw", step)?;
        update_rows("adamw", Rates::decoupled(self, step), rows, params, state, isa)
    }
}

/// The scalars of one step, rounded to f32 once.
#[derive(Clone, Copy)]
pub(crate) struct Rates {
    pub(crate) step_size: f32,
    pub(crate) beta2: f32,
    pub(crate) one_minus_beta1: f32,
    pub(crate) one_minus_beta2: f32,
    pub(crate) correction2_sqrt: f32,
    pub(crate) eps: f32,
    pub(crate) l2: f32,
    pub(crate) keep: f32,
}

impl Rates {
    pub(crate) fn new(spec: &Adam, step: u64) -> Self {
        let exponent = step as f64;
        Self {
            step_size: (spec.lr / (1.0 - spec.beta1.powf(exponent))) as f32,
            beta2: spec.beta2 as f32,
            one_minus_beta1: (1.0 - spec.beta1) as f32,
            one_minus_beta2: (1.0 - spec.beta2) as f32,
            correction2_sqrt: (1.0 - spec.beta2.powf(exponent)).sqrt() as f32,
            eps: spec.eps as f32,
            l2: spec.weight_decay as f32,
            keep: 1.0,
        }
    }

    pub(crate) fn decoupled(spec: &AdamW, step: u64) -> Self {
        let AdamW { lr, beta1, beta2, eps, weight_decay } = *spec;
        let adam = Adam { lr, beta1, beta2, eps, weight_decay: 0.0 };
        Self { keep: (1.0 - lr * weight_decay) as f32, ..Self::new(&adam, step) }
    }
}

impl Rule<2> for Rates {
    #[inline(always)]
    fn element(self, param: f32, grad: f32, [m, v]: [f32; 2]) -> (f32, [f32; 2]) {
        let grad = grad + self.l2 * param;
        let m = m + self.one_minus_beta1 * (grad - m);
        let v = self.beta2 * v + self.one_minus_beta2 * (grad * grad);
        let denominator = v.sqrt() / self.correction2_sqrt + self.eps;
        (param * self.keep - self.step_size * m / denominator, [m, v])
    }
}
