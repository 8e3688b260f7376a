//! Sequences between the passes: one file a partition, rewritten by each pass that changes it.

use std::path::{Path, PathBuf};

use rayon::ThreadPool;
use rayon::prelude::*;

use super::error::Error;
use crate::store::{Partition, Shape, decode_partition, encode_partition};

/// The staged partitions and the threads that work on them.
#[derive(Debug)]
pub(super) struct Stage {
    pub(super) dir: PathBuf,
    pub(super) shape: Shape,
    pub(super) partitions: usize,
    pub(super) pool: ThreadPool,
}

impl Stage {
    fn path(&self, partition: usize) -> PathBuf {
        self.dir.join(format!("staged-{partition:05}"))
    }

    pub(super) fn save(&self, index: usize, partition: Partition) -> Result<(), Error> {
        let path = self.path(index);
        let bytes = encode_partition(partition).map_err(|error| encode_error(&path, &error))?;
        std::fs::write(&path, bytes).map_err(|source| Error::Write { path, source })
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

    /// Works on all partitions, `threads` at a time; results come in the order of partitions.
    pub(super) fn map<T: Send>(
        &self,
        work: impl Fn(usize) -> Result<T, Error> + Sync + Send,
    ) -> Result<Vec<T>, Error> {
        self.pool.install(|| (0..self.partitions).into_par_iter().map(work).collect())
    }

    /// Adds something up over all partitions, with one sum per thread; sums must not depend on order.
    pub(super) fn sum<T: Send>(
        &self,
        zero: impl Fn() -> T + Sync,
        add: impl Fn(&mut T, usize) -> Result<(), Error> + Sync,
        mut merge: impl FnMut(&mut T, T),
    ) -> Result<T, Error> {
        let threads = self.pool.current_num_threads();
        let parts: Vec<T> = self.pool.install(|| {
            (0..threads)
                .into_par_iter()
                .map(|thread| {
                    let mut part = zero();
                    (thread..self.partitions)
                        .step_by(threads)
                        .try_for_each(|partition| add(&mut part, partition))?;
                    Ok(part)
                })
                .collect::<Result<_, Error>>()
        })?;
        let mut total = zero();
        parts.into_iter().for_each(|part| merge(&mut total, part));
        Ok(total)
    }
}

pub(super) fn encode_error(path: &Path, error: &impl std::fmt::Display) -> Error {
    Error::Encode { file: path.display().to_string(), what: error.to_string() }
}
