//! Wire to domain and back.
//!
//! Reading can fail, by a typed error that names the message and the field; writing cannot.

mod breakdown;
mod cohort;
mod directives;
mod job;
mod plan;
mod queueing;
mod session;
mod spent;
mod state;
mod task;

use serde::de::DeserializeOwned;

pub use self::directives::Directives;
pub use self::state::{duration, duration_from};
pub use self::task::NewTasks;

/// Why a message cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A field that must be there is not.
    #[error("{message}: field `{field}` is missing")]
    Missing {
        /// The message.
        message: &'static str,
        /// The field.
        field: &'static str,
    },
    /// An enum's number is not one that this version knows.
    #[error("{message}: field `{field}` has the unknown value {value}")]
    UnknownValue {
        /// The message.
        message: &'static str,
        /// The field.
        field: &'static str,
        /// The number.
        value: i32,
    },
    /// A value that is out of its range.
    #[error("{message}: field `{field}` must be {expected}")]
    OutOfRange {
        /// The message.
        message: &'static str,
        /// The field.
        field: &'static str,
        /// What is in range.
        expected: &'static str,
    },
    /// A text that is not JSON.
    #[error("{message}: field `{field}` is not JSON: {problem}")]
    Json {
        /// The message.
        message: &'static str,
        /// The field.
        field: &'static str,
        /// What the parser says.
        problem: String,
    },
    /// Bytes that are not the message which they should be.
    #[error("{message}: cannot be decoded: {problem}")]
    Undecodable {
        /// The message.
        message: &'static str,
        /// What the decoder says.
        problem: String,
    },
    /// A cohort is told by its difference from one that was not told on this session.
    #[error("CohortChange: generation {base} of the job is its base, and was not the last one told here")]
    UnknownBase {
        /// The base's generation.
        base: u64,
    },
}

fn missing(message: &'static str, field: &'static str) -> Error {
    Error::Missing { message, field }
}

fn json<T: DeserializeOwned>(message: &'static str, field: &'static str, text: &str) -> Result<T, Error> {
    serde_json::from_str(text).map_err(|error| Error::Json { message, field, problem: error.to_string() })
}
