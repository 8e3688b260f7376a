//! Losses on plain predictions: mean squared error, and binary cross-entropy of logits.
//!
//! Each call covers one micro-batch: it returns the sum of the losses (not the mean) in f64, in the order of
//! [`reduce::LANES`](crate::reduce::LANES), and writes the gradient times `scale`. A caller who wants the mean over a batch passes
//! one over the batch's count as `scale`, so that the result does not depend on how the batch was cut.

use crate::error::{Error, check_shape};
use crate::isa::{Isa, Kernel, Simd};
use crate::math;
use crate::reduce::{LANES, fold_lanes};

/// Arguments of [`mean_squared_error`] and [`binary_cross_entropy`]; all slices have one length.
#[derive(Debug)]
pub struct Loss<'a> {
    /// Predictions, or logits.
    pub pred: &'a [f32],
    /// Targets; for the cross-entropy in [0, 1].
    pub target: &'a [f32],
    /// Factor of the gradient.
    pub scale: f32,
    /// Receives `scale` times the gradient of the sum of the losses.
    pub d_pred: &'a mut [f32],
}

/// Returns the sum of `(pred - target)^2` and writes `scale * 2 (pred - target)`.
///
/// # Errors
/// [`Error::Shape`] where lengths differ.
pub fn mean_squared_error(args: Loss<'_>, isa: Isa) -> Result<f64, Error> {
    each_element("mean_squared_error", args, isa, squared_error)
}

/// Returns the sum of `-target ln s - (1 - target) ln (1 - s)`, s the sigmoid of `pred`, and writes
/// `scale * (s - target)`.
///
/// # Errors
/// [`Error::Shape`] where lengths differ.
pub fn binary_cross_entropy(args: Loss<'_>, isa: Isa) -> Result<f64, Error> {
    each_element("binary_cross_entropy", args, isa, logistic_loss)
}

/// Returns one element's loss and derivative.
#[inline(always)]
fn squared_error(pred: f32, target: f32) -> (f32, f32) {
    let difference = pred - target;
    (difference * difference, 2.0 * difference)
}

/// Returns one element's loss and derivative.
#[inline(always)]
fn logistic_loss(pred: f32, target: f32) -> (f32, f32) {
    // ln(1 + e) with what 1 + e rounds off put back, so that small losses keep their relative accuracy.
    let e = math::exp(-pred.abs());
    let one_more = 1.0 + e;
    let softplus = math::ln(one_more) + (e - (one_more - 1.0)) / one_more;
    let positive = if pred > 0.0 { pred } else { 0.0 };
    (pred.mul_add(-target, positive) + softplus, math::sigmoid(pred) - target)
}

fn each_element(
    op: &'static str,
    args: Loss<'_>,
    isa: Isa,
    element: impl Fn(f32, f32) -> (f32, f32),
) -> Result<f64, Error> {
    struct Each<'a, F>(Loss<'a>, F);
    impl<F: Fn(f32, f32) -> (f32, f32)> Kernel for Each<'_, F> {
        type Output = f64;
        #[inline(always)]
        fn run<S: Simd>(self, _simd: S) -> f64 {
            let Self(Loss { pred, target, scale, d_pred }, element) = self;
            let mut lanes = [0.0; LANES];
            let chunks = pred.chunks(LANES).zip(target.chunks(LANES)).zip(d_pred.chunks_mut(LANES));
            for ((pred, target), d_pred) in chunks {
                for (((lane, &pred), &target), d_pred) in lanes.iter_mut().zip(pred).zip(target).zip(d_pred) {
                    let (loss, derivative) = element(pred, target);
                    *lane += f64::from(loss);
                    *d_pred = scale * derivative;
                }
            }
            fold_lanes(lanes)
        }
    }
    check_shape(op, "length of target", args.pred.len(), args.target.len())?;
    check_shape(op, "length of d_pred", args.pred.len(), args.d_pred.len())?;
    Ok(isa.dispatch(Each(args, element)))
}
