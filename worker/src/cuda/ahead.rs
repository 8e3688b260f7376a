//! What a step needs to know of its batch, made one step ahead: while the GPU computes a step, the host packs, sorts and
//! deduplicates the ids of the next, and sends them off.
//!
//! Nothing here depends on a parameter, so the results are those of a step that begins with it.

use muster_kernels::cuda::embedding::Ids;
use muster_kernels::cuda::{Device, Error, Prefetch, Sent};

use super::tables::DeviceTable;
use crate::batch::MicroBatch;
use crate::embedding::{LookupRequest, distinct};
use crate::train::Trainer;

/// The batch of one step, with its ids under way to the device.
#[derive(Debug)]
pub(super) struct Ahead {
    pub(super) step: u64,
    pub(super) batches: Vec<MicroBatch>,
    pub(super) negatives: Vec<Vec<u32>>,
    requests: Vec<LookupRequest>,
    distinct: Vec<Vec<Vec<u32>>>,
    sent: Sent,
}

/// The looked-up ids of one part of one micro-batch's input.
#[derive(Debug)]
pub(super) struct PartIds {
    /// Their places among the rows of the table's request.
    pub(super) slots: Ids,
    /// The rows' own numbers.
    pub(super) ids: Ids,
    /// Those of them that differ, ascending.
    pub(super) distinct: Vec<u32>,
}

/// What [`Ahead`] becomes at its step.
#[derive(Debug)]
pub(super) struct Now {
    pub(super) batches: Vec<MicroBatch>,
    pub(super) negatives: Vec<Vec<u32>>,
    pub(super) requests: Vec<LookupRequest>,
    /// For each request, where its rows are in the table's arrays; empty on several ranks, where owners look.
    pub(super) places: Vec<Ids>,
    /// For each micro-batch, in the order of the parts that are looked up.
    pub(super) parts: Vec<Vec<PartIds>>,
}

impl Ahead {
    /// Packs the batch of a step and sends its ids off.
    pub(super) fn prepare(
        device: &Device,
        trainer: &Trainer,
        step: u64,
        alone: Option<&[DeviceTable]>,
        prefetch: &mut Prefetch,
    ) -> Result<Self, Error> {
        let batches = trainer.batches_of(step);
        let negatives = trainer.negatives_of(step, &batches);
        let requests = trainer.requests(&batches, &negatives);
        let (mut lists, mut unlike) = (Vec::new(), Vec::new());
        // On several ranks, the owners of the rows look.
        for (LookupRequest { table, ids }, tables) in requests.iter().zip(alone.iter().cycle()) {
            lists.push(tables[*table].places(&trainer.set.tables[*table].decl, ids));
        }
        for batch in &batches {
            let parts = trainer.inputs.tables(batch);
            for (table, ids) in &parts {
                lists.push(slots_of(&requests[*table].ids, ids));
                lists.push(ids.to_vec());
            }
            unlike.push(parts.iter().map(|(_, ids)| distinct(ids.iter().copied())).collect());
        }
        let slices: Vec<&[u32]> = lists.iter().map(Vec::as_slice).collect();
        let sent = prefetch.send(device, &slices)?;
        Ok(Self { step, batches, negatives, requests, distinct: unlike, sent })
    }

    /// Has the compute stream wait for the ids.
    pub(super) fn arrive(self, device: &Device, alone: bool, prefetch: &mut Prefetch) -> Result<Now, Error> {
        let Self { batches, negatives, requests, distinct, sent, .. } = self;
        let mut lists = prefetch.receive(device, sent)?.into_iter();
        let places = lists.by_ref().take(if alone { requests.len() } else { 0 }).collect();
        let part = |distinct| {
            let slots = lists.next().expect("a list was sent for each part");
            let ids = lists.next().expect("a list was sent for each part");
            PartIds { slots, ids, distinct }
        };
        let mut part = part;
        let parts =
            distinct.into_iter().map(|parts: Vec<Vec<u32>>| parts.into_iter().map(&mut part).collect());
        let parts = parts.collect();
        Ok(Now { batches, negatives, requests, places, parts })
    }
}

/// Where each of `ids` is among those that were asked for, ascending.
pub(super) fn slots_of(asked: &[u32], ids: &[u32]) -> Vec<u32> {
    let slot = |id: &u32| asked.binary_search(id).unwrap_or_else(|_| panic!("row {id} was not looked up"));
    ids.iter().map(|id| slot(id) as u32).collect()
}
