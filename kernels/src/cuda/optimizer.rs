//! The optimizers over one flat buffer of dense parameters.

use super::Error;
use super::device::Device;
use super::embedding::adam_values;
use super::launch::Shape;
use super::memory::{View, ViewMut};
use crate::error::check_shape;
use crate::optimizer::{Adagrad, AdagradRates, Adam, AdamRates, AdamW, Sgd, check_step};

/// An optimizer with its state, each array as long as the parameters.
#[derive(Debug)]
pub enum DenseRule<'a> {
    /// SGD; with momentum, the buffer.
    Sgd(Sgd, Option<ViewMut<'a, f32>>),
    /// Adam at a step from 1 on; `exp_avg` and `exp_avg_sq`.
    Adam(Adam, u64, [ViewMut<'a, f32>; 2]),
    /// AdamW at a step from 1 on; `exp_avg` and `exp_avg_sq`.
    AdamW(AdamW, u64, [ViewMut<'a, f32>; 2]),
    /// Adagrad at a step from 1 on; `sum`.
    Adagrad(Adagrad, u64, ViewMut<'a, f32>),
}

const OP: &str = "update_dense";

/// Checks a state array: its length, and that four values can be loaded at once.
fn check_state(n: usize, state: &ViewMut<'_, f32>) -> Result<(), crate::Error> {
    check_shape(OP, "length of a state array", n, state.len())?;
    check_shape(OP, "bytes of a state array past a multiple of 16", 0, (state.address() % 16) as usize)
}

/// Updates `params` by `grads`, of which each is first multiplied by `factor` `[1]`, where given.
///
/// Parameters, gradients and state start at multiples of 16 bytes, as whole buffers do.
///
/// # Errors
/// [`crate::Error`] where lengths differ or a step is 0, else the device's.
pub fn update_dense(
    device: &Device,
    params: &mut ViewMut<'_, f32>,
    grads: View<'_, f32>,
    factor: Option<View<'_, f32>>,
    rule: DenseRule<'_>,
) -> Result<(), Error> {
    let n = params.len();
    check_state(n, params)?;
    check_shape(OP, "length of the gradients", n, grads.len())?;
    check_shape(OP, "bytes of the gradients past a multiple of 16", 0, (grads.address() % 16) as usize)?;
    check_shape(OP, "length of the factor", 1, factor.map_or(1, |factor| factor.len()))?;
    let start = |kernel| device.launch(kernel).input(grads).input_or_null(factor).value(n as u64);
    let launch = match rule {
        DenseRule::Sgd(spec, _) if spec.momentum == 0.0 => {
            start("optimizer_sgd_kernel").output(params).value(spec.lr as f32).value(spec.weight_decay as f32)
        }
        DenseRule::Sgd(spec, buffer) => {
            let Some(mut buffer) = buffer else {
                let what = "arrays of momentum";
                return Err(crate::Error::Shape { op: OP, what, expected: 1, got: 0 }.into());
            };
            check_state(n, &buffer)?;
            start("optimizer_momentum_kernel")
                .output(params)
                .output(&mut buffer)
                .value(spec.lr as f32)
                .value(spec.weight_decay as f32)
                .value(spec.momentum as f32)
                .value(u32::from(spec.nesterov))
        }
        DenseRule::Adam(spec, step, [mut m, mut v]) => {
            check_step(OP, step)?;
            check_state(n, &m).and(check_state(n, &v))?;
            let launch = start("optimizer_adam_kernel").output(params).output(&mut m).output(&mut v);
            adam_values(launch, AdamRates::new(&spec, step))
        }
        DenseRule::AdamW(spec, step, [mut m, mut v]) => {
            check_step(OP, step)?;
            check_state(n, &m).and(check_state(n, &v))?;
            let launch = start("optimizer_adam_kernel").output(params).output(&mut m).output(&mut v);
            adam_values(launch, AdamRates::decoupled(&spec, step))
        }
        DenseRule::Adagrad(spec, step, mut sum) => {
            check_step(OP, step)?;
            check_state(n, &sum)?;
            let AdagradRates { lr, eps, weight_decay } = AdagradRates::new(&spec, step);
            start("optimizer_adagrad_kernel")
                .output(params)
                .output(&mut sum)
                .value(lr)
                .value(eps)
                .value(weight_decay)
        }
    };
    launch.run(Shape::items(n.div_ceil(4)))
}
