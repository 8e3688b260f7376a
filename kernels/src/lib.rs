//! Everything that touches a device: the ops of the model, forward and backward.
//!
//! One idea carries the CPU side: **every fast kernel gives the same bits on every instruction set, and the same
//! bits as its plain reference.** Three rules make it true:
//!
//! * [`gemm`](mod@gemm) computes each element of a product as one chain of fused multiply-adds in order of k, cut into
//!   blocks of [`gemm::KC`]. Tiles and vectors run over rows and columns only, never over k.
//! * [`math`]'s exp, tanh, sigmoid and ln are polynomials of exactly rounded operations, element by element.
//! * Sums over a row use 16 virtual lanes and a fixed tree, whatever the width of the machine's vectors.
//!
//! So scalar code, AVX2 and AVX-512 agree bit for bit, and tests compare with `==` instead of a tolerance. The
//! instruction set ([`isa::Isa`]) is chosen at run time and travels in the [`scratch::Scratch`] that each call
//! borrows. A call is single-threaded and allocates nothing once its scratch is warm; callers put
//! micro-batches on threads.
//!
//! [`reference`](mod@reference) holds the specification: plain loops, generic over f32 and f64.

pub mod bf16;
pub mod cuda;
pub mod dropout;
pub mod embedding;
pub mod error;
pub mod gemm;
pub mod isa;
pub mod linear;
pub mod loss;
pub mod lstm;
pub mod math;
pub mod matrix;
pub mod optimizer;
mod prefetch;
pub mod reduce;
pub mod reference;
pub mod rng;
pub mod scratch;
pub mod softmax;

pub use error::Error;
