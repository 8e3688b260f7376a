//! Dense gradients over NCCL, for jobs that do not ask for the canonical order of sums.
//!
//! The ranks agree over the collectives that they have anyway: rank 0 sends an id around, and if any of them cannot join,
//! all go on through host memory.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use muster_collective::{Collective, CollectiveExt};
use muster_kernels::cuda::nccl::{Communicator, UniqueId};
use muster_kernels::cuda::{Buffer, Device, Error, probe};

use crate::train;

/// How long ranks wait for each other when they join, and for each collective.
const DEADLINE: Duration = Duration::from_secs(60);

/// Bytes of a communicator's id.
const ID_BYTES: usize = 128;

/// Sums of dense gradients over the ranks' GPUs.
///
/// The lock is never contended, and only taken by way of a unique borrow: it lets compute threads share what holds this,
/// which a communicator by itself does not.
#[derive(Debug)]
pub(super) struct Sums(Mutex<Communicator>);

impl Sums {
    /// Joins the ranks; none where one of them has no NCCL or cannot join (two ranks on one GPU, for instance), which
    /// is logged. Collective.
    pub(super) fn connect(
        device: &Device,
        collective: &mut dyn Collective,
    ) -> Result<Option<Self>, train::Error> {
        let (rank, world) = (collective.rank(), collective.world_size());
        let mine = match (probe::nccl(), rank) {
            (Ok(()), 0) => UniqueId::new().map(|id| id.to_bytes().to_vec()),
            (Ok(()), _) => Ok(vec![1]),
            (Err(error), _) => Err(error),
        };
        let mine = mine.unwrap_or_else(|error| {
            tracing::warn!(%error, "gradients go through host memory");
            Vec::new()
        });
        let mut all = Vec::new();
        collective.all_gather::<u8>(&mine, &mut all)?;
        let Ok(id) = <[u8; ID_BYTES]>::try_from(all[0].as_slice()) else { return Ok(None) };
        if all.iter().any(Vec::is_empty) {
            return Ok(None);
        }
        let joined = Communicator::connect(device, rank, world, UniqueId::from_bytes(id), DEADLINE);
        let joined =
            joined.inspect_err(|error| tracing::warn!(%error, "gradients go through host memory")).ok();
        collective.all_gather::<u8>(&[u8::from(joined.is_some())], &mut all)?;
        Ok(joined.filter(|_| all.iter().all(|ok| ok == &[1])).map(|joined| Self(Mutex::new(joined))))
    }

    /// Adds up a buffer over the ranks, in NCCL's order.
    pub(super) fn add_up(&mut self, buffer: &mut Buffer<f32>) -> Result<(), Error> {
        let all = 0..buffer.len();
        let communicator = self.0.get_mut().unwrap_or_else(PoisonError::into_inner);
        communicator.all_reduce(buffer, all)?;
        communicator.join()
    }
}
