//! exp, ln, sigmoid and tanh in f32, the same bits on every machine.
//!
//! Only additions, multiplications, fused multiply-adds, divisions and bit operations, each exactly rounded by
//! IEEE 754, so no library and no vector width changes a result. The functions are free of branches: a loop
//! over a slice inside of [`Isa::dispatch`](crate::isa::Isa::dispatch) is vectorized by the compiler. Errors
//! stay below 1e-6 relative (tests measure at most 3 ulp). The polynomials are minimax fits of our own.

use crate::isa::{Isa, Kernel, Simd};

const LOG2_E: f32 = std::f32::consts::LOG2_E;
/// ln 2 rounded to f32, and what the rounding left over.
const LN_2: f32 = std::f32::consts::LN_2;
const LN_2_REST: f32 = -1.904_654_2e-9;
/// Adding this rounds to the nearest integer, which then lies in the low mantissa bits.
const ROUND: f32 = 12_582_912.0;

/// Returns `(n, p)` with `exp(x) = 2^n (1 + p)`, `|p| < 0.42`; exact enough for exp(x) - 1 near zero too.
#[inline(always)]
fn split_exp(x: f32) -> (i32, f32) {
    let rounded = x.mul_add(LOG2_E, ROUND);
    let n = (rounded.to_bits() as i32).wrapping_sub(ROUND.to_bits() as i32);
    let steps = rounded - ROUND;
    let r = steps.mul_add(-LN_2_REST, steps.mul_add(-LN_2, x));
    let q = 0.001_395_053_9_f32;
    let q = q.mul_add(r, 0.008_368_918);
    let q = q.mul_add(r, 0.041_666_206);
    let q = q.mul_add(r, 0.166_665_18);
    let q = q.mul_add(r, 0.5);
    (n, q.mul_add(r * r, r))
}

/// Returns 2^n for n in -126..=127.
#[inline(always)]
fn power_of_two(n: i32) -> f32 {
    f32::from_bits((n.wrapping_add(127) as u32) << 23)
}

#[inline(always)]
fn clamp(x: f32, low: f32, high: f32) -> f32 {
    // Comparisons instead of f32::clamp: a NaN must come out as NaN, and each is one vector instruction.
    let x = if x < low { low } else { x };
    if high < x { high } else { x }
}

/// Returns e to the power of `x`: 0 below -104, infinity above 88.73, NaN for NaN.
#[inline(always)]
pub fn exp(x: f32) -> f32 {
    let (n, p) = split_exp(clamp(x, -105.0, 89.0));
    // In two halves, so that the largest and the subnormal results come out without an overflowing scale.
    let half = n >> 1;
    (1.0 + p) * power_of_two(half) * power_of_two(n.wrapping_sub(half))
}

/// Returns `1 / (1 + exp(-x))`; beyond 87 in size it stays at the value there (about 1e-38, or 1).
#[inline(always)]
pub fn sigmoid(x: f32) -> f32 {
    let (n, p) = split_exp(clamp(-x, -87.0, 87.0));
    let scale = power_of_two(n);
    1.0 / (1.0 + p.mul_add(scale, scale))
}

/// Returns the hyperbolic tangent, accurate near zero too.
#[inline(always)]
pub fn tanh(x: f32) -> f32 {
    // With e = exp(2|x|) - 1, tanh |x| = e / (e + 2); past 10 the quotient is 1.
    let size = clamp(x.abs(), 0.0, 10.0);
    let (n, p) = split_exp(2.0 * size);
    let scale = power_of_two(n);
    let e = scale.mul_add(p, scale - 1.0);
    (e / (e + 2.0)).copysign(x)
}

/// Returns the natural logarithm: -infinity for 0, NaN below.
#[inline(always)]
pub fn ln(x: f32) -> f32 {
    let subnormal = x < f32::MIN_POSITIVE;
    let scaled = if subnormal { x * 8_388_608.0 } else { x };
    let offset = if subnormal { -23.0 } else { 0.0 };
    // m in [sqrt(1/2), sqrt(2)) and an integer exponent with scaled = m * 2^exponent.
    let sqrt_half = std::f32::consts::FRAC_1_SQRT_2.to_bits();
    let shifted = scaled.to_bits().wrapping_sub(sqrt_half);
    let exponent = ((shifted as i32) >> 23) as f32 + offset;
    let f = f32::from_bits((shifted & 0x007f_ffff).wrapping_add(sqrt_half)) - 1.0;
    let p = -0.078_599_48_f32;
    let p = p.mul_add(f, 0.128_858_58);
    let p = p.mul_add(f, -0.131_304_52);
    let p = p.mul_add(f, 0.141_807);
    let p = p.mul_add(f, -0.166_243_48);
    let p = p.mul_add(f, 0.200_023_03);
    let p = p.mul_add(f, -0.250_008_17);
    let p = p.mul_add(f, 0.333_333_16);
    let square = f * f;
    let y = exponent.mul_add(-2.121_944_4e-4, p * f * square);
    let y = f + square.mul_add(-0.5, y);
    let finite = exponent.mul_add(0.693_359_4, y);
    let high = if x == f32::INFINITY { x } else { finite };
    let positive = if x == 0.0 { f32::NEG_INFINITY } else { high };
    if x >= 0.0 { positive } else { f32::NAN }
}

/// Returns `(sin, cos)` of `turns` times a full turn, for turns in [0, 1].
#[inline(always)]
pub fn sin_cos_turns(turns: f32) -> (f32, f32) {
    let rounded = turns.mul_add(4.0, ROUND);
    let quadrant = rounded.to_bits() & 3;
    let x = (rounded - ROUND).mul_add(-0.25, turns);
    let square = x * x;
    let s = (-75.400_77_f32).mul_add(square, 81.592_53);
    let s = s.mul_add(square, -41.341_663);
    let s = s.mul_add(square, 6.283_185_5) * x;
    let c = 59.219_39_f32.mul_add(square, -85.442_825);
    let c = c.mul_add(square, 64.939_316);
    let c = c.mul_add(square, -19.739_208);
    let c = c.mul_add(square, 1.0);
    match quadrant {
        0 => (s, c),
        1 => (c, -s),
        2 => (-s, -c),
        _ => (-c, s),
    }
}

/// Replaces each element by the function's value.
fn apply(isa: Isa, values: &mut [f32], function: impl Fn(f32) -> f32) {
    struct Apply<'a, F>(&'a mut [f32], F);
    impl<F: Fn(f32) -> f32> Kernel for Apply<'_, F> {
        type Output = ();
        #[inline(always)]
        fn run<S: Simd>(self, _simd: S) {
            for value in self.0 {
                *value = (self.1)(*value);
            }
        }
    }
    isa.dispatch(Apply(values, function));
}

/// Replaces each element by its [`exp`].
pub fn exp_slice(isa: Isa, values: &mut [f32]) {
    apply(isa, values, exp);
}

/// Replaces each element by its [`ln`].
pub fn ln_slice(isa: Isa, values: &mut [f32]) {
    apply(isa, values, ln);
}

/// Replaces each element by its [`sigmoid`].
pub fn sigmoid_slice(isa: Isa, values: &mut [f32]) {
    apply(isa, values, sigmoid);
}

/// Replaces each element by its [`tanh`].
pub fn tanh_slice(isa: Isa, values: &mut [f32]) {
    apply(isa, values, tanh);
}

#[cfg(test)]
mod tests;
