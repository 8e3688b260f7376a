//! Dense gradients over NCCL, for jobs that do not ask for the canonical order of sums.
//!
//! The ranks agree over the collectives that they have anyway: rank 0 sends an id around, and if any of them cannot join,
//! all go on through host memory. What stops those collectives stops NCCL's as well.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use muster_collective::{Collective, CollectiveExt};
use muster_kernels::cuda::nccl::{Communicator, Ending, Failure, Guard, STUCK_EXIT_CODE, UniqueId};
use muster_kernels::cuda::{Buffer, Device, Error, probe};

use crate::train;

/// How long ranks wait for each other when they join, and for each collective.
const DEADLINE: Duration = Duration::from_secs(60);

/// How long NCCL may take to abort; then the process ends, and its supervisor may start it anew.
const PATIENCE: Duration = Duration::from_secs(30);

/// Bytes of a communicator's id.
const ID_BYTES: usize = 128;

/// Sums of dense gradients over the ranks' GPUs.
#[derive(Debug)]
pub(super) struct Sums(Communicator);

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
        let id = UniqueId::from_bytes(id);
        let joined = match Communicator::connect(device, rank, world, id, guard(collective)) {
            Ok(joined) => Some(joined),
            Err(error @ Error::Communicator { failure: Failure::Cancelled { .. }, .. }) => {
                return Err(error.into());
            }
            Err(error) => {
                tracing::warn!(%error, "gradients go through host memory");
                None
            }
        };
        collective.all_gather::<u8>(&[u8::from(joined.is_some())], &mut all)?;
        Ok(joined.filter(|_| all.iter().all(|ok| ok == &[1])).map(Self))
    }

    /// Begins to add up a stretch of a buffer over the ranks, in NCCL's order: after what is on the compute stream now,
    /// beside what comes there later.
    pub(super) fn begin(&mut self, buffer: &mut Buffer<f32>, range: Range<usize>) -> Result<(), Error> {
        self.0.all_reduce(buffer, range)
    }

    /// Has what comes on the compute stream from now on wait for the sums.
    pub(super) fn join(&self) -> Result<(), Error> {
        self.0.join()
    }

    /// Says whether all sums so far can be relied on, once they have been waited for.
    pub(super) fn check(&self) -> Result<(), Error> {
        self.0.check()
    }
}

/// Deadlines, and the abort that the ranks' other collectives have.
fn guard(collective: &dyn Collective) -> Guard {
    let abort = collective.abort_handle();
    let cancelled = Arc::new(move || abort.reason().map(str::to_owned));
    let ending = Ending::after(|stuck| {
        tracing::error!(
            rank = stuck.rank,
            world_size = stuck.world_size,
            patience = ?stuck.patience,
            cause = stuck.cause.as_ref().map(tracing::field::display),
            exit_code = STUCK_EXIT_CODE,
            "nccl does not abort, the process ends"
        );
    });
    Guard { deadline: DEADLINE, cancelled, patience: PATIENCE, ending }
}
