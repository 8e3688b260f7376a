//! The specification: each op as plain loops, generic over f32 and f64.
//!
//! In f32 these give the bits that the fast kernels must give. In f64 gradients are held against finite
//! differences.

mod gemm;
mod real;

pub use gemm::gemm;
pub use real::Real;
