//! Checkpoints: logical pieces in safetensors, one file a piece, and a manifest that is written last.
//!
//! A checkpoint is full or an increment over a full one, its base: of a table shard it then has the rows written since,
//! where these are few. Whoever reads goes through [`Reader::piece`], which lays them over and checks every digest.
//!
//! Every rank writes the table shards it answers for, rank 0 the dense parameters. On a disk, files are written beside
//! their place, flushed and renamed; in an object store, the manifest is created only if there is none. Nothing in a
//! piece depends on who wrote it.

mod disk;
mod location;
mod pick;
mod pieces;
mod reader;
mod retention;
mod rows;
mod verify;
mod writer;

pub use location::{Location, run_address};
pub(crate) use pick::{pick_dense, pick_rows};
pub(crate) use pieces::fill_pieces;
pub use pieces::{Encoded, decode_dense, decode_shard, dense_piece, encode_dense, encode_shard, shard_piece};
pub use reader::{Reader, find, of_step};
pub use retention::retain;
pub use rows::{apply_rows, check_rows, encode_rows};
pub use verify::{Verdict, verify};
pub use writer::{Extent, Pending, Snapshot, commit, location_of};

use std::path::PathBuf;

/// Why a checkpoint cannot be written or read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file or folder cannot be read or written.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// There is no checkpoint where one was asked for.
    #[error("{} has no checkpoint: no folder in it holds a {}", path.display(), muster_proto::checkpoint::MANIFEST_FILE)]
    NotFound {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// A manifest is not what it should be.
    #[error("{}: {problem}", path.display())]
    Manifest {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// A piece is missing or damaged.
    #[error("{}: piece {piece} is damaged: {problem}; restore the file or use another checkpoint", path.display())]
    Piece {
        /// The file.
        path: PathBuf,
        /// The piece.
        piece: String,
        /// What is wrong with it.
        problem: String,
    },
    /// An increment lies over a full checkpoint that is missing or damaged.
    #[error(
        "{}: it holds only what changed since {}, which cannot be used: {problem}; restore that, or use a full checkpoint",
        path.display(), base.display()
    )]
    Base {
        /// The increment.
        path: PathBuf,
        /// The full checkpoint.
        base: PathBuf,
        /// What is wrong with that.
        problem: String,
    },
    /// The checkpoint is of another model than the job declares.
    #[error("the checkpoint does not fit the job: {what} is {found} there and {expected} in the job")]
    Mismatch {
        /// What differs.
        what: String,
        /// In the checkpoint.
        found: String,
        /// In the job.
        expected: String,
    },
    /// Another process has published another model as this checkpoint.
    #[error(
        "{} was published by another writer (incarnation {writer}) in the same generation: two runs share the location; \
         give each its own [checkpoint] location or run directory name",
        path.display()
    )]
    Taken {
        /// The checkpoint.
        path: PathBuf,
        /// The other writer.
        writer: u64,
    },
    /// The thread that wrote the pieces ended without a result.
    #[error("the checkpoint writer of step {step} panicked")]
    Panicked {
        /// The step.
        step: u64,
    },
}
