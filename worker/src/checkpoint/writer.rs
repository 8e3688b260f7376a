//! Writing a checkpoint while training goes on: copy the pieces, write them on a thread, agree, publish.

use std::collections::BTreeMap;
use std::io;
use std::thread::JoinHandle;

use muster_proto::checkpoint::{MANIFEST_FILE, Manifest, Piece, Rows};
use muster_proto::job::OptimizerKind;

use super::Error;
use super::location::Location;
use super::pieces::{dense_piece, encode_dense, encode_shard, file_of, shard_piece};
use super::reader::{FOLDER, Reader};
use super::rows::encode_rows;
use crate::embedding::{Mark, Shard, TableSet};
use crate::model::Dense;

/// How much of the model a checkpoint has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extent {
    /// All of it.
    Full,
    /// Of shards of which few rows were written since the last full checkpoint, only these.
    Increment,
}

/// A copy of the pieces that a rank writes.
#[derive(Debug)]
pub struct Snapshot {
    step: u64,
    /// By name, each with the rows to write, where not all are.
    shards: Vec<(String, Shard, Option<Vec<u32>>)>,
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
        extent: Extent,
    ) -> Self {
        let shards = set.tables.iter().flat_map(|table| {
            table.scored_by(rank).into_iter().map(|block| {
                let shard = &table.shards[&block];
                let few = || shard.dirty.few(Mark::Checkpoint, shard.rows);
                let rows = if extent == Extent::Increment { few() } else { None };
                (shard_piece(&table.decl.name, block), shard.without_gradient(), rows)
            })
        });
        let dense = (rank == 0).then(|| dense.clone());
        Self { step, shards: shards.collect(), dense, table_kind: kinds.0, dense_kind: kinds.1 }
    }

    /// The pieces as they would be written, without writing them.
    #[must_use]
    pub fn digests(&self) -> BTreeMap<String, Piece> {
        self.encoded().map(|(name, piece, _)| (name, piece)).collect()
    }

    /// Each piece with its file's bytes, one at a time.
    fn encoded(&self) -> impl Iterator<Item = (String, Piece, Vec<u8>)> {
        let kind = self.table_kind;
        let shards = self.shards.iter().map(move |(name, shard, rows)| {
            let whole = encode_shard(shard, kind);
            match rows {
                None => (name.clone(), describe(name, &whole), whole),
                Some(rows) => {
                    let file = encode_rows(shard, rows, kind);
                    (name.clone(), describe_rows(name, &whole, &file, rows.len()), file)
                }
            }
        });
        let dense = self.dense.iter().map(|dense| {
            let bytes = encode_dense(dense, self.dense_kind);
            (dense_piece(), describe(&dense_piece(), &bytes), bytes)
        });
        shards.chain(dense)
    }

    /// Writes the pieces to `location` on a thread of their own.
    #[must_use]
    pub fn write(self, location: Location) -> Pending {
        let step = self.step;
        let thread = std::thread::Builder::new().name(format!("checkpoint-{step}"));
        let write = {
            let location = location.clone();
            move || self.write_now(&location)
        };
        let (handle, done) = match thread.spawn(write) {
            Ok(handle) => (Some(handle), None),
            Err(source) => {
                let error = Error::Io { action: "start a thread to write", path: location.address(), source };
                (None, Some(Err(error)))
            }
        };
        Pending { step, location, handle, done }
    }

    fn write_now(self, location: &Location) -> Result<BTreeMap<String, Piece>, Error> {
        let mut pieces = BTreeMap::new();
        for (name, piece, bytes) in self.encoded() {
            location.write(&piece.file, bytes).map_err(|source| unwritten(location, &piece.file, source))?;
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
    /// Where it lies.
    pub location: Location,
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

/// Where the checkpoint of `step` of a run lies, for one generation of the writer.
#[must_use]
pub fn location_of(run: &Location, step: u64, generation: u64) -> Location {
    run.join(FOLDER).join(&format!("step-{step:09}-g{generation}"))
}

/// Publishes a checkpoint: writes its manifest, after which it exists.
///
/// # Errors
/// The disk's or the object store's; [`Error::Taken`] where another model was published as the same step of the same
/// generation.
pub fn commit(location: &Location, manifest: &Manifest) -> Result<(), Error> {
    let json = serde_json::to_vec_pretty(manifest).expect("a manifest has only string keys");
    match location.publish(MANIFEST_FILE, json) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => republish(location, manifest),
        written => written.map_err(|source| unwritten(location, MANIFEST_FILE, source)),
    }
}

/// Replaces the manifest of the very same model, as the end of a run does with the last epoch's.
fn republish(location: &Location, manifest: &Manifest) -> Result<(), Error> {
    let there = Reader::open(location)?.manifest;
    if there.model_digest != manifest.model_digest {
        return Err(Error::Taken { path: location.address(), writer: there.writer.incarnation });
    }
    let json = serde_json::to_vec_pretty(manifest).expect("a manifest has only string keys");
    location.write(MANIFEST_FILE, json).map_err(|source| unwritten(location, MANIFEST_FILE, source))
}

fn unwritten(location: &Location, file: &str, source: io::Error) -> Error {
    Error::Io { action: "write", path: location.address().join(file), source }
}

fn describe(name: &str, bytes: &[u8]) -> Piece {
    Piece { file: file_of(name), bytes: bytes.len() as u64, digest: digest_of(bytes), rows: None }
}

/// A piece of which only some rows are in the file. It has a name of its own: a checkpoint that is written again as a
/// full one must not change a file that the manifest of before lists.
fn describe_rows(name: &str, whole: &[u8], file: &[u8], count: usize) -> Piece {
    let rows = Rows { count: count as u64, digest: digest_of(file) };
    let path = file_of(&format!("{name}.rows"));
    Piece { file: path, bytes: file.len() as u64, digest: digest_of(whole), rows: Some(rows) }
}

fn digest_of(bytes: &[u8]) -> String {
    blake3::hash(bytes).to_hex().to_string()
}
