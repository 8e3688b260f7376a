//! A double of CUDA for tests: executes the CUDA path on a machine without a GPU.
//!
//! The same `.cu` files are compiled by g++ with a host shim that runs each CUDA thread as a fiber (`shim/`), and linked
//! into one shared library that also stands in for the driver, cuBLAS and NCCL (`driver/`). A program finds it by
//! `LD_LIBRARY_PATH`, so the binary under test is the one that runs on a GPU.
//!
//! A test hands its body to [`Suite::everywhere`], which runs it in a child process for each of the [`Modes`]. With
//! `MUSTER_REQUIRE_CUDA=1` there is no double and the body runs on the machine's own libraries.
//!
//! Deliberately absent: anything the product could depend on. x86-64 Linux only.

mod builder;
mod child;
mod double;
mod error;
mod modes;
mod ranks;
mod scan;
mod suite;
mod toolchain;

pub use builder::build;
pub use double::Double;
pub use error::Error;
pub use modes::{Mode, Modes, Order, Sanitizer, Streams};
pub use ranks::{Rank, RankEnd, in_processes};
pub use suite::{Outcome, Suite};
