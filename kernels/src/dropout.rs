//! Inverted dropout in place; the mask is computed, never stored, and so the same in forward and backward.
//!
//! Whether an element is kept follows from the stream (seed, step and layer, see [`Stream::derive`]) and the
//! logical place of its row (sample and position), not from where the row lies in a batch. One Philox call
//! gives eight 16-bit lanes, so the rate is rounded to a multiple of 2^-16, and the scale belongs to the rounded rate.

use crate::error::{Error, check_shape};
use crate::isa::{Isa, Kernel, Simd};
use crate::rng::Stream;

/// Philox counters that are computed side by side; part of which element gets which bits.
const COUNTERS: usize = 8;
/// Elements that those counters cover.
pub(crate) const GROUP: usize = COUNTERS * 8;

/// The logical place of one row of activations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RowKey {
    /// The sample's identity in the dataset.
    pub sample: u64,
    /// The position within the sample's sequence.
    pub position: u32,
}

/// Arguments of [`dropout`].
#[derive(Debug)]
pub struct Dropout<'a> {
    /// Random numbers of one seed, step and layer.
    pub stream: Stream,
    /// Share of elements that become zero, in [0, 1).
    pub rate: f32,
    /// One key per row.
    pub row_keys: &'a [RowKey],
    /// Activations, or their gradient, `[row_keys.len(), width]`; changed in place.
    pub values: &'a mut [f32],
}

/// Sets a share `rate` of the elements to zero and divides the others by `1 - rate`.
///
/// On the gradient, the same call is the backward pass.
///
/// # Errors
/// [`Error::Value`] where the rate is outside of [0, 1); [`Error::Shape`] where `values` is not a whole
/// number of rows.
pub fn dropout(args: Dropout<'_>, isa: Isa) -> Result<(), Error> {
    let Dropout { stream, rate, row_keys, values } = args;
    if !(0.0..1.0).contains(&rate) {
        let got = rate.to_string();
        return Err(Error::Value { op: "dropout", what: "rate", expected: "in [0, 1)", got });
    }
    let width = values.len().checked_div(row_keys.len()).unwrap_or(0);
    check_shape("dropout", "length of values", row_keys.len() * width, values.len())?;
    let (threshold, scale) = threshold(rate);
    if threshold > 0 && width > 0 {
        isa.dispatch(Rows { stream, threshold, scale, row_keys, values, width });
    }
    Ok(())
}

/// Returns the lanes below which an element is dropped, and the factor of the others.
pub(crate) fn threshold(rate: f32) -> (u32, f32) {
    let threshold = ((rate * 65_536.0).round() as u32).min(65_535);
    (threshold, 65_536.0 / (65_536 - threshold) as f32)
}

struct Rows<'a> {
    stream: Stream,
    threshold: u32,
    scale: f32,
    row_keys: &'a [RowKey],
    values: &'a mut [f32],
    width: usize,
}

impl Kernel for Rows<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, _simd: S) {
        for (key, row) in self.row_keys.iter().zip(self.values.chunks_exact_mut(self.width)) {
            for (group, values) in row.chunks_mut(GROUP).enumerate() {
                let lanes = group_lanes(self.stream, *key, group);
                for (value, lane) in values.iter_mut().zip(lanes) {
                    *value = if lane < self.threshold { 0.0 } else { *value * self.scale };
                }
            }
        }
    }
}

/// Returns the 16-bit lanes of elements `group * GROUP ..` of a row.
///
/// Element e of the group takes half-word e / 8 of counter e mod 8, which keeps the counters side by side.
#[inline(always)]
pub(crate) fn group_lanes(stream: Stream, key: RowKey, group: usize) -> [u32; GROUP] {
    let mut words = [[0; COUNTERS]; 4];
    for counter in 0..COUNTERS {
        let block = (group * COUNTERS + counter) as u64;
        let drawn = stream.words(key.sample, u64::from(key.position) << 32 | block);
        for (word, drawn) in words.iter_mut().zip(drawn) {
            word[counter] = drawn;
        }
    }
    let mut lanes = [0; GROUP];
    for (half, lanes) in lanes.chunks_exact_mut(COUNTERS).enumerate() {
        for (lane, word) in lanes.iter_mut().zip(words[half / 2]) {
            *lane = if half % 2 == 0 { word & 0xffff } else { word >> 16 };
        }
    }
    lanes
}
