//! Objects of S3-compatible stores, Google Cloud Storage and Azure, for code that blocks on purpose.
//!
//! Where a store is and who may use it comes from the environment, under the names that the owners' own tools use:
//! `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`, `AWS_SESSION_TOKEN`, `AWS_REGION`, `AWS_ENDPOINT_URL`; `GOOGLE_SERVICE_ACCOUNT`
//! (the path of a key file) and its like; `AZURE_STORAGE_ACCOUNT_NAME`, `AZURE_STORAGE_ACCOUNT_KEY` and their like. Requests that
//! fail for a passing reason are tried again with growing pauses, for a minute at most.
//!
//! Requests run on a small runtime of this crate's own, so that the threads that wait for them stay plain.
//!
//! # Layout
//! * [`Object`]: one version of an object, read in parts ([`Reader`]) or at any place ([`Blocks`])
//! * [`list`]: the objects below a prefix
//! * [`Prefix`]: a place to read and write small and large objects by name, for checkpoints

mod blocks;
mod client;
mod error;
mod object;
mod prefix;
mod reader;
mod runtime;

pub use blocks::Blocks;
pub use client::is_url;
pub use error::Error;
pub use object::{Object, list};
pub use prefix::Prefix;
pub use reader::Reader;
