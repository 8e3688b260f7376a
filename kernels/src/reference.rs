//! The specification: each op as plain loops, generic over f32 and f64.
//!
//! In f32 these give the bits that the fast kernels must give. In f64 gradients are held against finite
//! differences.

mod elementwise;
mod gemm;
mod linear;
mod lstm;
mod real;

pub use elementwise::{binary_cross_entropy, dropout, mean_squared_error};
pub use gemm::gemm;
pub use linear::{Linear, LinearGradients, column_sums};
pub use lstm::{Lstm, LstmGradients, LstmStates};
pub use real::Real;
