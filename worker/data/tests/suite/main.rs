//! Drives the data room from outside: files in, datasets out, and everything that can be wrong with either.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test that cannot go on fails, one that cannot start says so"
)]

mod bad_input;
mod cleaning;
mod damage;
mod derived;
mod dirt;
mod examples;
mod fixture;
mod formats;
mod fuzz;
mod fuzz_inputs;
mod generated;
mod growing;
mod independent;
mod inputs;
mod laws;
mod real;
mod shop;
mod spread;
mod window;
