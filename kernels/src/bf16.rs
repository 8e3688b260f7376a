//! Products whose operands are rounded to bfloat16 while their sums, and the master values, stay f32.
//!
//! A rounded value is kept as the f32 that it equals. A product of two such values is exact in f32, so a chain of f32
//! fused multiply-adds over them has the bits that hardware with bfloat16 products and f32 sums gives in the same order.

/// What the operands of a product are rounded to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Precision {
    /// Nothing: f32.
    #[default]
    F32,
    /// bfloat16: 8 bits of significand, the exponents of f32.
    Bf16,
}

impl Precision {
    /// Returns `value` as an operand.
    #[inline(always)]
    pub fn operand(self, value: f32) -> f32 {
        match self {
            Self::F32 => value,
            Self::Bf16 => round(value),
        }
    }

    /// Turns `values` into operands.
    #[inline(always)]
    pub fn operands(self, values: &mut [f32]) {
        if self == Self::Bf16 {
            values.iter_mut().for_each(|value| *value = round(*value));
        }
    }
}

/// Returns the bfloat16 nearest to `value`, ties to even, as f32; NaN stays NaN, and what rounds past the largest
/// becomes infinite.
#[inline(always)]
pub fn round(value: f32) -> f32 {
    let bits = value.to_bits();
    let half = 0x7fff + ((bits >> 16) & 1);
    // A NaN must not be carried into infinity; the select, unlike a branch, leaves loops vectorized.
    let rounded = f32::from_bits(bits.wrapping_add(half) & 0xffff_0000);
    if value.is_nan() { value } else { rounded }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::round;

    #[test]
    fn halves_go_to_the_even_neighbour() {
        let (even, odd, step) = (1.0_f32, 1.0 + 2.0_f32.powi(-7), 2.0_f32.powi(-7));
        assert_eq!(round(even + step / 2.0), even);
        assert_eq!(round(odd + step / 2.0), odd + step);
        assert_eq!(round(even + step * 0.5001), odd);
        assert_eq!(round(-(odd + step / 2.0)), -(odd + step));
    }

    #[test]
    fn infinities_stay_and_the_largest_finite_overflows() {
        assert_eq!(round(f32::INFINITY), f32::INFINITY);
        assert_eq!(round(f32::NEG_INFINITY), f32::NEG_INFINITY);
        assert_eq!(round(f32::MAX), f32::INFINITY);
        assert!(round(f32::NAN).is_nan());
        assert!(round(f32::from_bits(0x7f80_0001)).is_nan());
    }

    proptest! {
        #[test]
        fn no_bfloat16_is_nearer(value in prop::num::f32::NORMAL) {
            let rounded = round(value);
            prop_assert_eq!(rounded.to_bits() & 0xffff, 0);
            prop_assert_eq!(round(rounded).to_bits(), rounded.to_bits());
            let off = (f64::from(value) - f64::from(rounded)).abs();
            for neighbour in [rounded.to_bits().wrapping_sub(0x1_0000), rounded.to_bits().wrapping_add(0x1_0000)] {
                let neighbour = f32::from_bits(neighbour);
                if neighbour.is_finite() && rounded.is_finite() {
                    prop_assert!(off <= (f64::from(value) - f64::from(neighbour)).abs());
                }
            }
        }
    }
}
