//! The dense part of the network: LSTM layers, projection, linear head. Holds weights and calls kernels; the
//! arithmetic is in the kernels.

mod dense;
mod input;
mod network;

pub use dense::{Dense, Layout, Tensor};
pub use input::{InputPart, Inputs};
pub(crate) use network::{DropoutPlace, isa, last_rows, with_scratch};
pub use network::{MicroState, Network, Packed};
