//! Reading a checkpoint, whole or the pieces that a rank needs, with every digest checked.

use std::path::{Path, PathBuf};

use muster_proto::checkpoint::{MANIFEST_FILE, Manifest, SCHEMA_VERSION, model_digest};
use muster_proto::job::OptimizerKind;

use super::Error;
use super::pieces::{decode_dense, decode_shard, dense_piece, shard_piece};
use crate::embedding::TableSet;
use crate::model::Dense;

/// A checkpoint that can be read.
#[derive(Debug, Clone)]
pub struct Reader {
    /// Its folder.
    pub folder: PathBuf,
    /// Its manifest.
    pub manifest: Manifest,
}

impl Reader {
    /// Opens the checkpoint in `folder`.
    ///
    /// # Errors
    /// No manifest, or one that this program cannot read or that contradicts itself.
    pub fn open(folder: &Path) -> Result<Self, Error> {
        let path = folder.join(MANIFEST_FILE);
        let bytes = std::fs::read(&path).map_err(|source| match source.kind() {
            std::io::ErrorKind::NotFound => Error::NotFound { path: folder.to_owned() },
            _ => Error::Io { action: "read", path: path.clone(), source },
        })?;
        let wrong = |problem: String| Error::Manifest { path: path.clone(), problem };
        let manifest: Manifest = serde_json::from_slice(&bytes).map_err(|e| wrong(e.to_string()))?;
        if manifest.schema_version != SCHEMA_VERSION {
            let found = manifest.schema_version;
            return Err(wrong(format!("schema version {found} cannot be read, only {SCHEMA_VERSION}")));
        }
        if model_digest(&manifest.pieces) != manifest.model_digest {
            return Err(wrong("model_digest is not the digest of the pieces it lists".into()));
        }
        Ok(Self { folder: folder.to_owned(), manifest })
    }

    /// Reads a piece's file and checks it against the manifest.
    ///
    /// # Errors
    /// A piece that is missing or whose bytes are not those that were written.
    pub fn piece(&self, name: &str) -> Result<Vec<u8>, Error> {
        let damaged = |path: PathBuf, problem: String| Error::Piece { path, piece: name.to_owned(), problem };
        let Some(piece) = self.manifest.pieces.get(name) else {
            return Err(damaged(self.folder.join(MANIFEST_FILE), "the manifest does not list it".into()));
        };
        let path = self.folder.join(&piece.file);
        let bytes = std::fs::read(&path).map_err(|e| damaged(path.clone(), e.to_string()))?;
        let digest = blake3::hash(&bytes).to_hex();
        if digest.as_str() != piece.digest {
            return Err(damaged(path, format!("its digest is {digest}, the manifest says {}", piece.digest)));
        }
        Ok(bytes)
    }

    /// Fills the shards of `set` and the dense parameters.
    ///
    /// # Errors
    /// Tables that the checkpoint declares otherwise, or damaged pieces.
    pub fn load(
        &self,
        set: &mut TableSet,
        dense: &mut Dense,
        kinds: (OptimizerKind, OptimizerKind),
    ) -> Result<(), Error> {
        for table in &mut set.tables {
            let name = &table.decl.name;
            let found = self.manifest.tables.iter().find(|t| t.name == *name);
            let shape = |t: &muster_proto::sharding::TableDecl| {
                format!("{} rows x {} in {} blocks, bias {}", t.rows, t.dim, t.row_blocks, t.bias)
            };
            if found.is_none_or(|t| shape(t) != shape(&table.decl)) {
                return Err(Error::Mismatch {
                    what: format!("table {name}"),
                    found: found.map_or("absent".into(), shape),
                    expected: shape(&table.decl),
                });
            }
            for (block, shard) in &mut table.shards {
                let piece = shard_piece(name, *block);
                decode_shard(&self.piece(&piece)?, shard, kinds.0)
                    .map_err(|problem| self.unfit(&piece, problem))?;
            }
        }
        let piece = dense_piece();
        decode_dense(&self.piece(&piece)?, dense, kinds.1).map_err(|problem| self.unfit(&piece, problem))
    }

    fn unfit(&self, piece: &str, problem: String) -> Error {
        let file = self.manifest.pieces.get(piece).map_or("", |p| p.file.as_str());
        Error::Piece { path: self.folder.join(file), piece: piece.to_owned(), problem }
    }
}

/// Finds a checkpoint: `path` itself if it is one, or of a run directory the best one, else the newest.
///
/// # Errors
/// Nothing there that has a manifest.
pub fn find(path: &Path, prefer_best: bool) -> Result<Reader, Error> {
    if path.join(MANIFEST_FILE).is_file() {
        return Reader::open(path);
    }
    let found = all(path)?;
    let newest = found.last().ok_or_else(|| Error::NotFound { path: path.to_owned() })?;
    let best = newest.manifest.validation.best_step.filter(|_| prefer_best);
    let chosen = best.and_then(|step| found.iter().find(|r| r.manifest.step == step));
    Ok(chosen.unwrap_or(newest).clone())
}

/// All checkpoints of a run directory by step; what has no manifest is not one.
///
/// # Errors
/// A manifest that cannot be read.
pub(super) fn all(run_dir: &Path) -> Result<Vec<Reader>, Error> {
    let folder = run_dir.join("checkpoints");
    let Ok(entries) = std::fs::read_dir(&folder) else { return Ok(Vec::new()) };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry.map_err(|source| Error::Io { action: "list", path: folder.clone(), source })?;
        if entry.path().join(MANIFEST_FILE).is_file() {
            found.push(Reader::open(&entry.path())?);
        }
    }
    found.sort_by_key(|r| (r.manifest.step, r.manifest.writer.generation));
    Ok(found)
}
