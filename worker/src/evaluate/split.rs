//! Evaluating a split: ranking for heads that score items, errors and click metrics for heads with a label.

use muster_collective::{Collective, CollectiveExt};
use muster_data::Split;
use muster_kernels::softmax::dot::{DotInput, dot_forward};
use muster_proto::job::Head;

use super::counts::RankingCounts;
use super::held_out::{Calls, HeldOut, LastStates, held_out};
use super::metrics::ranking_metrics;
use super::pointwise::{PointwiseScores, click_metrics, rating_metrics};
use super::ranking::{Users, rank_users};
use super::{Detail, Error, Evaluation, UserRank, diversity};
use crate::allocator;
use crate::embedding::{LookupRequest, gather_whole, look_up};
use crate::model::isa;
use crate::train::Trainer;

/// Users of a rank in one round of ranking; bounds the memory of an evaluation.
pub(crate) const ROUND: usize = 1024;

/// Items that are left out of the rankings of one round, of all users together; bounds its memory.
const LEFT_OUT: usize = 8 << 20;

/// What is asked of a ranking beside its counts.
struct Asked<'a> {
    detail: Detail,
    /// Items that are in nobody's ranking, ascending.
    strangers: &'a [u32],
    /// Is told of each user of this rank; false to stop.
    visit: &'a mut dyn FnMut(UserRank) -> bool,
}

/// Evaluates a split with the model as it is. Collective; every rank gets the same result.
///
/// # Errors
/// The collective's.
pub fn evaluate(
    trainer: &mut Trainer,
    split: Split,
    detail: Detail,
    collective: &mut dyn Collective,
) -> Result<Evaluation, Error> {
    let events = held_out(trainer, split);
    let evaluation = evaluate_events(trainer, &events, detail, collective);
    drop(events);
    allocator::give_back();
    evaluation
}

/// Evaluates a split with a model that ranks items, and gives `visit` what the ranking of each of this rank's users came to,
/// until that says to stop. `strangers` are items that the model does not know, ascending: they are in no ranking, and
/// whoever's held-out event is of one has no hit. Collective.
///
/// # Errors
/// The collective's, or it was stopped.
pub fn evaluate_users(
    trainer: &mut Trainer,
    split: Split,
    strangers: &[u32],
    visit: &mut dyn FnMut(UserRank) -> bool,
    collective: &mut dyn Collective,
) -> Result<Evaluation, Error> {
    let events = held_out(trainer, split);
    let asked = Asked { detail: Detail::Full, strangers, visit };
    let evaluation = rank_events(trainer, &events, asked, collective);
    drop(events);
    allocator::give_back();
    evaluation
}

fn evaluate_events(
    trainer: &mut Trainer,
    events: &[HeldOut],
    detail: Detail,
    collective: &mut dyn Collective,
) -> Result<Evaluation, Error> {
    match trainer.job.model.head {
        Head::Softmax { .. } | Head::SampledSoftmax { .. } => {
            let asked = Asked { detail, strangers: &[], visit: &mut |_| true };
            rank_events(trainer, events, asked, collective)
        }
        Head::Bce { .. } => {
            let scores = score_events(trainer, events, collective)?;
            let metrics = click_metrics(&scores, &trainer.job.evaluation.ks);
            Ok(Evaluation { users: scores.scores.len() as u64, metrics, ..Evaluation::default() })
        }
        Head::Mse { .. } | Head::Regression {} => {
            let scores = score_events(trainer, events, collective)?;
            let users = scores.scores.len() as u64;
            Ok(Evaluation { users, metrics: rating_metrics(&scores), ..Evaluation::default() })
        }
    }
}

fn rank_events(
    trainer: &mut Trainer,
    events: &[HeldOut],
    asked: Asked<'_>,
    collective: &mut dyn Collective,
) -> Result<Evaluation, Error> {
    let Asked { detail, strangers, visit } = asked;
    let Some(output) = trainer.output_table else { return Ok(Evaluation::default()) };
    let items = trainer.set.of_model()[output].rows as usize;
    let whole = gather_whole(&trainer.set, output, collective)?;
    let filter = trainer.job.evaluation.filter_seen;
    let mut counts = RankingCounts::new(&trainer.job.evaluation.ks, items);
    let k = if detail == Detail::Full { counts.largest_k() } else { 0 };
    let size = (LEFT_OUT / (strangers.len() + 1)).clamp(1, ROUND);
    for round in rounds(events, size, collective)? {
        let hidden = states_of(trainer, round, collective)?.hidden;
        let exclude = |event: &HeldOut| left_out(if filter { &event.seen } else { &[] }, strangers);
        let users = Users {
            hidden,
            targets: round.iter().map(|e| e.item).collect(),
            exclude: round.iter().map(exclude).collect(),
        };
        let table = whole.as_ref().unwrap_or(&trainer.set.parts(output)[0]);
        let mut ranked = rank_users(table, &users, k, &trainer.pool, collective)?;
        for (event, user) in round.iter().zip(&mut ranked) {
            let is_known = strangers.binary_search(&event.item).is_err();
            if !is_known {
                user.above = u64::MAX;
            }
            let rank = UserRank { user: event.history.user(), above: is_known.then_some(user.above) };
            if !visit(rank) {
                return Err(Error::Stopped);
            }
            let list: Vec<u32> = user.list.iter().map(|(item, _)| *item).collect();
            counts.add(user.above, user.ties, &list);
        }
        if detail == Detail::Full {
            diversity::count(&trainer.set, output, &ranked, &mut counts, collective)?;
        }
    }
    sum_counts(&mut counts, collective)?;
    let popularity = if detail == Detail::Full { trainer.dataset.popularity()? } else { vec![0; items] };
    let mut metrics = ranking_metrics(&counts, &popularity);
    if detail == Detail::Hits {
        metrics.retain(|name, _| !["Coverage", "Gini", "Novelty"].iter().any(|m| name.starts_with(m)));
    }
    Ok(Evaluation { users: counts.users, ties: counts.ties, seen_filtered: filter, metrics })
}

fn states_of(
    trainer: &mut Trainer,
    events: &[HeldOut],
    collective: &mut dyn Collective,
) -> Result<LastStates, Error> {
    Calls::pack(trainer, &trainer.groups, events).run(trainer, collective)
}

/// Both lists as one, ascending and each item once.
fn left_out(seen: &[u32], strangers: &[u32]) -> Vec<u32> {
    if strangers.is_empty() {
        return seen.to_vec();
    }
    let mut all = [seen, strangers].concat();
    all.sort_unstable();
    all.dedup();
    all
}

/// The events in rounds; as many rounds on every rank, the last ones possibly empty.
fn rounds<'e>(
    events: &'e [HeldOut],
    size: usize,
    collective: &mut dyn Collective,
) -> Result<Vec<&'e [HeldOut]>, Error> {
    let mine = events.len().div_ceil(size) as u64;
    let mut all = vec![vec![mine]];
    if collective.world_size() > 1 {
        collective.all_gather::<u64>(&[mine], &mut all)?;
    }
    let most = all.iter().flatten().copied().max().unwrap_or(0) as usize;
    let part = |round: usize| {
        let start = (round * size).min(events.len());
        &events[start..(start + size).min(events.len())]
    };
    Ok((0..most).map(part).collect())
}

fn sum_counts(counts: &mut RankingCounts, collective: &mut dyn Collective) -> Result<(), Error> {
    if collective.world_size() == 1 {
        return Ok(());
    }
    let mut all = Vec::new();
    collective.all_gather::<i64>(&counts.to_words(), &mut all)?;
    for (rank, words) in all.iter().enumerate() {
        if rank != collective.rank() {
            counts.add_words(words);
        }
    }
    Ok(())
}

/// Scores of the held-out events of all ranks with their labels.
fn score_events(
    trainer: &mut Trainer,
    events: &[HeldOut],
    collective: &mut dyn Collective,
) -> Result<PointwiseScores, Error> {
    let mut mine = Vec::with_capacity(2 * events.len());
    for round in rounds(events, ROUND, collective)? {
        let states = states_of(trainer, round, collective)?;
        let scores = match trainer.output_table {
            Some(output) => {
                let ids = round.iter().map(|e| e.item);
                let requests = vec![LookupRequest::of(output, ids.clone())];
                let rows = look_up(&trainer.set, requests, collective)?.remove(0);
                let mut targets = Vec::with_capacity(round.len() * rows.dim);
                let mut bias = Vec::with_capacity(round.len());
                for id in ids {
                    let slot = rows.slot(id);
                    targets.extend_from_slice(&rows.rows[slot * rows.dim..(slot + 1) * rows.dim]);
                    bias.push(rows.bias[slot]);
                }
                let mut scores = vec![0.0; round.len()];
                let input =
                    DotInput { dim: rows.dim, hidden: &states.hidden, rows: &targets, bias: Some(&bias) };
                dot_forward(input, &mut scores, isa())?;
                scores
            }
            None => states.predictions,
        };
        mine.extend(scores.iter().zip(round).flat_map(|(score, event)| [*score, event.label]));
    }
    let mut all = vec![mine];
    if collective.world_size() > 1 {
        let mine = std::mem::take(&mut all[0]);
        collective.all_gather::<f32>(&mine, &mut all)?;
    }
    let pairs = all.iter().flat_map(|values| values.chunks_exact(2));
    let (scores, labels) = pairs.map(|pair| (pair[0], pair[1])).unzip();
    Ok(PointwiseScores { scores, labels })
}
