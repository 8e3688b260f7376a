//! Losses on plain predictions, see [`loss`](mod@crate::loss).

use super::Error;
use super::device::Device;
use super::error::count;
use super::launch::Shape;
use super::memory::{View, ViewMut};
use super::norm::add_up;
use crate::error::check_shape;

/// Arguments of [`mean_squared_error`] and [`binary_cross_entropy`]; all views but the loss have one length.
#[derive(Debug)]
pub struct Loss<'a> {
    /// Predictions, or logits.
    pub pred: View<'a, f32>,
    /// Targets; for the cross-entropy in [0, 1].
    pub target: View<'a, f32>,
    /// Factor of the gradient.
    pub scale: f32,
    /// Receives `scale` times the gradient of the sum of the losses.
    pub d_pred: ViewMut<'a, f32>,
    /// The sum of the losses is added here `[1]`.
    pub loss: ViewMut<'a, f64>,
}

/// Adds up `(pred - target)^2` and writes `scale * 2 (pred - target)`.
///
/// # Errors
/// [`crate::Error::Shape`] where lengths differ, else the device's.
pub fn mean_squared_error(device: &Device, args: Loss<'_>) -> Result<(), Error> {
    each_element(device, "mean_squared_error_kernel", args)
}

/// Adds up the logistic losses and writes `scale * (s - target)`, s the sigmoid of `pred`.
///
/// # Errors
/// [`crate::Error::Shape`] where lengths differ, else the device's.
pub fn binary_cross_entropy(device: &Device, args: Loss<'_>) -> Result<(), Error> {
    each_element(device, "binary_cross_entropy_kernel", args)
}

fn each_element(device: &Device, kernel: &'static str, args: Loss<'_>) -> Result<(), Error> {
    let Loss { pred, target, scale, mut d_pred, mut loss } = args;
    let n = pred.len();
    check_shape(kernel, "length of target", n, target.len())?;
    check_shape(kernel, "length of d_pred", n, d_pred.len())?;
    let mut losses = device.buffer(n)?;
    device
        .launch(kernel)
        .input(pred)
        .input(target)
        .output(&mut d_pred)
        .output(&mut losses.view_mut())
        .value(scale)
        .value(count(kernel, "number of predictions", n)?)
        .run(Shape::items(n))?;
    add_up(device, losses.view(), &mut loss)
}
