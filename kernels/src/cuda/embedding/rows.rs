//! Updates of the rows that occur, fused with the sum of their gradients.

use super::check_below;
use super::update::{ROWS_OF_BLOCK, RowGradients};
use crate::cuda::Error;
use crate::cuda::device::Device;
use crate::cuda::memory::ViewMut;
use crate::error::check_shape;
use crate::optimizer::{
    Adagrad, AdagradRates, Adam, AdamRates, AdamW, RowwiseAdagrad, RowwiseRates, Sgd, check_step,
};

/// An optimizer with its state for the table, whose rows are `[V, dim]`.
#[derive(Debug)]
pub enum RowRule<'a> {
    /// SGD; with momentum, the buffer `[V, dim]`.
    Sgd(Sgd, Option<ViewMut<'a, f32>>),
    /// Lazy Adam at a step from 1 on; `exp_avg` and `exp_avg_sq` `[V, dim]`.
    Adam(Adam, u64, [ViewMut<'a, f32>; 2]),
    /// AdamW at a step from 1 on; `exp_avg` and `exp_avg_sq` `[V, dim]`.
    AdamW(AdamW, u64, [ViewMut<'a, f32>; 2]),
    /// Adagrad at a step from 1 on; `sum` `[V, dim]`.
    Adagrad(Adagrad, u64, ViewMut<'a, f32>),
    /// Row-wise Adagrad; `sum` `[V]`.
    RowwiseAdagrad(RowwiseAdagrad, ViewMut<'a, f32>),
}

impl RowRule<'_> {
    fn check(&self, n_rows: usize, dim: usize) -> Result<(), crate::Error> {
        const OP: &str = "update_rows";
        let whole =
            |state: &ViewMut<'_, f32>| check_shape(OP, "length of a state array", n_rows * dim, state.len());
        match self {
            Self::Sgd(spec, buffer) => match buffer {
                Some(buffer) => whole(buffer),
                None => check_shape(OP, "arrays of momentum", usize::from(spec.momentum != 0.0), 0),
            },
            Self::Adam(_, step, state) | Self::AdamW(_, step, state) => {
                check_step(OP, *step)?;
                state.iter().try_for_each(whole)
            }
            Self::Adagrad(_, step, sum) => {
                check_step(OP, *step)?;
                whole(sum)
            }
            Self::RowwiseAdagrad(_, sum) => check_shape(OP, "length of a state array", n_rows, sum.len()),
        }
    }

    fn is_wide(&self) -> bool {
        match self {
            Self::Sgd(_, buffer) => buffer.as_ref().is_none_or(ViewMut::is_aligned),
            Self::Adam(_, _, state) | Self::AdamW(_, _, state) => state.iter().all(ViewMut::is_aligned),
            Self::Adagrad(_, _, sum) => sum.is_aligned(),
            Self::RowwiseAdagrad(..) => true,
        }
    }

    fn kernel(&self, wide: bool) -> &'static str {
        match (self, wide) {
            (Self::Sgd(spec, _), true) if spec.momentum == 0.0 => "embedding_update_sgd_vec4_kernel",
            (Self::Sgd(spec, _), false) if spec.momentum == 0.0 => "embedding_update_sgd_kernel",
            (Self::Sgd(..), true) => "embedding_update_momentum_vec4_kernel",
            (Self::Sgd(..), false) => "embedding_update_momentum_kernel",
            (Self::Adam(..) | Self::AdamW(..), true) => "embedding_update_adam_vec4_kernel",
            (Self::Adam(..) | Self::AdamW(..), false) => "embedding_update_adam_kernel",
            (Self::Adagrad(..), true) => "embedding_update_adagrad_vec4_kernel",
            (Self::Adagrad(..), false) => "embedding_update_adagrad_kernel",
            (Self::RowwiseAdagrad(..), true) => "embedding_update_rowwise_vec4_kernel",
            (Self::RowwiseAdagrad(..), false) => "embedding_update_rowwise_kernel",
        }
    }
}

/// Sums the gradients of each row that occurs, in the order of occurrence, and updates the row; others stay.
///
/// `params` is `[V, dim]`. Up to 64 occurrences of a row the bits are the CPU's; beyond, its gradient is summed in
/// stretches of the sorted occurrences, which depend on the arguments alone.
///
/// # Errors
/// [`crate::Error`] where lengths differ or an id may be no row of the table, else the device's.
pub fn update_rows(
    device: &Device,
    gradients: RowGradients<'_>,
    params: &mut ViewMut<'_, f32>,
    rule: RowRule<'_>,
) -> Result<(), Error> {
    const OP: &str = "update_rows";
    let dim = gradients.dim;
    gradients.check(OP)?;
    let n_rows = params.len().checked_div(dim).unwrap_or(0);
    check_shape(OP, "length of the parameters", n_rows * dim, params.len())?;
    rule.check(n_rows, dim)?;
    if dim == 0 || gradients.segments.most() == 0 {
        return Ok(());
    }
    check_below(OP, gradients.segments.unique().below(), n_rows)?;
    let wide = gradients.is_wide() && params.is_aligned() && rule.is_wide();
    let partials = gradients.partials(device, wide)?;
    let mut shape = gradients.shape();
    let launch = gradients.launch(device, rule.kernel(wide), &partials)?.output(params);
    let launch = match rule {
        RowRule::Sgd(spec, Some(mut buffer)) if spec.momentum != 0.0 => launch
            .output(&mut buffer)
            .value(spec.lr as f32)
            .value(spec.weight_decay as f32)
            .value(spec.momentum as f32)
            .value(u32::from(spec.nesterov)),
        RowRule::Sgd(spec, _) => launch.value(spec.lr as f32).value(spec.weight_decay as f32),
        RowRule::Adam(spec, step, [mut m, mut v]) => {
            adam_values(launch.output(&mut m).output(&mut v), AdamRates::new(&spec, step))
        }
        RowRule::AdamW(spec, step, [mut m, mut v]) => {
            adam_values(launch.output(&mut m).output(&mut v), AdamRates::decoupled(&spec, step))
        }
        RowRule::Adagrad(spec, step, mut sum) => {
            let AdagradRates { lr, eps, weight_decay } = AdagradRates::new(&spec, step);
            launch.output(&mut sum).value(lr).value(eps).value(weight_decay)
        }
        RowRule::RowwiseAdagrad(spec, mut sum) => {
            // Each warp keeps its row's gradient in shared memory.
            shape.shared = (ROWS_OF_BLOCK * dim.next_multiple_of(4) * size_of::<f32>()) as u32;
            let RowwiseRates { lr, eps, weight_decay } = RowwiseRates::new(&spec);
            launch.output(&mut sum).value(lr).value(eps).value(weight_decay)
        }
    };
    launch.run(shape)
}

/// Adds the summed gradient of each row that occurs to its row of `out` `[V, dim]`, a gradient of all rows.
///
/// # Errors
/// [`crate::Error`] where lengths differ or an id may be no row of `out`, else the device's.
pub fn add_rows(
    device: &Device,
    gradients: RowGradients<'_>,
    out: &mut ViewMut<'_, f32>,
) -> Result<(), Error> {
    // A step of SGD with the rate -1, exactly.
    let add = Sgd { lr: -1.0, momentum: 0.0, weight_decay: 0.0, nesterov: false };
    update_rows(device, gradients, out, RowRule::Sgd(add, None))
}

/// Adds the scalars of an Adam step to a launch.
pub(in crate::cuda) fn adam_values(
    launch: crate::cuda::launch::Launch<'_>,
    rates: AdamRates,
) -> crate::cuda::launch::Launch<'_> {
    launch
        .value(rates.step_size)
        .value(rates.beta2)
        .value(rates.one_minus_beta1)
        .value(rates.one_minus_beta2)
        .value(rates.correction2_sqrt)
        .value(rates.eps)
        .value(rates.l2)
        .value(rates.keep)
}

/// Sums the gradients of each row that occurs into `out` `[most, dim]`, row by row of the distinct ids.
///
/// # Errors
/// [`crate::Error`] where lengths differ, else the device's.
pub fn scatter_sum(
    device: &Device,
    gradients: RowGradients<'_>,
    out: &mut ViewMut<'_, f32>,
) -> Result<(), Error> {
    const OP: &str = "scatter_sum";
    gradients.check(OP)?;
    check_shape(OP, "length of out", gradients.segments.most() * gradients.dim, out.len())?;
    if out.is_empty() {
        return Ok(());
    }
    let wide = gradients.is_wide() && out.is_aligned();
    let partials = gradients.partials(device, wide)?;
    let kernel = if wide { "embedding_scatter_sum_vec4_kernel" } else { "embedding_scatter_sum_kernel" };
    gradients.launch(device, kernel, &partials)?.output(out).run(gradients.shape())
}
