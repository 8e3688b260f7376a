//! Drives the product from outside: what the integration tests share.
//!
//! [`source`] reads the repository as text (for the tidy rules); [`binary`] and [`folder`] run the real program.
//! Nothing here sleeps: a wait is for a condition, with a deadline.

pub mod binary;
pub mod folder;
pub mod refusal;
pub mod source;
