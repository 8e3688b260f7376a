//! The `muster` command line: the only place that sees all crates.
//!
//! Raw flags (`args`, one struct a command in `cmd/`) become checked arguments, a command runs, and its result
//! leaves through [`output`]. Exit codes: 0 success, 1 a failed run, 2 bad input ([`error::Kind`]).

pub mod chart;
pub mod curves;
pub mod error;
pub mod history;
pub mod logging;
pub mod output;
pub mod progress;
pub mod table;

use std::process::ExitCode;

/// The program.
pub fn main() -> ExitCode {
    ExitCode::SUCCESS
}
