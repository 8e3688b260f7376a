//! Sequences between the passes: one file a partition, rewritten by each pass that changes it.
//!
//! Where several processes may write a partition (a worker that was thought lost, and the one that took its work over), each
//! writes under a mark of its own, and whoever asked for it says which mark counts.

use std::fs::File;
use std::io::BufWriter;
use std::path::{Path, PathBuf};

use super::error::Error;
use crate::store::{Partition, Shape, decode_partition, write_partition};

/// The staged partitions.
#[derive(Debug, Clone)]
pub(super) struct Stage {
    pub(super) dir: PathBuf,
    pub(super) shape: Shape,
    pub(super) partitions: usize,
    /// Under which mark each partition is read; empty in a process that works alone.
    pub(super) staged: Vec<String>,
    /// Under which mark the items of each partition are read.
    pub(super) items: Vec<String>,
    /// Under which mark this process writes.
    pub(super) mark: String,
}

/// Partitions that were written, each with its mark.
pub(super) type Marks = Vec<(usize, String)>;

/// The marks by partition.
pub(super) fn by_partition(mut marks: Marks) -> Vec<String> {
    marks.sort_unstable();
    marks.into_iter().map(|(_, mark)| mark).collect()
}

impl Stage {
    fn path(&self, partition: usize, mark: &str) -> PathBuf {
        self.dir.join(format!("staged-{partition:05}{mark}"))
    }

    fn items_path(&self, partition: usize, mark: &str) -> PathBuf {
        self.dir.join(format!("items-{partition:05}{mark}"))
    }

    /// Takes what a pass wrote for what counts; what was there before goes.
    pub(super) fn adopt(&mut self, marks: Marks) {
        let before = std::mem::replace(&mut self.staged, by_partition(marks));
        for (index, mark) in before.iter().enumerate().filter(|(index, mark)| self.staged[*index] != **mark) {
            // It is in the way of nobody, and goes with the folder at the latest.
            let _ = std::fs::remove_file(self.path(index, mark));
        }
    }

    pub(super) fn save(&self, index: usize, partition: Partition) -> Result<(), Error> {
        let path = self.path(index, &self.mark);
        let file = File::create(&path).map_err(|source| Error::Write { path: path.clone(), source })?;
        let writer = write_partition(partition, BufWriter::with_capacity(1 << 20, file))
            .map_err(|error| encode_error(&path, &error))?;
        writer.into_inner().map_err(|error| Error::Write { path, source: error.into_error() })?;
        Ok(())
    }

    pub(super) fn load(&self, index: usize) -> Result<Partition, Error> {
        let path = self.path(index, &self.staged[index]);
        let bytes = std::fs::read(&path).map_err(|source| Error::Read { path: path.clone(), source })?;
        decode_partition(bytes, self.shape).map_err(|what| Error::Format {
            path,
            format: "staged Arrow",
            what,
        })
    }

    /// Keeps the items of a partition by themselves, for rules that ask for nothing else: each user's number of events, and
    /// their items.
    pub(super) fn save_items(&self, index: usize, partition: &Partition) -> Result<(), Error> {
        let mut bytes = Vec::with_capacity(4 * (partition.offsets.len() + partition.items.len()));
        for user in 0..partition.users() {
            let range = partition.range(user);
            bytes.extend_from_slice(&(range.len() as u32).to_le_bytes());
            partition.items[range].iter().for_each(|item| bytes.extend_from_slice(&item.to_le_bytes()));
        }
        let path = self.items_path(index, &self.mark);
        std::fs::write(&path, bytes).map_err(|source| Error::Write { path, source })
    }

    /// Gives the items of each user of a partition, as [`Stage::save_items`] kept them.
    pub(super) fn visit_items(&self, index: usize, mut visit: impl FnMut(&[[u8; 4]])) -> Result<(), Error> {
        let path = self.items_path(index, &self.items[index]);
        let bytes = std::fs::read(&path).map_err(|source| Error::Read { path: path.clone(), source })?;
        let mut rest = bytes.as_chunks::<4>().0;
        while let Some((len, items)) = rest.split_first() {
            let cut = items.split_at_checked(u32::from_le_bytes(*len) as usize).ok_or_else(|| {
                Error::Format { path: path.clone(), format: "staged items", what: "it is cut".to_owned() }
            })?;
            visit(cut.0);
            rest = cut.1;
        }
        Ok(())
    }
}

pub(super) fn encode_error(path: &Path, error: &impl std::fmt::Display) -> Error {
    Error::Encode { file: path.display().to_string(), what: error.to_string() }
}
