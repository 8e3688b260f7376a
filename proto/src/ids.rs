//! Typed ids: numbers that cannot be taken for one another.

use std::fmt;
use std::num::ParseIntError;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A text that is not an id of the kind asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a {kind}: expected {prefix}NUMBER")]
pub struct ParseError {
    /// What was given.
    pub text: String,
    /// What was expected.
    pub kind: &'static str,
    /// How it begins when printed; optional when read.
    pub prefix: &'static str,
    /// What is wrong with the number.
    #[source]
    pub source: ParseIntError,
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident($inner:ty), $kind:literal, $prefix:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($prefix, "{}"), self.0)
            }
        }

        impl FromStr for $name {
            type Err = ParseError;

            fn from_str(text: &str) -> Result<Self, ParseError> {
                let digits = text.strip_prefix($prefix).unwrap_or(text);
                digits.parse().map(Self).map_err(|source| ParseError {
                    text: text.to_owned(),
                    kind: $kind,
                    prefix: $prefix,
                    source,
                })
            }
        }

        impl From<$inner> for $name {
            fn from(value: $inner) -> Self {
                Self(value)
            }
        }

        impl From<$name> for $inner {
            fn from(id: $name) -> Self {
                id.0
            }
        }
    };
}

id! {
    /// A job, counted from 1 and never reused.
    JobId(u64), "job", "job-"
}
id! {
    /// A worker, counted from 1 and never reused.
    WorkerId(u64), "worker", "worker-"
}
id! {
    /// One life of a worker process; a later life has a greater one.
    Incarnation(u64), "incarnation", ""
}
id! {
    /// A version of a job's membership, counted from 1, strictly increasing and never reused.
    Generation(u64), "generation", ""
}
id! {
    /// A place in a job, from 0 to `world_size - 1`.
    Rank(u32), "rank", ""
}
id! {
    /// Whom tasks are made for: a number that the owner draws, or derives from what it is.
    TaskOwner(u64), "task owner", "owner-"
}
id! {
    /// A number of ranks.
    WorldSize(u32), "world size", ""
}
id! {
    /// An optimizer update, counted from the beginning of the job.
    Step(u64), "step", ""
}

/// A task: the same for the same owner and number, whoever asks and how often.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct TaskId {
    /// Whom it is made for.
    pub owner: TaskOwner,
    /// Its number among the owner's tasks.
    pub number: u32,
}

impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "task {} of {}", self.number, self.owner)
    }
}

impl Generation {
    /// The generation after this one.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl WorldSize {
    /// All ranks of a job of this size, in order.
    pub fn ranks(self) -> impl Iterator<Item = Rank> {
        (0..self.0).map(Rank)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_reads_back_what_it_prints_and_takes_a_bare_number() {
        assert_eq!(JobId(17).to_string(), "job-17");
        assert_eq!("job-17".parse(), Ok(JobId(17)));
        assert_eq!("17".parse(), Ok(JobId(17)));
        assert_eq!("worker-3".parse(), Ok(WorkerId(3)));
    }

    #[test]
    fn an_id_of_another_kind_is_refused_by_name() {
        let error = "worker-3".parse::<JobId>().unwrap_err();
        assert_eq!(error.to_string(), "`worker-3` is not a job: expected job-NUMBER");
    }
}
