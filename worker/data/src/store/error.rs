//! Why a prepared dataset cannot be read.

use std::path::PathBuf;

use muster_proto::dataset::ManifestError;

/// Why a prepared dataset cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The folder has no manifest.
    #[error("{} is not a dataset: it has no manifest.json; make one with `muster prepare`", dir.display())]
    NoManifest {
        /// The folder.
        dir: PathBuf,
    },
    /// The manifest is not accepted.
    #[error("{}: {source}", path.display())]
    Manifest {
        /// The manifest.
        path: PathBuf,
        /// Why not.
        source: ManifestError,
    },
    /// A file that the manifest names is not there.
    #[error("{} is missing, though the manifest names it; prepare the dataset again", path.display())]
    Missing {
        /// The file.
        path: PathBuf,
    },
    /// A file cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// A file is not the one that was written.
    #[error(
        "{} is damaged: {found_bytes} bytes with digest {found}, the manifest notes {expected_bytes} with {expected}; \
         prepare the dataset again",
        path.display()
    )]
    Digest {
        /// The file.
        path: PathBuf,
        /// Its digest.
        found: String,
        /// Its size.
        found_bytes: u64,
        /// The digest that was noted.
        expected: String,
        /// The size that was noted.
        expected_bytes: u64,
    },
    /// A file has the right digest and the wrong content: a defect of whoever wrote it.
    #[error("{} does not hold what the manifest says: {what}", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// What does not fit.
        what: String,
    },
    /// There is no such partition.
    #[error("there is no log partition {partition}, the dataset has {partitions}")]
    NoPartition {
        /// The index that was asked for.
        partition: u32,
        /// How many there are.
        partitions: usize,
    },
    /// There is no such categorical column.
    #[error("there is no categorical column `{column}`, the dataset has: {known}")]
    NoColumn {
        /// The name that was asked for.
        column: String,
        /// The names there are.
        known: String,
    },
    /// The dataset is a series and has no items.
    #[error("dataset {name} is a series of numbers and has no items")]
    NoItems {
        /// The dataset.
        name: String,
    },
}
