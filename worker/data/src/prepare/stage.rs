//! Sequences between the passes: one file a partition, rewritten by each pass that changes it.

use std::fs::File;
use std::io::BufWriter;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use muster_proto::units::ByteSize;
use rayon::ThreadPool;
use rayon::prelude::*;

use super::error::Error;
use crate::store::{Partition, Shape, decode_partition, write_partition};

/// The staged partitions and the threads that work on them.
#[derive(Debug)]
pub(super) struct Stage {
    pub(super) dir: PathBuf,
    pub(super) shape: Shape,
    pub(super) partitions: usize,
    pub(super) pool: ThreadPool,
    /// How many partitions are in memory at a time.
    pub(super) workers: usize,
    pub(super) memory: ByteSize,
}

impl Stage {
    fn path(&self, partition: usize) -> PathBuf {
        self.dir.join(format!("staged-{partition:05}"))
    }

    fn items_path(&self, partition: usize) -> PathBuf {
        self.dir.join(format!("items-{partition:05}"))
    }

    pub(super) fn save(&self, index: usize, partition: Partition) -> Result<(), Error> {
        let path = self.path(index);
        let file = File::create(&path).map_err(|source| Error::Write { path: path.clone(), source })?;
        let writer = write_partition(partition, BufWriter::with_capacity(1 << 20, file))
            .map_err(|error| encode_error(&path, &error))?;
        writer.into_inner().map_err(|error| Error::Write { path, source: error.into_error() })?;
        Ok(())
    }

    pub(super) fn load(&self, index: usize) -> Result<Partition, Error> {
        let path = self.path(index);
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
        let path = self.items_path(index);
        std::fs::write(&path, bytes).map_err(|source| Error::Write { path, source })
    }

    /// Gives the items of each user of a partition, as [`Stage::save_items`] kept them.
    pub(super) fn visit_items(&self, index: usize, mut visit: impl FnMut(&[[u8; 4]])) -> Result<(), Error> {
        let path = self.items_path(index);
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

    /// Works on all partitions, `workers` at a time; results come in the order of partitions.
    pub(super) fn map<T: Send>(
        &self,
        work: impl Fn(usize) -> Result<T, Error> + Sync + Send,
    ) -> Result<Vec<T>, Error> {
        let mut found = self.sum(
            Vec::new,
            |found, index| {
                found.push((index, work(index)?));
                Ok(())
            },
            |total: &mut Vec<(usize, T)>, part| total.extend(part),
        )?;
        found.sort_unstable_by_key(|(index, _)| *index);
        Ok(found.into_iter().map(|(_, result)| result).collect())
    }

    /// Adds something up over all partitions, with one sum per worker; sums must not depend on order.
    pub(super) fn sum<T: Send>(
        &self,
        zero: impl Fn() -> T + Sync,
        add: impl Fn(&mut T, usize) -> Result<(), Error> + Sync,
        mut merge: impl FnMut(&mut T, T),
    ) -> Result<T, Error> {
        let next = AtomicUsize::new(0);
        let work = |_| {
            let mut part = zero();
            loop {
                let index = next.fetch_add(1, Ordering::Relaxed);
                if index >= self.partitions {
                    return Ok(part);
                }
                add(&mut part, index)?;
            }
        };
        let parts: Vec<T> = self
            .pool
            .install(|| (0..self.workers).into_par_iter().map(work).collect::<Result<_, Error>>())?;
        let mut total = zero();
        parts.into_iter().for_each(|part| merge(&mut total, part));
        Ok(total)
    }
}

pub(super) fn encode_error(path: &Path, error: &impl std::fmt::Display) -> Error {
    Error::Encode { file: path.display().to_string(), what: error.to_string() }
}
