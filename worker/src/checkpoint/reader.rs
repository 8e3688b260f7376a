//! Reading a checkpoint, whole or the pieces that a rank needs, with every digest checked.

use std::borrow::Cow;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use muster_proto::checkpoint::{Base, MANIFEST_FILE, Manifest, OLDEST_SCHEMA_VERSION, Piece, SCHEMA_VERSION};
use muster_proto::job::OptimizerKind;

use super::Error;
use super::location::Location;
use super::pieces::fill_pieces;
use super::rows::apply_rows;
use crate::embedding::TableSet;
use crate::model::Dense;

/// The folder of a run that holds its checkpoints.
pub(super) const FOLDER: &str = "checkpoints";

/// A checkpoint that can be read.
#[derive(Debug, Clone)]
pub struct Reader {
    /// Where it lies.
    pub location: Location,
    /// Its manifest.
    pub manifest: Manifest,
    /// The full checkpoint under an increment, once it was opened.
    base: OnceLock<Box<Self>>,
}

impl Reader {
    /// Opens the checkpoint at `location`.
    ///
    /// # Errors
    /// No manifest, or one that this program cannot read or that contradicts itself.
    pub fn open(location: &Location) -> Result<Self, Error> {
        let path = location.address().join(MANIFEST_FILE);
        let bytes = location.read(MANIFEST_FILE).map_err(|source| match source.kind() {
            // A file where a folder would be holds no checkpoint either.
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => {
                Error::NotFound { path: location.address() }
            }
            _ => Error::Io { action: "read", path: path.clone(), source },
        })?;
        let wrong = |problem: String| Error::Manifest { path: path.clone(), problem };
        let manifest: Manifest = serde_json::from_slice(&bytes).map_err(|e| wrong(e.to_string()))?;
        let versions = OLDEST_SCHEMA_VERSION..=SCHEMA_VERSION;
        if !versions.contains(&manifest.schema_version) {
            let (found, first, last) = (manifest.schema_version, versions.start(), versions.end());
            return Err(wrong(format!("schema version {found} cannot be read, only {first} to {last}")));
        }
        if let Some(problem) = manifest.contradiction() {
            return Err(wrong(problem));
        }
        Ok(Self { location: location.clone(), manifest, base: OnceLock::new() })
    }

    /// The path or URL of one of its files.
    #[must_use]
    pub fn file(&self, name: &str) -> PathBuf {
        self.location.address().join(name)
    }

    /// Returns a whole piece, checked against the manifest: its file, or the base's with the file's rows laid over.
    ///
    /// # Errors
    /// A piece that is missing or whose bytes are not those that were written; [`Error::Base`] where it is so of the full
    /// checkpoint that this one lies over.
    pub fn piece(&self, name: &str) -> Result<Vec<u8>, Error> {
        let Some(piece) = self.manifest.pieces.get(name) else {
            let problem = "the manifest does not list it".to_owned();
            return Err(Error::Piece { path: self.file(MANIFEST_FILE), piece: name.to_owned(), problem });
        };
        let damaged =
            |problem: String| Error::Piece { path: self.file(&piece.file), piece: name.to_owned(), problem };
        let bytes = self.location.read(&piece.file).map_err(|e| damaged(e.to_string()))?;
        check(&bytes, piece.file_digest()).map_err(damaged)?;
        let (Some(base), Some(_)) = (&self.manifest.base, &piece.rows) else { return Ok(bytes) };
        let mut whole = self.whole_of_base(base, name)?;
        apply_rows(&mut whole, &bytes).map_err(damaged)?;
        check(&whole, &piece.digest).map_err(|problem| damaged(format!("laid over its base, {problem}")))?;
        Ok(whole)
    }

    /// BLAKE3 of the manifest's file.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn manifest_digest(&self) -> Result<String, Error> {
        Ok(blake3::hash(&self.manifest_bytes()?).to_hex().to_string())
    }

    /// Bytes of the files that it takes to read all of it: its own, and those of the full checkpoint under an increment.
    ///
    /// # Errors
    /// A manifest cannot be read.
    pub fn bytes(&self) -> Result<u64, Error> {
        let pieces: u64 = self.manifest.pieces.values().map(|piece| piece.bytes).sum();
        let own = pieces + self.manifest_bytes()?.len() as u64;
        match &self.manifest.base {
            None => Ok(own),
            Some(base) => Ok(own + Self::open(&self.location.beside(&base.folder))?.bytes()?),
        }
    }

    fn manifest_bytes(&self) -> Result<Vec<u8>, Error> {
        let read = self.location.read(MANIFEST_FILE);
        read.map_err(|source| Error::Io { action: "read", path: self.file(MANIFEST_FILE), source })
    }

    /// A piece of the full checkpoint that this one lies over.
    fn whole_of_base(&self, base: &Base, name: &str) -> Result<Vec<u8>, Error> {
        let location = self.location.beside(&base.folder);
        let unusable = |problem: String| Error::Base {
            path: self.location.address(),
            base: location.address(),
            problem,
        };
        let there = match self.base.get() {
            Some(there) => there,
            None => {
                let there = Self::open(&location).map_err(|error| unusable(error.to_string()))?;
                self.base.get_or_init(|| Box::new(there))
            }
        };
        let manifest = &there.manifest;
        if manifest.model_digest != base.model_digest {
            return Err(unusable(format!("it is another model ({}) by now", manifest.model_digest)));
        }
        if manifest.pieces.get(name).is_some_and(|piece: &Piece| piece.rows.is_some()) {
            return Err(unusable(format!("it has only some rows of piece {name} itself")));
        }
        there.piece(name).map_err(|error| unusable(error.to_string()))
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
        for table in &set.tables {
            let name = &table.decl.name;
            let found = self.manifest.tables.iter().find(|t| t.name == *name);
            let shape = |t: &muster_proto::sharding::TableDecl| {
                format!("{} rows x {} in {} blocks, bias {}", t.rows, t.dim, t.row_blocks, t.bias)
            };
            if found.is_none_or(|t| shape(t) != shape(&table.decl)) {
                let there = self.manifest.tables.iter().filter(|t| t.table() == table.decl.table()).count();
                let absent = || match there {
                    0 => "absent".to_owned(),
                    blocks => format!("absent (table {} has {blocks} column blocks)", table.decl.table()),
                };
                return Err(Error::Mismatch {
                    what: format!("table {name}"),
                    found: found.map_or_else(absent, shape),
                    expected: shape(&table.decl),
                });
            }
        }
        let bytes_of = |piece: &str| self.piece(piece).map(Cow::Owned);
        fill_pieces(set, dense, kinds, bytes_of, |piece, problem| self.unfit(piece, problem))
    }

    fn unfit(&self, piece: &str, problem: String) -> Error {
        let file = self.manifest.pieces.get(piece).map_or("", |p| p.file.as_str());
        Error::Piece { path: self.file(file), piece: piece.to_owned(), problem }
    }
}

/// Compares the digest of what was read with what a manifest says.
fn check(bytes: &[u8], expected: &str) -> Result<(), String> {
    let digest = blake3::hash(bytes).to_hex();
    if digest.as_str() == expected {
        return Ok(());
    }
    Err(format!("its digest is {digest}, the manifest says {expected}"))
}

/// Finds a checkpoint: `path` itself if it is one, or of a run the best one, else the newest. `path` may be the URL of
/// an object store.
///
/// # Errors
/// Nothing there that has a manifest.
pub fn find(path: &Path, prefer_best: bool) -> Result<Reader, Error> {
    let location = Location::of(path)?;
    match Reader::open(&location) {
        Err(Error::NotFound { .. }) => {}
        reader => return reader,
    }
    let found = all(&location)?;
    let newest = found.last().ok_or_else(|| Error::NotFound { path: path.to_owned() })?;
    let best = newest.manifest.validation.best_step.filter(|_| prefer_best);
    let chosen = best.and_then(|step| found.iter().find(|r| r.manifest.step == step));
    Ok(chosen.unwrap_or(newest).clone())
}

/// The checkpoint of one step of a run; of several generations that made one, the last.
///
/// # Errors
/// A manifest that cannot be read.
pub fn of_step(run: &Location, step: u64) -> Result<Option<Reader>, Error> {
    Ok(all(run)?.into_iter().rev().find(|reader| reader.manifest.step == step))
}

/// All checkpoints of a run by step; what has no manifest is not one.
///
/// # Errors
/// A manifest that cannot be read.
pub(super) fn all(run: &Location) -> Result<Vec<Reader>, Error> {
    let folder = run.join(FOLDER);
    let mut found = Vec::new();
    let names = folder.children().map_err(|source| Error::Io {
        action: "look for a checkpoint in",
        path: folder.address(),
        source,
    })?;
    for name in names {
        match Reader::open(&folder.join(&name)) {
            Err(Error::NotFound { .. }) => {}
            reader => found.push(reader?),
        }
    }
    found.sort_by_key(|r| (r.manifest.step, r.manifest.writer.generation));
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stray_file_among_checkpoints_is_none() {
        let run = tempfile::tempdir().expect("a folder of its own");
        let folder = run.path().join(FOLDER);
        std::fs::create_dir_all(&folder).expect("the folder is new");
        std::fs::write(folder.join("notes.txt"), "mine").expect("the folder is there");
        assert!(matches!(find(run.path(), true), Err(Error::NotFound { .. })));
        assert!(matches!(find(&folder.join("notes.txt"), true), Err(Error::NotFound { .. })));
    }
}
