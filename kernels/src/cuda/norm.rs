//! Norms and clipping that never leave the device.

use super::Error;
use super::device::Device;
use super::error::count;
use super::launch::Shape;
use super::memory::{View, ViewMut};
use crate::error::check_shape;

/// Values that one block sums; `NORM_TILE` of `norm.cu`.
const TILE: usize = 8192;

/// Adds the sum of the squares to `total` `[1]`, in f64, over tiles of a fixed length and a fixed tree.
///
/// # Errors
/// [`crate::Error::Shape`] where `total` is not one number, else the device's.
pub fn sum_of_squares(
    device: &Device,
    values: View<'_, f32>,
    total: &mut ViewMut<'_, f64>,
) -> Result<(), Error> {
    check_shape("sum_of_squares", "length of the total", 1, total.len())?;
    if values.is_empty() {
        return Ok(());
    }
    let tiles = values.len().div_ceil(TILE);
    let mut partials = device.buffer(tiles)?;
    device
        .launch("norm_squares_kernel")
        .input(values)
        .output(&mut partials.view_mut())
        .value(values.len() as u64)
        .run(Shape::blocks(tiles))?;
    add_up(device, partials.view(), total)
}

/// Adds the sum of `values` to `total` `[1]`, in one fixed order: the losses of positions, for instance.
///
/// # Errors
/// [`crate::Error::Shape`] where `total` is not one number, else the device's.
pub fn add_up(device: &Device, values: View<'_, f64>, total: &mut ViewMut<'_, f64>) -> Result<(), Error> {
    check_shape("add_up", "length of the total", 1, total.len())?;
    let n = count("add_up", "number of values", values.len())?;
    device.launch("norm_combine_kernel").input(values).output(total).value(n).run(Shape::blocks(1))
}

/// Writes what gradients whose squares add up to `squares` `[1]` are multiplied by for a norm of at most `limit`.
///
/// # Errors
/// [`crate::Error::Shape`] where a length is not 1, else the device's.
pub fn clip_factor(
    device: &Device,
    squares: View<'_, f64>,
    limit: f64,
    factor: &mut ViewMut<'_, f32>,
) -> Result<(), Error> {
    check_shape("clip_factor", "length of the squares", 1, squares.len())?;
    check_shape("clip_factor", "length of the factor", 1, factor.len())?;
    device.launch("norm_clip_kernel").input(squares).output(factor).value(limit).run(Shape::blocks(1))
}
