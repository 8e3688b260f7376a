//! What a job is to the others that want workers.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// What a job is for; those that come first are served first.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Class {
    /// A person waits for it.
    #[default]
    Manual,
    /// A schedule fired.
    Scheduled,
    /// A window of the past.
    Backfill,
}

impl Class {
    /// All, the first served first.
    pub const ALL: [Self; 3] = [Self::Manual, Self::Scheduled, Self::Backfill];

    /// The class after so many steps up.
    #[must_use]
    pub fn raised(self, steps: u32) -> Self {
        Self::ALL[(self as usize).saturating_sub(steps as usize)]
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Manual => "manual",
            Self::Scheduled => "scheduled",
            Self::Backfill => "backfill",
        }
    }
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A word that names no class.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no class: write manual, scheduled or backfill")]
pub struct UnknownClass(pub String);

impl FromStr for Class {
    type Err = UnknownClass;

    fn from_str(text: &str) -> Result<Self, UnknownClass> {
        Self::ALL.into_iter().find(|class| class.name() == text).ok_or_else(|| UnknownClass(text.to_owned()))
    }
}

/// Where a job stands among those that want workers.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Queueing {
    /// Its class.
    #[serde(default)]
    pub class: Class,
    /// The team that it counts for; those that name none are one team.
    #[serde(default)]
    pub team: String,
    /// The fewest workers that it starts with, and that it may be shrunk to for jobs that wait; as many as it asks for where
    /// absent.
    #[serde(default)]
    pub start_workers: Option<u32>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_are_known_by_their_names() {
        for class in Class::ALL {
            assert_eq!(class.to_string().parse(), Ok(class));
        }
        assert!("urgent".parse::<Class>().unwrap_err().to_string().contains("manual, scheduled or backfill"));
    }
}
