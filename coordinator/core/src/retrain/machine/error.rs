//! Why something is refused.

use super::super::registry;

/// Why a command or a question is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Nothing has this name.
    #[error("there is no {what} `{name}`; `muster {list}` shows what there is")]
    Unknown {
        /// Of what.
        what: &'static str,
        /// The name.
        name: String,
        /// The command that lists them.
        list: &'static str,
    },
    /// It cannot be done as things are.
    #[error("{problem}")]
    State {
        /// Why, and what can be done.
        problem: String,
    },
    /// A part of the request is wrong.
    #[error("{field}: {problem}")]
    Invalid {
        /// The key of the schedule file, or the part of the request.
        field: String,
        /// What is wrong with it.
        problem: String,
    },
    /// The registry refuses.
    #[error(transparent)]
    Registry(#[from] registry::Error),
}

impl Refusal {
    pub(super) fn invalid(field: &str, problem: impl Into<String>) -> Self {
        Self::Invalid { field: field.to_owned(), problem: problem.into() }
    }

    pub(super) fn state(problem: impl Into<String>) -> Self {
        Self::State { problem: problem.into() }
    }

    pub(super) fn no_schedule(name: &str) -> Self {
        Self::Unknown { what: "schedule", name: name.to_owned(), list: "schedules list" }
    }

    pub(super) fn no_run(name: &str) -> Self {
        Self::Unknown { what: "run", name: name.to_owned(), list: "schedules runs" }
    }

    pub(super) fn no_model(name: &str) -> Self {
        Self::Unknown { what: "model", name: name.to_owned(), list: "models list" }
    }
}
