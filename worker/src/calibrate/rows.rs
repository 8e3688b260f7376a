//! From samples to the network's input: choosing and packing a batch, and laying rows out.

use muster_kernels::dropout::RowKey;
use muster_kernels::lstm::Layout;
use muster_proto::job::ModelSpec;
use muster_proto::measured::Term;

use super::watch::Watch;
use super::{Effort, Points, ids, threads, values};
use crate::batch::{EpochPlan, MicroBatch, Sampler};
use crate::embedding::{Rows, distinct};
use crate::model::Inputs;

pub(super) fn measure(effort: &Effort, points: &mut Points) {
    for busy in effort.levels() {
        for tokens in [48, 400, 3000] {
            for dim in effort.some(&[8, 32, 128, 512]) {
                let times = threads::in_turn(busy, effort.time(), || assembly(dim, tokens));
                points.point(Term::Assemble, (&[dim], tokens, busy), times[0]);
            }
            for columns in [1, 3] {
                let times = threads::run(busy, effort.time(), || packing(columns, tokens));
                points.point(Term::MakeBatch, (&[columns], tokens, busy), times[0]);
            }
        }
    }
    for ranks in &effort.workers {
        for count in effort.some(&[100, 1_000, 10_000, 100_000]) {
            let asked = ids(count, 4 * count, 9);
            let sort = || {
                let asked = &asked;
                move |watch: &mut Watch| {
                    let kept = distinct(asked.iter().copied());
                    watch.lap(0);
                    drop(kept);
                }
            };
            let times = threads::run(*ranks, effort.time(), sort);
            points.point(Term::Distinct, (&[], count, *ranks), times[0]);
        }
    }
}

fn assembly(dim: usize, tokens: usize) -> impl FnMut(&mut Watch) {
    let spec = ModelSpec { embedding_dim: dim as u32, hidden_size: dim as u32, ..ModelSpec::default() };
    let inputs = Inputs::new(&spec, 0);
    // A batch looks up the rows of several micro-batches.
    let known: Vec<u32> = distinct(ids(8 * tokens, 20 * tokens, 1).into_iter());
    let items = (0..tokens).map(|token| known[token * 7919 % known.len()]).collect();
    let batch = MicroBatch { items, ..MicroBatch::default() };
    let rows = values(known.len() * dim, 0.2);
    let looked_up = [Rows { bias: vec![0.0; known.len()], ids: known, dim, rows }];
    let mut x = vec![0.0; tokens * dim];
    move |watch: &mut Watch| {
        inputs.assemble(&batch, &looked_up, &mut x);
        watch.lap(0);
    }
}

/// Packs sequences of the columns of a log, token by token, as a micro-batch is.
fn packing(columns: usize, tokens: usize) -> impl FnMut(&mut Watch) {
    let sequences = (tokens / 12).max(1);
    let steps = tokens / sequences;
    let log: Vec<Vec<u32>> = (0..columns as u32).map(|column| ids(200_000, 50_000, column)).collect();
    let sampler = Sampler::new(EpochPlan::new(vec![64 * sequences as u64], sequences as u32), 1);
    let mut step = 0;
    move |watch: &mut Watch| {
        step += 1;
        let drawn = sampler.samples(0, step);
        let starts: Vec<usize> = drawn.iter().map(|sample| *sample as usize * 7919 % 190_000).collect();
        let mut batch = MicroBatch::with_features(columns - 1);
        let layout = Layout::from_batch_sizes(vec![sequences as u32; steps]);
        for t in 0..steps {
            for (sequence, start) in starts.iter().enumerate() {
                batch.row_keys.push(RowKey { sample: sequence as u64, position: t as u32 });
                batch.items.push(log[0][start + t]);
                for (ids, column) in batch.categorical.iter_mut().zip(&log[1..]) {
                    ids.push(column[start + t]);
                }
                batch.targets.push(log[0][start + t + 1]);
            }
        }
        watch.lap(0);
        drop((batch, layout));
    }
}
