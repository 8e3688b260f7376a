//! Models that are trained again by themselves, by real processes: from logs by way of gates into service, and back.

#![allow(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

mod faults;
mod kills;
mod life;
mod shop;

/// The program under test.
const MUSTER: &str = env!("CARGO_BIN_EXE_muster-under-test");
