//! Dropout in place with the CPU's masks, see [`dropout`](mod@crate::dropout).

use super::Error;
use super::device::Device;
use super::error::count;
use super::launch::{Shape, THREADS};
use super::memory::{Buffer, ViewMut};
use crate::dropout::{GROUP, RowKey, threshold};
use crate::error::check_shape;
use crate::rng::Stream;

/// Philox counters of a group of elements.
const COUNTERS: usize = 8;

/// The logical places of a batch's rows in device memory.
#[derive(Debug)]
pub struct RowKeys {
    samples: Buffer<u64>,
    positions: Buffer<u32>,
}

impl RowKeys {
    /// Copies the keys to the device.
    ///
    /// # Errors
    /// The device's.
    pub fn upload(device: &Device, keys: &[RowKey]) -> Result<Self, Error> {
        let samples: Vec<u64> = keys.iter().map(|key| key.sample).collect();
        let positions: Vec<u32> = keys.iter().map(|key| key.position).collect();
        Ok(Self { samples: device.upload(&samples)?, positions: device.upload(&positions)? })
    }

    /// Returns the number of rows.
    pub fn len(&self) -> usize {
        self.samples.len()
    }

    /// Returns whether there are none.
    pub fn is_empty(&self) -> bool {
        self.samples.is_empty()
    }
}

/// Sets a share `rate` of `values` `[row_keys.len(), width]` to zero and divides the others by `1 - rate`; on the
/// gradient, the same call is the backward pass.
///
/// # Errors
/// [`crate::Error`] where the rate is outside of [0, 1) or `values` is not a whole number of rows, else the device's.
pub fn dropout(
    device: &Device,
    stream: Stream,
    rate: f32,
    row_keys: &RowKeys,
    values: &mut ViewMut<'_, f32>,
) -> Result<(), Error> {
    const OP: &str = "dropout";
    if !(0.0..1.0).contains(&rate) {
        let got = rate.to_string();
        return Err(crate::Error::Value { op: OP, what: "rate", expected: "in [0, 1)", got }.into());
    }
    let rows = row_keys.len();
    let width = values.len().checked_div(rows).unwrap_or(0);
    check_shape(OP, "length of values", rows * width, values.len())?;
    let (threshold, scale) = threshold(rate);
    if threshold == 0 || width == 0 {
        return Ok(());
    }
    let groups = width.div_ceil(GROUP);
    let [key0, key1] = stream.key();
    device
        .launch("dropout_kernel")
        .output(values)
        .input(row_keys.samples.view())
        .input(row_keys.positions.view())
        .value(count(OP, "number of rows", rows)?)
        .value(count(OP, "width", width)?)
        .value(count(OP, "number of groups", groups)?)
        .value(key0)
        .value(key1)
        .value(threshold)
        .value(scale)
        .run(Shape::blocks((rows * groups * COUNTERS).div_ceil(THREADS as usize)))
}
