//! Reports about a prepared dataset: its numbers, and how far it is from another one.

mod charts;
mod numbers;

pub use charts::page;
pub use numbers::Numbers;
