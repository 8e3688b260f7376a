//! Drives the product from outside: what the integration tests share.
//!
//! [`source`] reads the repository as text (for the tidy rules); [`binary`], [`folder`] and [`process`] run the real
//! program, on the input of [`small`] for instance; [`collecting`] and [`killing`] a collector; [`refusal`] is what bad input has to end in; [`etcd`] is a real one.
//! Nothing here sleeps: a wait is for a condition, with a deadline.

pub mod binary;
pub mod cluster;
pub mod collecting;
#[allow(clippy::print_stdout, reason = "a test that is skipped says so")]
pub mod etcd;
pub mod folder;
pub mod killing;
pub mod process;
pub mod refusal;
pub mod small;
pub mod source;
