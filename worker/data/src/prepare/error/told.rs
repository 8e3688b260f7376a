//! Errors as they go from a worker to whoever asked, and where each of them is to be looked for.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::Error;

/// Where an error is to be looked for, and whose move it is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// The file or folder.
    pub file: Option<PathBuf>,
    /// The key, flag, column or line.
    pub field: Option<String>,
    /// Whether the input or the dataset file is to be changed, rather than the machine.
    pub is_input: bool,
}

/// An error as another process tells of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Told {
    /// What it says, with its causes.
    pub message: String,
    /// Where it is to be looked for.
    pub place: Place,
    /// Whether it is about one input file as a whole.
    pub(in crate::prepare) is_of_a_file: bool,
}

impl Error {
    /// Where the error is to be looked for.
    #[must_use]
    pub fn place(&self) -> Place {
        if let Self::Told { told } = self {
            return told.place.clone();
        }
        let (file, field) = self.file_and_field();
        let is_of_machine = matches!(
            self,
            Self::Write { .. }
                | Self::Encode { .. }
                | Self::Threads { .. }
                | Self::Shared { .. }
                | Self::Dealing { .. }
                | Self::Stopped
        );
        Place { file, field, is_input: !is_of_machine }
    }

    fn file_and_field(&self) -> (Option<PathBuf>, Option<String>) {
        let file = |path: &Path| Some(path.to_owned());
        let field = |name: &str| Some(name.to_owned());
        match self {
            Self::Variable { path, .. } | Self::Unclosed { path } => (file(path.as_ref()), field("input")),
            Self::NotFound { path, .. } | Self::NoFiles { path } | Self::Loop { path, .. } => {
                (file(path), field("input"))
            }
            Self::NoColumn { path, column, .. }
            | Self::ColumnTwice { path, column }
            | Self::Value { path, column, .. } => (file(path), field(column)),
            Self::Row { path, line, .. } => (file(path), Some(format!("line {line}"))),
            Self::Empty { files } => (file(files.as_ref()), field("input")),
            Self::NothingLeft { .. } => (None, field("cleaning")),
            Self::NothingToTrain { .. } => (None, field("split.valid_from")),
            Self::NothingInWindow { .. } => (None, field("window")),
            Self::Timeless => (None, field("columns.time")),
            Self::FewIncrements { path, .. } => (file(path), field("increments")),
            Self::TooManyValues { column, .. } => (None, field(column)),
            Self::PartitionTooLarge { .. } => (None, field("partitions")),
            Self::Memory { .. } => (None, field("memory")),
            Self::OtherReading { keys } => (None, field(keys)),
            Self::Parent { path, .. } => (file(path), field("--parent")),
            Self::OutputOccupied { path } => (file(path), field("--out")),
            Self::Busy { path }
            | Self::Base { path, .. }
            | Self::InputChanged { path, .. }
            | Self::InputUnsteady { path }
            | Self::Shared { path, .. }
            | Self::Read { path, .. }
            | Self::Format { path, .. }
            | Self::Write { path, .. } => (file(path), None),
            Self::Encode { file: name, .. } => (file(name.as_ref()), None),
            Self::Threads { .. } | Self::Told { .. } | Self::Dealing { .. } | Self::Stopped => (None, None),
        }
    }

    /// The error as another process is told of it.
    pub(in crate::prepare) fn told(&self) -> Told {
        if let Self::Told { told } = self {
            return Told::clone(told);
        }
        let mut message = self.to_string();
        let mut cause = std::error::Error::source(self);
        while let Some(error) = cause {
            let text = error.to_string();
            if !message.contains(&text) {
                message = format!("{message}: {text}");
            }
            cause = error.source();
        }
        Told { message, place: self.place(), is_of_a_file: self.is_of_a_file() }
    }
}

impl Told {
    /// The same in that many bytes at most.
    pub(in crate::prepare) fn shortened(mut self, bytes: usize) -> Self {
        self.message.truncate(self.message.floor_char_boundary(bytes));
        self
    }

    /// The same of a file that has another name here.
    pub(in crate::prepare) fn renamed(self, from: &Path, to: &Path) -> Self {
        let Self { message, place, is_of_a_file } = self;
        let message = message.replace(&from.display().to_string(), &to.display().to_string());
        let file = place.file.map(|file| if file == from { to.to_owned() } else { file });
        Self { message, place: Place { file, ..place }, is_of_a_file }
    }
}

impl From<Told> for Error {
    fn from(told: Told) -> Self {
        Self::Told { told: Box::new(told) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_says_elsewhere_what_it_says_here() {
        let [far, here] = ["/shared/logs/a.csv", "logs/a.csv"].map(PathBuf::from);
        let errors = |path: &PathBuf| {
            let path = path.clone();
            let gone = std::io::Error::other("it is gone");
            [
                Error::Read { path: path.clone(), source: gone },
                Error::NoColumn { path: path.clone(), column: "price".into(), known: "a, b".into() },
                Error::Value { path: path.clone(), line: 7, column: "price".into(), what: "is NaN".into() },
                Error::Row { path: path.clone(), line: 8, what: "3 fields".into() },
                Error::Write { path, source: std::io::Error::other("disk full") },
            ]
        };
        for (there, expected) in errors(&far).iter().zip(errors(&here)) {
            let json = serde_json::to_string(&there.told()).unwrap();
            let told: Told = serde_json::from_str(&json).unwrap();
            let found = Error::from(told.renamed(&far, &here));
            assert_eq!(found.to_string(), expected.to_string());
            assert_eq!(found.place(), expected.place());
            assert_eq!(found.is_of_a_file(), expected.is_of_a_file());
        }
    }
}
