//! What ends a command early: one shape for every crate's errors, and the exit code it maps to.
//!
//! A message says what happened and what to change; `file` and `field` say where. No source is kept: this is the
//! end of the line, so the chain of causes is already in the message.

mod sources;

use std::path::{Path, PathBuf};

pub use muster_proto::chain;

/// Whose move it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The user's: a flag, a file or a value has to change. Exit code 2.
    BadInput,
    /// The world's: the run failed on a machine, a disk or a network. Exit code 1.
    Failed,
}

impl Kind {
    /// The process' exit code.
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Failed => 1,
            Self::BadInput => 2,
        }
    }

    /// The word that scripts match on.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Failed => "failed",
            Self::BadInput => "bad_input",
        }
    }
}

/// An error on its way to the user.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct Error {
    /// Whose move it is.
    pub kind: Kind,
    /// What happened, to what, and what to do next.
    pub message: String,
    /// The file at fault.
    pub file: Option<PathBuf>,
    /// The field, flag, column or line at fault.
    pub field: Option<String>,
}

impl Error {
    /// The user can mend it.
    pub fn bad_input(message: impl Into<String>) -> Self {
        Self { kind: Kind::BadInput, message: message.into(), file: None, field: None }
    }

    /// The run failed.
    pub fn failed(message: impl Into<String>) -> Self {
        Self { kind: Kind::Failed, message: message.into(), file: None, field: None }
    }

    /// An error of a lower crate with its causes in one line.
    pub fn from_chain(kind: Kind, error: &(dyn std::error::Error + 'static)) -> Self {
        Self { kind, message: chain(error), file: None, field: None }
    }

    /// Names the file at fault.
    #[must_use]
    pub fn with_file(mut self, file: impl AsRef<Path>) -> Self {
        self.file = Some(file.as_ref().to_path_buf());
        self
    }

    /// Names the field, flag, column or line at fault.
    #[must_use]
    pub fn with_field(mut self, field: impl Into<String>) -> Self {
        self.field = Some(field.into());
        self
    }

    /// The error as scripts read it.
    pub fn json(&self) -> serde_json::Value {
        serde_json::json!({"error": {
            "code": self.kind.exit_code(),
            "kind": self.kind.as_str(),
            "message": self.message,
            "file": self.file.as_ref().map(|file| file.display().to_string()),
            "field": self.field,
        }})
    }

    /// The error as people read it: the message, with file and field where the message does not name them.
    pub fn text(&self) -> String {
        let mut text = format!("error: {}", self.message);
        let mut place = Vec::new();
        if let Some(file) = self.file.as_ref().map(|f| f.display().to_string())
            && !self.message.contains(&file)
        {
            place.push(file);
        }
        if let Some(field) = &self.field
            && !self.message.contains(field.as_str())
        {
            place.push(field.clone());
        }
        if !place.is_empty() {
            text.push_str(&format!("\n  in {}", place.join(": ")));
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_names_file_and_field_once() {
        let error =
            Error::bad_input("batch is -1; give a positive number").with_file("job.toml").with_field("batch");
        assert_eq!(error.text(), "error: batch is -1; give a positive number\n  in job.toml");
        assert_eq!(error.json()["error"]["field"], "batch");
        assert_eq!(error.kind.exit_code(), 2);
    }

    #[test]
    fn a_chain_says_each_cause_once() {
        let inner = std::io::Error::other("disk full");
        let outer = std::io::Error::other(inner);
        assert_eq!(chain(&outer), "disk full");
    }
}
