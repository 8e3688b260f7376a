//! Training on a GPU: the same step as on the CPU, with shards, dense parameters and optimizer state in device memory.
//!
//! A step has the structure of [`Trainer::step`](crate::train::Trainer::step): micro-batches by themselves, table shards
//! by themselves, sums along the canonical tree. So its result does not depend on the number of workers either, bit for
//! bit, with `reproducible = true`. What ranks exchange goes through host memory and the collectives of the CPU; dense
//! gradients go over NCCL where the job does not ask for the canonical order, while the backward pass goes on. The host's copies of the parameters are
//! stale while training goes on; they are brought up to date for checkpoints and evaluation
//! ([`Trainer::sync_host`](crate::train::Trainer::sync_host)).

mod ahead;
mod buckets;
mod gradients;
mod heads;
mod hosted;
mod nccl;
mod network;
mod rows;
mod softmax;
mod step;
mod sums;
mod tables;
mod update;

use muster_kernels::cuda::{Buffer, Device, Error, Prefetch};

use muster_proto::job::JobSpec;

use crate::embedding::TableSet;
use crate::model::{Dense, Network};

use network::MicroState;
use tables::DeviceTable;

/// A device with this rank's share of the model.
#[derive(Debug)]
pub struct Accelerator {
    device: Device,
    network: Network,
    tables: Vec<DeviceTable>,
    dense: Buffer<f32>,
    dense_state: Vec<Buffer<f32>>,
    dense_gradient: Buffer<f32>,
    states: Vec<MicroState>,
    /// Sums over NCCL, once the ranks have tried to join; of no use to a reproducible job.
    sums: Option<Option<nccl::Sums>>,
    /// The batch of the next step.
    ahead: Option<ahead::Ahead>,
    prefetch: Prefetch,
}

impl Accelerator {
    /// Copies the shards of `set` and the dense parameters, with their optimizer state, into device memory; of tables for
    /// which the job names a cache, nothing yet.
    ///
    /// # Errors
    /// The device's, above all that its memory does not hold them.
    pub(crate) fn new(
        device: Device,
        network: Network,
        set: &TableSet,
        dense: &Dense,
        job: &JobSpec,
    ) -> Result<Self, Error> {
        let tables = set.tables.iter().map(|table| {
            let cache = job.tables.device_cache.get(&table.decl.name);
            DeviceTable::upload(&device, table, cache.copied())
        });
        let tables = tables.collect::<Result<_, _>>()?;
        let state = dense.state.iter().map(|slot| device.upload(slot)).collect::<Result<_, _>>()?;
        Ok(Self {
            tables,
            dense: device.upload(&dense.values)?,
            dense_state: state,
            dense_gradient: device.zeros(dense.values.len())?,
            states: Vec::new(),
            sums: None,
            ahead: None,
            prefetch: Prefetch::new(&device)?,
            network,
            device,
        })
    }

    /// Brings the host's parameters and optimizer state up to date.
    ///
    /// # Errors
    /// The device's, also of work launched earlier, and of sums that went into the parameters.
    pub(crate) fn download(&self, set: &mut TableSet, dense: &mut Dense) -> Result<(), Error> {
        for (from, to) in self.tables.iter().zip(&mut set.tables) {
            from.download(&self.device, to)?;
        }
        dense.values = self.device.download(self.dense.view())?;
        for (from, to) in self.dense_state.iter().zip(&mut dense.state) {
            *to = self.device.download(from.view())?;
        }
        self.check_sums()
    }

    /// Has the compute stream wait for the sums over NCCL, if there are any.
    fn join_sums(&self) -> Result<(), Error> {
        self.sums.iter().flatten().try_for_each(nccl::Sums::join)
    }

    /// Says whether the sums over NCCL that the host has waited for can be relied on.
    fn check_sums(&self) -> Result<(), Error> {
        self.sums.iter().flatten().try_for_each(nccl::Sums::check)
    }

    /// The card's name.
    #[must_use]
    pub fn name(&self) -> &str {
        self.device.name()
    }
}
