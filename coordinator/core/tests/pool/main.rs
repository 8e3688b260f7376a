//! The pool's promises: on random problems, and over the life of many jobs.

#![allow(clippy::print_stdout, reason = "the life of a pool tells its figures")]
#![allow(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

mod laws;
mod life;
mod rules;
