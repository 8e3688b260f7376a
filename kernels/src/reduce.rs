//! Sums whose order is fixed: over a slice by virtual lanes, over micro-batches by one binary tree.

mod columns;
pub mod tree;

pub use columns::column_sums;

use crate::error::{Error, check_shape};
use crate::isa::{Isa, Kernel, Simd};

/// Virtual lanes of a sum over a slice: element i goes to lane i mod 16, whatever the machine's vectors are.
pub const LANES: usize = 16;

/// Adds `from` to `into`, element by element.
///
/// # Errors
/// [`Error::Shape`] where the lengths differ.
pub fn add_assign(isa: Isa, into: &mut [f32], from: &[f32]) -> Result<(), Error> {
    struct Add<'a>(&'a mut [f32], &'a [f32]);
    impl Kernel for Add<'_> {
        type Output = ();
        #[inline(always)]
        fn run<S: Simd>(self, _simd: S) {
            for (into, from) in self.0.iter_mut().zip(self.1) {
                *into += from;
            }
        }
    }
    check_shape("add_assign", "length of from", into.len(), from.len())?;
    isa.dispatch(Add(into, from));
    Ok(())
}

/// Returns the sum of the squares in f64, in the order of [`LANES`].
pub fn sum_of_squares(isa: Isa, values: &[f32]) -> f64 {
    lane_sum(isa, values, |value| value * value)
}

/// Returns the sum in f64, in the order of [`LANES`].
pub fn sum(isa: Isa, values: &[f32]) -> f64 {
    lane_sum(isa, values, |value| value)
}

fn lane_sum(isa: Isa, values: &[f32], term: impl Fn(f64) -> f64) -> f64 {
    struct Sum<'a, F>(&'a [f32], F);
    impl<F: Fn(f64) -> f64> Kernel for Sum<'_, F> {
        type Output = f64;
        #[inline(always)]
        fn run<S: Simd>(self, _simd: S) -> f64 {
            let mut lanes = [0.0; LANES];
            let (chunks, rest) = self.0.as_chunks::<LANES>();
            for chunk in chunks {
                for (lane, &value) in lanes.iter_mut().zip(chunk) {
                    *lane += (self.1)(f64::from(value));
                }
            }
            for (lane, &value) in lanes.iter_mut().zip(rest) {
                *lane += (self.1)(f64::from(value));
            }
            fold_lanes(lanes)
        }
    }
    isa.dispatch(Sum(values, term))
}

/// Adds the lanes up: lane l takes lane l + 8, then l + 4, l + 2, l + 1.
#[inline(always)]
pub(crate) fn fold_lanes(mut lanes: [f64; LANES]) -> f64 {
    for half in [8, 4, 2, 1] {
        for lane in 0..half {
            lanes[lane] += lanes[lane + half];
        }
    }
    lanes[0]
}

#[cfg(test)]
mod tests;
