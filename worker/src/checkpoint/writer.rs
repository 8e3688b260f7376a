//! Writing a checkpoint while training goes on: copy the pieces, write them on a thread, agree, publish.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::thread::JoinHandle;

use muster_proto::checkpoint::{MANIFEST_FILE, Manifest, Piece};
use muster_proto::job::OptimizerKind;

use super::Error;
use super::pieces::{dense_piece, encode_dense, encode_shard, file_of, shard_piece};
use crate::embedding::{Shard, TableSet};
use crate::model::Dense;

/// A copy of the pieces that a rank writes.
#[derive(Debug)]
pub struct Snapshot {
    step: u64,
    shards: Vec<(String, Shard)>,
    dense: Option<Dense>,
    table_kind: OptimizerKind,
    dense_kind: OptimizerKind,
}

impl Snapshot {
    /// Copies the shards that `rank` answers for, and on rank 0 the dense parameters.
    #[must_use]
    pub fn of(
        step: u64,
        rank: u32,
        set: &TableSet,
        dense: &Dense,
        kinds: (OptimizerKind, OptimizerKind),
    ) -> Self {
        let shards = set.tables.iter().flat_map(|table| {
            table.scored_by(rank).into_iter().map(|block| {
                let shard = table.shards[&block].without_gradient();
                (shard_piece(&table.decl.name, block), shard)
            })
        });
        let dense = (rank == 0).then(|| dense.clone());
        Self { step, shards: shards.collect(), dense, table_kind: kinds.0, dense_kind: kinds.1 }
    }

    /// The pieces as they would be written, without writing them.
    #[must_use]
    pub fn digests(&self) -> BTreeMap<String, Piece> {
        self.encoded().map(|(name, bytes)| (name.clone(), describe(&name, &bytes))).collect()
    }

    /// Each piece with its file's bytes, one at a time.
    fn encoded(&self) -> impl Iterator<Item = (String, Vec<u8>)> {
        let shards =
            self.shards.iter().map(|(name, shard)| (name.clone(), encode_shard(shard, self.table_kind)));
        let dense = self.dense.iter().map(|dense| (dense_piece(), encode_dense(dense, self.dense_kind)));
        shards.chain(dense)
    }

    /// Writes the pieces into `folder` on a thread of their own.
    #[must_use]
    pub fn write(self, folder: PathBuf) -> Pending {
        let step = self.step;
        let thread = std::thread::Builder::new().name(format!("checkpoint-{step}"));
        let write = {
            let folder = folder.clone();
            move || self.write_now(&folder)
        };
        let (handle, done) = match thread.spawn(write) {
            Ok(handle) => (Some(handle), None),
            Err(source) => {
                let error = Error::Io { action: "start a thread to write", path: folder.clone(), source };
                (None, Some(Err(error)))
            }
        };
        Pending { step, folder, handle, done }
    }

    fn write_now(self, folder: &Path) -> Result<BTreeMap<String, Piece>, Error> {
        std::fs::create_dir_all(folder).map_err(|source| Error::Io {
            action: "create",
            path: folder.to_owned(),
            source,
        })?;
        let mut pieces = BTreeMap::new();
        for (name, bytes) in self.encoded() {
            let piece = describe(&name, &bytes);
            write_file(&folder.join(&piece.file), &bytes)?;
            pieces.insert(name, piece);
        }
        Ok(pieces)
    }
}

/// Pieces that are being written.
#[derive(Debug)]
pub struct Pending {
    /// The step of the checkpoint.
    pub step: u64,
    /// Its folder.
    pub folder: PathBuf,
    handle: Option<JoinHandle<Result<BTreeMap<String, Piece>, Error>>>,
    done: Option<Result<BTreeMap<String, Piece>, Error>>,
}

impl Pending {
    /// Whether the pieces are on the disk, or failed to get there.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.handle.as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// Waits for the pieces.
    ///
    /// # Errors
    /// The disk's.
    pub fn wait(mut self) -> Result<BTreeMap<String, Piece>, Error> {
        match (self.handle.take(), self.done.take()) {
            (Some(handle), _) => handle.join().map_err(|_| Error::Panicked { step: self.step })?,
            (None, Some(done)) => done,
            (None, None) => Err(Error::Panicked { step: self.step }),
        }
    }
}

/// The folder of the checkpoint of `step` in a run directory, for one generation of the writer.
#[must_use]
pub fn folder_of(run_dir: &Path, step: u64, generation: u64) -> PathBuf {
    run_dir.join("checkpoints").join(format!("step-{step:09}-g{generation}"))
}

/// Publishes a checkpoint: writes its manifest, after which it exists.
///
/// # Errors
/// The disk's.
pub fn commit(folder: &Path, manifest: &Manifest) -> Result<(), Error> {
    let json = serde_json::to_vec_pretty(manifest).expect("a manifest has only string keys");
    write_file(&folder.join(MANIFEST_FILE), &json)?;
    sync_folder(folder)
}

fn describe(name: &str, bytes: &[u8]) -> Piece {
    let digest = blake3::hash(bytes).to_hex().to_string();
    Piece { file: file_of(name), bytes: bytes.len() as u64, digest }
}

/// Writes a file so that it is either whole or not there under its name.
fn write_file(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let beside = path.with_extension("tmp");
    let write = || -> std::io::Result<()> {
        let mut file = File::create(&beside)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        std::fs::rename(&beside, path)
    };
    write().map_err(|source| {
        // What is left of it must not look like a file of the checkpoint; if it cannot be removed, its name says so.
        let _ = std::fs::remove_file(&beside);
        Error::Io { action: "write", path: path.to_owned(), source }
    })
}

fn sync_folder(folder: &Path) -> Result<(), Error> {
    let sync = || File::open(folder)?.sync_all();
    sync().map_err(|source| Error::Io { action: "flush", path: folder.to_owned(), source })
}
