//! The held-out events of this rank's users, and what the network makes of their histories.

use muster_data::{Partition, Split};
use rayon::prelude::*;

use super::Error;
use crate::batch::{Group, MicroBatch, Sample, pack_histories};
use crate::embedding::{Rows, look_up};
use crate::model::{MicroState, last_rows};
use crate::train::Trainer;
use muster_collective::Collective;

/// Users of one compute call: enough for the GEMMs, few enough for all threads to have work.
pub(crate) const CALL: usize = 64;

/// One held-out event.
#[derive(Debug, Clone)]
pub(crate) struct HeldOut {
    /// Index of the group on this rank.
    pub(crate) group: usize,
    /// The history that the network sees.
    pub(crate) history: Sample,
    /// The item.
    pub(crate) item: u32,
    /// Its label, for heads that have one.
    pub(crate) label: f32,
    /// Items of the whole history, ascending and unique, without the target.
    pub(crate) seen: Vec<u32>,
}

/// The held-out events of this rank for a split, in a fixed order. A series has its last row as the event.
pub(super) fn held_out(trainer: &Trainer, split: Split) -> Vec<HeldOut> {
    let mut events = Vec::new();
    for (group_index, group) in trainer.groups.iter().enumerate() {
        for (place, partition) in group.partitions.iter().enumerate() {
            for user in 0..partition.users() {
                events.extend(held_out_of(trainer, split, (group_index, place), partition, user));
            }
        }
    }
    events
}

fn held_out_of(
    trainer: &Trainer,
    split: Split,
    (group, place): (usize, usize),
    partition: &Partition,
    user: u32,
) -> Option<HeldOut> {
    let corpus = &trainer.corpus;
    if let Some(series) = &partition.series {
        let range = partition.range(user);
        if partition.role(user) != split || range.is_empty() {
            return None;
        }
        let label = series.targets[range.end - 1];
        let history = corpus.whole(partition, place, user, range);
        return Some(HeldOut { group, history, item: 0, label, seen: Vec::new() });
    }
    let held = partition.held_out(user, split)?;
    let item = partition.items[held.target];
    let mut seen = partition.items[held.history.clone()].to_vec();
    seen.sort_unstable();
    seen.dedup();
    seen.retain(|seen| *seen != item);
    let label = corpus.features.label.map_or(0.0, |column| partition.numeric[column][held.target]);
    let history = corpus.history(partition, place, user, held.history);
    Some(HeldOut { group, history, item, label, seen })
}

/// What the network gives for the last event of each history.
pub(crate) struct LastStates {
    /// `[events, head input]`.
    pub(crate) hidden: Vec<f32>,
    /// `[events, outputs]`, for a linear head.
    pub(crate) predictions: Vec<f32>,
}

/// Histories packed into calls of the network.
pub(crate) struct Calls {
    batches: Vec<MicroBatch>,
    /// For each batch the events that its sequences are.
    orders: Vec<Vec<usize>>,
    events: usize,
}

impl Calls {
    /// Packs the histories of `events`, whose groups are `groups`.
    pub(crate) fn pack(trainer: &Trainer, groups: &[Group], events: &[HeldOut]) -> Self {
        let mut calls: Vec<Vec<usize>> = Vec::new();
        for (index, event) in events.iter().enumerate() {
            match calls.last_mut() {
                Some(call) if call.len() < CALL && events[call[0]].group == event.group => call.push(index),
                _ => calls.push(vec![index]),
            }
        }
        let pack = |mut call: Vec<usize>| {
            let group = &groups[events[call[0]].group];
            // The same order as packing has: longest first, then by identity.
            call.sort_by_key(|i| {
                let history = &events[*i].history;
                (std::cmp::Reverse(history.end - history.start), history.id)
            });
            let samples = call.iter().map(|i| events[*i].history).collect();
            (pack_histories(&trainer.corpus, group, samples), call)
        };
        let (batches, orders) = trainer.pool.install(|| calls.into_par_iter().map(pack).unzip());
        Self { batches, orders, events: events.len() }
    }

    /// Runs the network over the histories, without dropout. Collective: a rank may have no events.
    pub(crate) fn run(
        &self,
        trainer: &mut Trainer,
        collective: &mut dyn Collective,
    ) -> Result<LastStates, Error> {
        let requests = trainer.inputs.requests(&self.batches);
        // In a world of one a lookup is no collective, and an evaluation may take longer than many steps.
        collective.abort_handle().beat();
        let rows = look_up(&trainer.set, requests, collective)?;
        trainer.network.pack(&trainer.dense, &mut trainer.packed)?;
        let width = trainer.job.model.head_input() as usize;
        let outputs = trainer.network.outputs;
        let given = run(trainer, &self.batches, &rows)?;
        let mut last = LastStates {
            hidden: vec![0.0; self.events * width],
            predictions: vec![0.0; self.events * outputs],
        };
        for (order, given) in self.orders.iter().zip(&given) {
            for (sequence, event) in order.iter().enumerate() {
                last.hidden[event * width..(event + 1) * width]
                    .copy_from_slice(&given.hidden[sequence * width..(sequence + 1) * width]);
                if outputs > 0 {
                    last.predictions[event * outputs..(event + 1) * outputs]
                        .copy_from_slice(&given.predictions[sequence * outputs..(sequence + 1) * outputs]);
                }
            }
        }
        Ok(last)
    }
}

/// What the network gives for each batch; what it computes on the way lives for one batch of a thread alone.
fn run(trainer: &Trainer, batches: &[MicroBatch], rows: &[Rows]) -> Result<Vec<LastStates>, Error> {
    let (network, inputs) = (&trainer.network, &trainer.inputs);
    let Some(packed) = &trainer.packed else { return Ok(Vec::new()) };
    let width = trainer.job.model.head_input() as usize;
    let forward = |batch: &MicroBatch| {
        let mut state = MicroState::default();
        inputs.assemble(batch, rows, network.input(batch.tokens(), &mut state));
        network.forward(batch, packed, None, &mut state)?;
        let hidden = last_rows(&state.out, &batch.last_tokens, width);
        Ok(LastStates { hidden, predictions: state.predictions })
    };
    trainer.pool.install(|| batches.par_iter().map(forward).collect())
}
