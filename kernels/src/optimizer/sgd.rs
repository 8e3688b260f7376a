//! SGD with momentum and Nesterov's variant, as `torch.optim.SGD` with zero dampening.

use super::Rows;
use super::elementwise::{Rule, update, update_rows};
use crate::error::Error;
use crate::isa::Isa;

/// Hyper-parameters of SGD.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sgd {
    /// Learning rate.
    pub lr: f64,
    /// Share of the momentum buffer that is kept; 0 needs no buffer.
    pub momentum: f64,
    /// L2 penalty, added to the gradient.
    pub weight_decay: f64,
    /// Looks one step ahead along the momentum.
    pub nesterov: bool,
}

impl Sgd {
    /// Updates `params` by `grads`; the state is `momentum_buffer`, empty where `momentum` is 0.
    ///
    /// # Errors
    /// [`Error::Shape`] where lengths differ.
    pub fn update(
        &self,
        params: &mut [f32],
        grads: &[f32],
        state: [&mut [f32]; 1],
        isa: Isa,
    ) -> Result<(), Error> {
        if self.momentum == 0.0 {
            update("sgd", Plain::new(self), params, grads, [], isa)
        } else {
            update("sgd", Momentum::new(self), params, grads, state, isa)
        }
    }

    /// Updates the given rows of `params`; the momentum of other rows does not decay.
    ///
    /// # Errors
    /// [`Error::Shape`] where lengths differ, [`Error::Value`] where a row lies outside the shard.
    pub fn update_rows(
        &self,
        rows: Rows<'_>,
        params: &mut [f32],
        state: [&mut [f32]; 1],
        isa: Isa,
    ) -> Result<(), Error> {
        if self.momentum == 0.0 {
            update_rows("sgd", Plain::new(self), rows, params, [], isa)
        } else {
            update_rows("sgd", Momentum::new(self), rows, params, state, isa)
        }
    }
}

#[derive(Clone, Copy)]
struct Plain {
    lr: f32,
    weight_decay: f32,
}

impl Plain {
    fn new(spec: &Sgd) -> Self {
        Self { lr: spec.lr as f32, weight_decay: spec.weight_decay as f32 }
    }
}

impl Rule<0> for Plain {
    #[inline(always)]
    fn element(self, param: f32, grad: f32, _: [f32; 0]) -> (f32, [f32; 0]) {
        (param - self.lr * (grad + self.weight_decay * param), [])
    }
}

#[derive(Clone, Copy)]
struct Momentum {
    plain: Plain,
    momentum: f32,
    nesterov: bool,
}

impl Momentum {
    fn new(spec: &Sgd) -> Self {
        Self { plain: Plain::new(spec), momentum: spec.momentum as f32, nesterov: spec.nesterov }
    }
}

impl Rule<1> for Momentum {
    #[inline(always)]
    fn element(self, param: f32, grad: f32, [buffer]: [f32; 1]) -> (f32, [f32; 1]) {
        let grad = grad + self.plain.weight_decay * param;
        let buffer = self.momentum * buffer + grad;
        let direction = if self.nesterov { grad + self.momentum * buffer } else { buffer };
        (param - self.plain.lr * direction, [buffer])
    }
}
