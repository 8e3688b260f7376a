//! The messages on the wire, as generated from `muster/v1/*.proto`.
//!
//! They are read and written only at the edges; inside, the types of [`crate::control`] are used.

#![allow(
    missing_docs,
    unreachable_pub,
    clippy::all,
    clippy::pedantic,
    clippy::allow_attributes_without_reason,
    clippy::use_self,
    clippy::too_many_lines,
    clippy::needless_pass_by_value,
    unused_qualifications,
    reason = "generated code"
)]

include!(concat!(env!("OUT_DIR"), "/muster.v1.rs"));

/// The encoded descriptors of all files, for gRPC reflection.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/muster.bin"));
