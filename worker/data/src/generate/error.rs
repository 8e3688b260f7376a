//! Why a log cannot be generated.

use std::path::PathBuf;

/// Why a log cannot be generated.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There are too few shoppers or items for any structure.
    #[error("{users} users and {items} items are too few: take at least 1 and 20")]
    TooSmall {
        /// Shoppers asked for.
        users: u32,
        /// Items asked for.
        items: u32,
    },
    /// The number of rows does not fit the numbers of users and items.
    #[error("{events} events do not fit: with so many users and items take {least} to {most}")]
    Events {
        /// Rows asked for.
        events: u64,
        /// The fewest rows.
        least: u64,
        /// The most rows.
        most: u64,
    },
    /// A series has no numbers.
    #[error("a series needs at least 1 sequence, 1 step and 1 number a step")]
    EmptySeries,
    /// The file cannot be written.
    #[error("cannot write {}: {source}; nothing was left behind", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// The Parquet writer failed.
    #[error("cannot write {} as Parquet: {what}; nothing was left behind", path.display())]
    Parquet {
        /// The file.
        path: PathBuf,
        /// What the writer said.
        what: String,
    },
    /// The folder is in use for something else.
    #[error("{} exists and is not a generated log: name another folder, or remove it", path.display())]
    Occupied {
        /// The folder.
        path: PathBuf,
    },
    /// A writer failed.
    #[error("cannot encode the log: {what}; nothing was left behind")]
    Encode {
        /// What the writer said.
        what: String,
    },
    /// The threads could not be started.
    #[error("cannot start {threads} threads: {what}")]
    Threads {
        /// How many were asked for.
        threads: usize,
        /// What the pool said.
        what: String,
    },
}
