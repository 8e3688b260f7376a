//! The two number types of the reference: f32 with the functions of [`crate::math`], f64 with std's.

use crate::bf16::Precision;
use crate::math;

/// A floating-point type the reference can compute in.
pub trait Real: Copy + PartialOrd + std::fmt::Debug + Default + Send + Sync + 'static {
    /// Converts from f64, rounding.
    fn from_f64(value: f64) -> Self;
    /// Converts to f64, exactly.
    fn to_f64(self) -> f64;
    /// Returns `self * b + c` with one rounding.
    #[must_use]
    fn mul_add(self, b: Self, c: Self) -> Self;
    /// Returns `self + b`.
    #[must_use]
    fn add(self, b: Self) -> Self;
    /// Returns `self - b`.
    #[must_use]
    fn sub(self, b: Self) -> Self;
    /// Returns `self * b`.
    #[must_use]
    fn mul(self, b: Self) -> Self;
    /// Returns `self / b`.
    #[must_use]
    fn div(self, b: Self) -> Self;
    /// Returns `-self`.
    #[must_use]
    fn neg(self) -> Self;
    /// Returns the value as an operand of a product.
    #[must_use]
    fn operand(self, precision: Precision) -> Self;
    /// Returns e to the power of `self`.
    #[must_use]
    fn exp(self) -> Self;
    /// Returns the natural logarithm.
    #[must_use]
    fn ln(self) -> Self;
    /// Returns the hyperbolic tangent.
    #[must_use]
    fn tanh(self) -> Self;
    /// Returns `1 / (1 + exp(-self))`.
    #[must_use]
    fn sigmoid(self) -> Self;
}

impl Real for f32 {
    #[inline(always)]
    fn from_f64(value: f64) -> Self {
        value as Self
    }
    #[inline(always)]
    fn to_f64(self) -> f64 {
        f64::from(self)
    }
    #[inline(always)]
    fn mul_add(self, b: Self, c: Self) -> Self {
        Self::mul_add(self, b, c)
    }
    #[inline(always)]
    fn add(self, b: Self) -> Self {
        self + b
    }
    #[inline(always)]
    fn sub(self, b: Self) -> Self {
        self - b
    }
    #[inline(always)]
    fn mul(self, b: Self) -> Self {
        self * b
    }
    #[inline(always)]
    fn div(self, b: Self) -> Self {
        self / b
    }
    #[inline(always)]
    fn neg(self) -> Self {
        -self
    }
    #[inline(always)]
    fn operand(self, precision: Precision) -> Self {
        precision.operand(self)
    }
    #[inline(always)]
    fn exp(self) -> Self {
        math::exp(self)
    }
    #[inline(always)]
    fn ln(self) -> Self {
        math::ln(self)
    }
    #[inline(always)]
    fn tanh(self) -> Self {
        math::tanh(self)
    }
    #[inline(always)]
    fn sigmoid(self) -> Self {
        math::sigmoid(self)
    }
}

impl Real for f64 {
    fn from_f64(value: f64) -> Self {
        value
    }
    fn to_f64(self) -> f64 {
        self
    }
    fn mul_add(self, b: Self, c: Self) -> Self {
        Self::mul_add(self, b, c)
    }
    fn add(self, b: Self) -> Self {
        self + b
    }
    fn sub(self, b: Self) -> Self {
        self - b
    }
    fn mul(self, b: Self) -> Self {
        self * b
    }
    fn div(self, b: Self) -> Self {
        self / b
    }
    fn neg(self) -> Self {
        -self
    }
    fn operand(self, precision: Precision) -> Self {
        match precision {
            Precision::F32 => self,
            Precision::Bf16 => Self::from(precision.operand(self as f32)),
        }
    }
    fn exp(self) -> Self {
        Self::exp(self)
    }
    fn ln(self) -> Self {
        Self::ln(self)
    }
    fn tanh(self) -> Self {
        Self::tanh(self)
    }
    fn sigmoid(self) -> Self {
        1.0 / (1.0 + Self::exp(-self))
    }
}
