//! Recommending from a finished model, for one user, with reasons.
//!
//! A reason is computed from the model: the event of the history whose removal lowers the score of the recommended
//! item most, and by how much.

use muster_collective::Collective;
use muster_data::Partition;
use muster_kernels::softmax::dot::{DotInput, dot_forward};

use crate::batch::{Group, Sample};
use crate::embedding::{LookupRequest, gather_whole, look_up};
use crate::evaluate::{Calls, Error, HeldOut, Users, rank_users};
use crate::model::isa;
use crate::train::Trainer;

/// A recommended item.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Recommendation {
    /// The item's id in the dataset.
    pub item: u32,
    /// Its score.
    pub score: f32,
    /// The event that speaks most for it; none for a history of one event.
    pub reason: Option<Reason>,
}

/// Why an item is recommended.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
pub struct Reason {
    /// The event's place in the user's whole history, from 0.
    pub event: usize,
    /// The item of the event.
    pub item: u32,
    /// By how much the score falls without the event.
    pub lowers_score_by: f32,
}

/// The best `k` items for user `user` of `partition` after the whole history, items of the history left out.
/// `trainer` holds the whole model (a world of one rank).
///
/// # Errors
/// The model's.
pub fn recommend(
    trainer: &mut Trainer,
    partition: &Partition,
    user: u32,
    k: usize,
    collective: &mut dyn Collective,
) -> Result<Vec<Recommendation>, Error> {
    let Some(output) = trainer.output_table else { return Ok(Vec::new()) };
    let whole = partition.range(user);
    let seen_by_model = trainer.corpus.history(partition, 0, user, whole.clone());
    let shown = seen_by_model.start as usize..seen_by_model.end as usize;
    let variants = without_each(partition, shown.clone());
    let events = variants_events(&variants);
    let hidden =
        Calls::pack(trainer, std::slice::from_ref(&variants), &events).run(trainer, collective)?.hidden;
    let dim = trainer.set.of_model()[output].dim;
    let mut exclude = partition.items[whole.clone()].to_vec();
    // The item that stands for all rare ones is none that a shop could show.
    exclude.extend(trainer.dataset.manifest().unknown_item.then_some(0));
    exclude.sort_unstable();
    exclude.dedup();
    let users = Users { hidden: hidden[..dim].to_vec(), targets: vec![0], exclude: vec![exclude] };
    let gathered = gather_whole(&trainer.set, output, collective)?;
    let table = gathered.as_ref().unwrap_or(&trainer.set.parts(output)[0]);
    let ranked = rank_users(table, &users, k, &trainer.pool, collective)?;
    let list = ranked.into_iter().next().map(|user| user.list).unwrap_or_default();
    let items: Vec<u32> = list.iter().map(|(item, _)| *item).collect();
    let rows =
        look_up(&trainer.set, vec![LookupRequest::of(output, items.iter().copied())], collective)?.remove(0);
    let mut recommendations = Vec::with_capacity(list.len());
    for (item, score) in list {
        let slot = rows.slot(item);
        let row = &rows.rows[slot * dim..(slot + 1) * dim];
        let variants = hidden.len() / dim - 1;
        let (rows, bias) = (row.repeat(variants), vec![rows.bias[slot]; variants]);
        let mut without = vec![0.0; variants];
        let input = DotInput { dim, hidden: &hidden[dim..], rows: &rows, bias: Some(&bias) };
        dot_forward(input, &mut without, isa())?;
        let lowest = without.iter().enumerate().min_by(|a, b| a.1.total_cmp(b.1));
        let reason = lowest.map(|(place, without)| Reason {
            event: shown.start - whole.start + place,
            item: partition.items[shown.start + place],
            lowers_score_by: score - without,
        });
        recommendations.push(Recommendation { item, score, reason });
    }
    Ok(recommendations)
}

/// Histories as a partition of their own: first the whole one, then each without one event. A history of one event
/// has only the whole.
fn without_each(partition: &Partition, shown: std::ops::Range<usize>) -> Group {
    let length = shown.len();
    let removed = if length > 1 { length } else { 0 };
    let mut kept: Vec<usize> = shown.clone().collect();
    let mut ends = vec![0, length as u32];
    for place in 0..removed {
        kept.extend(shown.clone().filter(|event| *event != shown.start + place));
        ends.push(kept.len() as u32);
    }
    let mut variants = partition.clone();
    variants.items = kept.iter().map(|e| partition.items[*e]).collect();
    variants.times = kept.iter().map(|e| partition.times[*e]).collect();
    variants.categorical =
        partition.categorical.iter().map(|c| kept.iter().map(|e| c[*e]).collect()).collect();
    variants.numeric = partition.numeric.iter().map(|c| kept.iter().map(|e| c[*e]).collect()).collect();
    let samples = ends
        .windows(2)
        .enumerate()
        .map(|(id, pair)| Sample { id: id as u64, partition: 0, start: pair[0], end: pair[1] })
        .collect();
    variants.offsets = ends;
    Group { index: 0, partitions: vec![variants], samples }
}

fn variants_events(variants: &Group) -> Vec<HeldOut> {
    let event =
        |history: &Sample| HeldOut { group: 0, history: *history, item: 0, label: 0.0, seen: Vec::new() };
    variants.samples.iter().map(event).collect()
}
