//! The losses and dropout, element by element; see [`loss`](crate::loss) and [`dropout`](crate::dropout).

use super::Real;
use crate::dropout::{GROUP, RowKey, group_lanes, threshold};
use crate::reduce::{LANES, fold_lanes};
use crate::rng::Stream;

/// Returns the sum of the squared errors and `scale` times its gradient.
pub fn mean_squared_error<T: Real>(pred: &[T], target: &[T], scale: T) -> (f64, Vec<T>) {
    each_element(pred, target, scale, |pred, target| {
        let difference = pred.sub(target);
        (difference.mul(difference), T::from_f64(2.0).mul(difference))
    })
}

/// Returns the sum of the logistic losses and `scale` times its gradient.
pub fn binary_cross_entropy<T: Real>(pred: &[T], target: &[T], scale: T) -> (f64, Vec<T>) {
    let (zero, one) = (T::default(), T::from_f64(1.0));
    each_element(pred, target, scale, |pred, target| {
        let positive = if pred > zero { pred } else { zero };
        let size = if pred > zero { pred } else { pred.neg() };
        let e = size.neg().exp();
        let one_more = one.add(e);
        let softplus = one_more.ln().add(e.sub(one_more.sub(one)).div(one_more));
        (pred.mul_add(target.neg(), positive).add(softplus), pred.sigmoid().sub(target))
    })
}

fn each_element<T: Real>(
    pred: &[T],
    target: &[T],
    scale: T,
    element: impl Fn(T, T) -> (T, T),
) -> (f64, Vec<T>) {
    let mut lanes = [0.0; LANES];
    let mut d_pred = Vec::with_capacity(pred.len());
    for (at, (&pred, &target)) in pred.iter().zip(target).enumerate() {
        let (loss, derivative) = element(pred, target);
        lanes[at % LANES] += loss.to_f64();
        d_pred.push(scale.mul(derivative));
    }
    (fold_lanes(lanes), d_pred)
}

/// Applies dropout to `values [row_keys.len(), width]`.
pub fn dropout(stream: Stream, rate: f32, row_keys: &[RowKey], values: &mut [f32]) {
    let width = values.len().checked_div(row_keys.len()).unwrap_or(0);
    let (threshold, scale) = threshold(rate);
    for (at, value) in values.iter_mut().enumerate() {
        let (key, element) = (row_keys[at / width], at % width);
        let lane = group_lanes(stream, key, element / GROUP)[element % GROUP];
        *value = if lane < threshold { 0.0 } else { *value * scale };
    }
}
