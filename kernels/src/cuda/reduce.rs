//! Sums of a fixed order, and what else touches each element once.

use super::Error;
use super::device::Device;
use super::error::count;
use super::launch::Shape;
use super::memory::{View, ViewMut};
use crate::error::check_shape;
use crate::gemm::{Beta, KC};

/// Sums the rows of `rows` `[_, sums.len()]` in the order of [`reduce::column_sums`](crate::reduce::column_sums).
///
/// # Errors
/// [`crate::Error::Shape`] where `rows` is not a whole number of rows, else the device's.
pub fn column_sums(
    device: &Device,
    rows: View<'_, f32>,
    sums: &mut ViewMut<'_, f32>,
    beta: Beta,
) -> Result<(), Error> {
    const OP: &str = "column_sums";
    let cols = sums.len();
    let n = rows.len().checked_div(cols).unwrap_or(0);
    check_shape(OP, "length of rows", n * cols, rows.len())?;
    if cols == 0 {
        return Ok(());
    }
    if n == 0 {
        return if beta == Beta::Overwrite { device.zero(sums) } else { Ok(()) };
    }
    let blocks = n.div_ceil(KC);
    let mut partials = device.buffer::<f32>(blocks * cols)?;
    let shape = Shape::items(cols);
    let columns = count(OP, "number of columns", cols)?;
    device
        .launch("column_sums_partial_kernel")
        .input(rows)
        .output(&mut partials.view_mut())
        .value(count(OP, "number of rows", n)?)
        .value(columns)
        .run(Shape { grid: [shape.grid[0], blocks], ..shape })?;
    device
        .launch("column_sums_combine_kernel")
        .input(partials.view())
        .output(sums)
        .value(count(OP, "number of blocks", blocks)?)
        .value(columns)
        .value(u32::from(beta == Beta::Accumulate))
        .run(shape)
}

/// Adds `from` to `into`, element by element.
///
/// # Errors
/// [`crate::Error::Shape`] where the lengths differ, else the device's.
pub fn add_assign(device: &Device, into: &mut ViewMut<'_, f32>, from: View<'_, f32>) -> Result<(), Error> {
    check_shape("add_assign", "length of from", into.len(), from.len())?;
    let n = into.len();
    device.launch("add_assign_kernel").output(into).input(from).value(n as u64).run(Shape::items(n))
}

/// Multiplies each element by `factor` `[1]`.
///
/// # Errors
/// [`crate::Error::Shape`] where there is not one factor, else the device's.
pub fn scale(device: &Device, values: &mut ViewMut<'_, f32>, factor: View<'_, f32>) -> Result<(), Error> {
    check_shape("scale", "length of the factor", 1, factor.len())?;
    let n = values.len();
    device.launch("scale_kernel").output(values).input(factor).value(n as u64).run(Shape::items(n))
}

/// Adds one row to each row of `rows` `[_, row.len()]`.
///
/// # Errors
/// [`crate::Error::Shape`] where `rows` is not a whole number of rows, else the device's.
pub fn add_row(device: &Device, rows: &mut ViewMut<'_, f32>, row: View<'_, f32>) -> Result<(), Error> {
    const OP: &str = "add_row";
    let n = rows.len().checked_div(row.len()).unwrap_or(0);
    check_shape(OP, "length of rows", n * row.len(), rows.len())?;
    let (items, cols) = (rows.len(), count(OP, "number of columns", row.len())?);
    let n = count(OP, "number of rows", n)?;
    device.launch("add_row_kernel").output(rows).input(row).value(n).value(cols).run(Shape::items(items))
}

/// Gives each element the same value.
///
/// # Errors
/// The device's.
pub fn fill(device: &Device, values: &mut ViewMut<'_, f32>, value: f32) -> Result<(), Error> {
    let n = values.len();
    device.launch("fill_kernel").output(values).value(value).value(n as u64).run(Shape::items(n))
}
