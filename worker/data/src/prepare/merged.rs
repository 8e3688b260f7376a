//! Records that were read in parts, put together as if one process had read them one after the other.
//!
//! Each part has ids, keys and counts of its own: those of an increment of a base, or of a share that a worker read. Memory:
//! four bytes a distinct key of each part.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use muster_proto::dataset::FileEntry;
use serde::{Deserialize, Serialize};

use super::error::Error;
use super::intern::Interner;
use super::spill::{self, Layout};
use super::spread::files;
use super::window::Window;
use crate::store::{Keys, decode_vocabulary};

/// The records of all parts, each partition to be read once.
#[derive(Debug)]
pub(super) struct Merged {
    pub(super) parts: Vec<Part>,
    pub(super) layout: Layout,
    pub(super) origin: Origin,
    /// Records of other times are passed over.
    pub(super) window: Window,
    /// How many were.
    outside: AtomicU64,
}

#[derive(Debug)]
pub(super) struct Part {
    pub(super) dir: PathBuf,
    /// By log partition; those without any have no file.
    pub(super) records: Vec<Option<FileEntry>>,
    /// New ids by old ones: of items, then of each categorical column.
    pub(super) ids: Vec<Vec<u32>>,
    /// Rows of the parts before, where times are positions.
    pub(super) by: i64,
}

/// Where parts come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    Base,
    Shares,
}

impl Origin {
    fn damaged(self, path: PathBuf, what: String) -> Error {
        match self {
            Self::Base => Error::Base { path, what },
            Self::Shares => Error::Shared { path, what },
        }
    }
}

impl Merged {
    pub(super) fn new(parts: Vec<Part>, layout: Layout, origin: Origin, window: Window) -> Self {
        Self { parts, layout, origin, window, outside: AtomicU64::new(0) }
    }

    /// Notes records that are not read at all, since none of their part is in the window.
    pub(super) fn pass_over(&self, records: u64) {
        self.outside.fetch_add(records, Ordering::Relaxed);
    }

    /// How many records of what was read or passed over are not in the window.
    pub(super) fn outside(&self) -> u64 {
        self.outside.load(Ordering::Relaxed)
    }

    /// Bytes of the records of a partition.
    pub(super) fn bytes(&self, partition: usize) -> u64 {
        let files = self.parts.iter().filter_map(|part| part.records.get(partition)?.as_ref());
        files.map(|file| file.bytes).sum()
    }

    /// The records of a partition, part after part.
    pub(super) fn read(&self, partition: usize) -> Result<Vec<u8>, Error> {
        let mut all = Vec::with_capacity(self.bytes(partition) as usize);
        for part in &self.parts {
            let Some(file) = part.records.get(partition).and_then(Option::as_ref) else { continue };
            let bytes = checked(&part.dir.join(&file.file), file, self.origin)?;
            let ids = |column: usize, id: u32| match &part.ids[column][..] {
                // The rows of a series have no items to number.
                [] => id,
                ids => ids.get(id as usize).copied().unwrap_or(u32::MAX),
            };
            let outside = spill::rewrite(&bytes, self.layout, (part.by, self.window), &ids, &mut all);
            self.outside.fetch_add(outside, Ordering::Relaxed);
        }
        Ok(all)
    }
}

/// For the ids of a part, those of all parts together: of a column of that name, which may have so many keys besides the unknown one.
pub(super) fn renumber(
    path: &Path,
    file: &FileEntry,
    origin: Origin,
    interner: &Interner,
    (column, limit, unknown): (&str, u32, u32),
) -> Result<Vec<u32>, Error> {
    let bytes = checked(path, file, origin)?;
    let keys: Keys = decode_vocabulary(bytes).map_err(|what| origin.damaged(path.to_owned(), what))?;
    let most = limit.saturating_add(unknown);
    let too_many = || Error::TooManyValues {
        column: column.to_owned(),
        limit,
        hint: "raise `cleaning.max_items`, or name another column",
    };
    keys.iter().map(|key| interner.intern(key, most).ok_or_else(too_many)).collect()
}

fn checked(path: &Path, file: &FileEntry, origin: Origin) -> Result<Vec<u8>, Error> {
    let bytes = std::fs::read(path).map_err(|source| Error::Read { path: path.to_owned(), source })?;
    if bytes.len() as u64 == file.bytes && blake3::hash(&bytes).to_hex().to_string() == file.digest {
        return Ok(bytes);
    }
    let what = match origin {
        Origin::Base => "was changed after it was written; begin the base anew",
        Origin::Shares => "was changed after it was written",
    };
    Err(origin.damaged(path.to_owned(), what.to_owned()))
}

/// Records that another process put together, read when they are asked for.
#[derive(Debug)]
pub(super) struct MergedFile {
    path: PathBuf,
    merged: OnceLock<Merged>,
}

/// A part as a file describes it.
#[derive(Debug, Serialize, Deserialize)]
struct PartFile {
    dir: PathBuf,
    records: Vec<Option<FileEntry>>,
    by: i64,
    /// The file with the new ids, and how many there are of items and of each categorical column.
    ids: PathBuf,
    lengths: Vec<usize>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Description {
    layout: Layout,
    parts: Vec<PartFile>,
}

impl MergedFile {
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path, merged: OnceLock::new() }
    }

    /// Describes records for other processes, in a file and others beside it.
    pub(super) fn save(path: &Path, merged: &Merged) -> Result<(), Error> {
        let parts = merged.parts.iter().enumerate().map(|(number, part)| {
            let ids = path.with_extension(format!("ids-{number:05}"));
            files::save_numbers(&ids, &part.ids)?;
            let (dir, records, by) = (part.dir.clone(), part.records.clone(), part.by);
            let lengths = part.ids.iter().map(Vec::len).collect();
            Ok(PartFile { dir, records, by, ids, lengths })
        });
        let parts = parts.collect::<Result<_, Error>>()?;
        files::save(path, &Description { layout: merged.layout, parts })
    }

    pub(super) fn get(&self) -> Result<&Merged, Error> {
        if let Some(merged) = self.merged.get() {
            return Ok(merged);
        }
        let Description { layout, parts } = files::load(&self.path)?;
        let part = |part: PartFile| {
            let ids = files::load_numbers(&part.ids, &part.lengths)?;
            Ok(Part { dir: part.dir, records: part.records, ids, by: part.by })
        };
        let parts = parts.into_iter().map(part).collect::<Result<_, Error>>()?;
        let merged = || Merged::new(parts, layout, Origin::Shares, Window::default());
        Ok(self.merged.get_or_init(merged))
    }
}

/// Size and digest of a file.
pub(super) fn file_entry(path: &Path) -> Result<FileEntry, Error> {
    let failed = |source| Error::Read { path: path.to_owned(), source };
    let mut file = File::open(path).map_err(failed)?;
    let (mut hasher, mut buffer, mut bytes) = (blake3::Hasher::new(), vec![0; 1 << 18], 0);
    loop {
        let read = file.read(&mut buffer).map_err(failed)?;
        if read == 0 {
            break;
        }
        hasher.update(&buffer[..read]);
        bytes += read as u64;
    }
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    Ok(FileEntry { file: name, bytes, digest: hasher.finalize().to_hex().to_string() })
}
