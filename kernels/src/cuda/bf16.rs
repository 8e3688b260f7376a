//! bfloat16 operands of products, see [`bf16`](mod@crate::bf16).

use super::Error;
use super::device::Device;
use super::launch::Shape;
use super::memory::{Buffer, View};

/// Values that one thread rounds where addresses allow it.
const VECTOR: usize = 8;

/// A bfloat16 as it lies in device memory.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[repr(transparent)]
pub struct Bf16(pub u16);

impl From<Bf16> for f32 {
    fn from(value: Bf16) -> Self {
        Self::from_bits(u32::from(value.0) << 16)
    }
}

/// Rounds f32 values to bfloat16, to the nearest, ties to even.
///
/// # Errors
/// The device's.
pub fn round(device: &Device, values: View<'_, f32>) -> Result<Buffer<Bf16>, Error> {
    let n = values.len();
    let mut rounded = device.buffer(n)?;
    let (kernel, threads) = match values.is_aligned() {
        true => ("bf16_round_vec8_kernel", n.div_ceil(VECTOR)),
        false => ("bf16_round_kernel", n),
    };
    let launch = device.launch(kernel).input(values).output(&mut rounded.view_mut()).value(n as u64);
    launch.run(Shape::items(threads))?;
    Ok(rounded)
}
