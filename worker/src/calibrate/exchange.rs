//! What ranks do together: lookups, gradients to their owners, sums, and the frame of a full softmax.

use std::time::Duration;

use muster_collective::{Collective, CollectiveExt, RootSums};
use muster_kernels::bf16::Precision;
use muster_proto::job::{Normalize, OptimizerKind};
use muster_proto::measured::Term;
use muster_proto::measured::calibration::spread;
use muster_proto::sharding::{Placement, ShardingPlan, TableDecl};
use rayon::prelude::*;

use super::ranks::{Unconnected, run};
use super::watch::Watch;
use super::{DistinctIds, Effort, Points, values};
use crate::batch::MicroBatch;
use crate::embedding::{Init, LookupRequest, RowGradient, Table, TableSet, look_up, push_gradients};
use crate::loss::{Heads, SoftmaxWorkspace, full_softmax, share_dense_gradients};
use crate::train::Watched;

/// Row blocks of a job that does not say otherwise.
const BLOCKS: u32 = 8;
/// Columns of rows that are looked up.
const DIM: [usize; 4] = [8, 32, 128, 512];
/// Rows of the tables that are looked up in, where rows are not wide.
const ROWS: usize = 40_000;

/// Rows of a table of so many columns: the widest ones would be larger than what a trial needs.
fn rows_of(dim: usize) -> usize {
    ROWS.min(ROWS * 128 / dim)
}

pub(super) fn measure(effort: &Effort, ranks: usize, points: &mut Points) -> Result<(), Unconnected> {
    let spreads: &[f64] =
        if ranks == 1 { &[spread::SHARED] } else { &[spread::ONE, spread::SHARED, spread::REPLICATED] };
    for &spread in spreads {
        rows(effort, (ranks, spread), points)?;
        if spread != spread::REPLICATED {
            frames(effort, (ranks, spread), points)?;
        }
    }
    sums(effort, ranks, points)?;
    let threads = effort.threads_of(ranks);
    let pool =
        || rayon::ThreadPoolBuilder::new().num_threads(threads).build().map_err(|_| Unconnected::Ended);
    let times = run(ranks, effort.time(), |_| {
        let pool = pool();
        move |watch: &mut Watch, _: &mut dyn Collective| {
            let pool = pool.as_ref().map_err(|_| Unconnected::Ended)?;
            let sum: usize = pool.install(|| (0..threads * 2).into_par_iter().with_max_len(1).sum());
            watch.lap(0);
            std::hint::black_box(sum);
            Ok(())
        }
    })?;
    points.point(Term::ForkJoin, (&[threads], 1, ranks), times[0]);
    Ok(())
}

fn decl(rows: usize, dim: usize, row_blocks: u32, spread: f64) -> TableDecl {
    let placement = match spread {
        spread if spread == spread::ONE => Placement::TableWise,
        spread if spread == spread::REPLICATED => Placement::DataParallel,
        _ => Placement::RowWise,
    };
    let (rows, dim, placement) = (rows as u64, dim as u32, Some(placement));
    TableDecl { name: "trial".into(), rows, dim, row_blocks, bias: false, placement, columns: None }
}

/// A table of `rank` among so many.
fn table(decl: &TableDecl, rank: usize, ranks: usize) -> Table {
    let plan =
        ShardingPlan::simple(std::slice::from_ref(decl), BLOCKS, ranks as u32).expect("a trial has ranks");
    let plan = plan.tables[&decl.name].clone();
    Table::initial(
        decl.clone(),
        plan,
        rank as u32,
        OptimizerKind::RowWiseAdagrad,
        Init { seed: 1, std: 0.05 },
    )
}

/// Lookups and gradients.
fn rows(effort: &Effort, (ranks, spread): (usize, f64), points: &mut Points) -> Result<(), Unconnected> {
    for dim in effort.some(&DIM) {
        for count in effort.some(&[50, 400, 3_000]) {
            let decl = decl(rows_of(dim), dim, BLOCKS, spread);
            let times = run(ranks, effort.time(), |rank| look(&decl, (rank, ranks), count))?;
            let read = times[2].saturating_sub(times[0] + times[1]);
            points.shaped(Term::LookUpIds, (&[spread], count, ranks), times[0]);
            points.shaped(Term::LookUpRows, (&[spread], count * dim, ranks), times[1]);
            points.shaped(Term::LookUpRead, (&[dim as f64, spread], count, ranks), read);
            let times = run(ranks, effort.time(), |rank| push(&decl, (rank, ranks), count))?;
            let sum = times[1].saturating_sub(times[0]);
            points.shaped(Term::PushRows, (&[spread], count * dim, ranks), times[0]);
            points.shaped(Term::PushSum, (&[dim as f64, spread], count, ranks), sum);
        }
    }
    Ok(())
}

/// Adds the times of the exchanges in order, `wanted` of them, then that of all.
fn note(watch: &mut Watch, exchanges: &[Duration], wanted: usize, all: Duration) {
    for place in 0..wanted {
        watch.add(place, exchanges.get(place).copied().unwrap_or_default());
    }
    watch.add(wanted, all);
}

fn look(
    decl: &TableDecl,
    (rank, ranks): (usize, usize),
    count: usize,
) -> impl FnMut(&mut Watch, &mut dyn Collective) -> Result<(), Unconnected> {
    let set = TableSet::new(vec![table(decl, rank, ranks)]);
    let mut ids = DistinctIds::new(decl.rows as usize);
    move |watch: &mut Watch, collective: &mut dyn Collective| {
        let request = LookupRequest { table: 0, ids: ids.draw(count) };
        let mut watched = Watched::new(collective);
        let begun = std::time::Instant::now();
        let rows = look_up(&set, vec![request], &mut watched)?;
        note(watch, watched.exchanges(), 2, begun.elapsed());
        drop(rows);
        Ok(())
    }
}

fn push(
    decl: &TableDecl,
    (rank, ranks): (usize, usize),
    count: usize,
) -> impl FnMut(&mut Watch, &mut dyn Collective) -> Result<(), Unconnected> {
    let mut set = TableSet::new(vec![table(decl, rank, ranks)]);
    let dim = decl.dim as usize;
    let micro_batches = (BLOCKS as usize / ranks).max(1);
    // Hot rows are in every micro-batch, so the same rows come from each.
    let of_one = (count / micro_batches).max(1);
    let mut ids = DistinctIds::new(decl.rows as usize);
    let rows = values(of_one * dim, 0.01);
    let gradient = RowGradient { table: 0, ids: ids.draw(of_one), rows, bias: Vec::new() };
    let mut gradients = vec![gradient; micro_batches];
    move |watch: &mut Watch, collective: &mut dyn Collective| {
        let drawn = ids.draw(of_one);
        gradients.iter_mut().for_each(|gradient| gradient.ids.clone_from(&drawn));
        let mut watched = Watched::new(collective);
        let begun = std::time::Instant::now();
        push_gradients(&mut set, &[0], &gradients, &mut watched)?;
        note(watch, watched.exchanges(), 1, begun.elapsed());
        Ok(())
    }
}

/// A full softmax over so few rows that all but its products is left.
fn frames(effort: &Effort, (ranks, spread): (usize, f64), points: &mut Points) -> Result<(), Unconnected> {
    for dim in effort.some(&[8, 32, 128]) {
        for blocks in [4, 16] {
            for positions in effort.some(&[64, 512, 3_072]) {
                let decl = decl(blocks, dim, blocks as u32, spread);
                let threads = effort.threads_of(ranks);
                let times =
                    run(ranks, effort.time(), |rank| frame(&decl, (rank, ranks), (positions, threads)))?;
                points.shaped(
                    Term::SoftmaxFrame,
                    (&[dim as f64, blocks as f64, spread], positions, ranks),
                    times[0],
                );
            }
        }
    }
    Ok(())
}

fn frame(
    decl: &TableDecl,
    (rank, ranks): (usize, usize),
    (positions, threads): (usize, usize),
) -> impl FnMut(&mut Watch, &mut dyn Collective) -> Result<(), Unconnected> {
    let mut table = table(decl, rank, ranks);
    let dim = decl.dim as usize;
    let mine = positions / ranks;
    let hidden = values(mine * dim, 1.0);
    let targets = (0..mine as u32).map(|position| position % decl.rows as u32).collect();
    let batches = [MicroBatch { targets, ..MicroBatch::default() }];
    let mut workspace = SoftmaxWorkspace::new(Precision::F32);
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
    move |watch: &mut Watch, collective: &mut dyn Collective| {
        let pool = pool.as_ref().map_err(|_| Unconnected::Ended)?;
        let hidden = [&hidden[..]];
        let heads = Heads { batches: &batches, hidden: &hidden, normalize: Normalize::Tokens };
        let done = pool.install(|| full_softmax(&mut table, &heads, 256, &mut workspace, collective));
        watch.lap(0);
        drop(done?);
        Ok(())
    }
}

/// Sums of dense gradients, small words, clipping, and gradients of replicated tables.
fn sums(effort: &Effort, ranks: usize, points: &mut Points) -> Result<(), Unconnected> {
    for parameters in effort.some(&[2_000, 30_000, 300_000, 2_000_000]) {
        let mut counts = vec![1, 4, 8];
        counts.retain(|count| *count * parameters <= 8_000_000);
        for micro_batches in counts {
            let times = run(ranks, effort.time(), |rank| sum((rank, ranks), micro_batches, parameters))?;
            points.point(Term::SumGradients, (&[micro_batches], parameters, ranks), times[0]);
        }
        let times = run(ranks, effort.time(), |_| {
            let mut gradient = values(parameters, 0.01);
            move |watch: &mut Watch, _: &mut dyn Collective| {
                let squares = muster_kernels::reduce::sum_of_squares(crate::model::isa(), &gradient);
                gradient.iter_mut().for_each(|value| *value *= 0.999);
                watch.lap(0);
                std::hint::black_box(squares);
                Ok(())
            }
        })?;
        points.point(Term::Clip, (&[], parameters, ranks), times[0]);
        if ranks > 1 {
            let decl = decl(parameters / 32, 32, BLOCKS, spread::REPLICATED);
            let times = run(ranks, effort.time(), |rank| share(&decl, (rank, ranks)))?;
            points.point(Term::ShareGradients, (&[], parameters / 32 * 32, ranks), times[0]);
        }
    }
    let times = run(ranks, effort.time(), |_| {
        move |watch: &mut Watch, collective: &mut dyn Collective| {
            let mut all = Vec::new();
            collective.all_gather::<u64>(&[1, 2, 3], &mut all)?;
            watch.lap(0);
            Ok(())
        }
    })?;
    points.point(Term::Words, (&[], 1, ranks), times[0]);
    Ok(())
}

fn sum(
    (rank, ranks): (usize, usize),
    micro_batches: usize,
    parameters: usize,
) -> impl FnMut(&mut Watch, &mut dyn Collective) -> Result<(), Unconnected> {
    let leaves = micro_batches * ranks;
    let mut buffers: Vec<Vec<f32>> = (0..micro_batches).map(|_| values(parameters, 0.01)).collect();
    let mut total = vec![0.0; parameters];
    move |watch: &mut Watch, collective: &mut dyn Collective| {
        let (mut sums, mut spares) = (RootSums::new(leaves), Vec::new());
        for (place, buffer) in buffers.drain(..).enumerate() {
            spares.extend(sums.push(rank * micro_batches + place, buffer)?);
        }
        collective.all_reduce_tree(&sums.roots(), leaves, &mut total)?;
        watch.lap(0);
        sums.clear(&mut spares);
        buffers = spares;
        buffers.resize_with(micro_batches, || vec![0.01; parameters]);
        // What is summed again and again must stay small.
        buffers.iter_mut().flatten().for_each(|value| *value = 0.01);
        Ok(())
    }
}

fn share(
    decl: &TableDecl,
    (rank, ranks): (usize, usize),
) -> impl FnMut(&mut Watch, &mut dyn Collective) -> Result<(), Unconnected> {
    let mut table = table(decl, rank, ranks);
    for shard in table.shards.values_mut() {
        shard.gradient.weight.resize(shard.weight.len(), 0.01);
    }
    move |watch: &mut Watch, collective: &mut dyn Collective| {
        share_dense_gradients(&mut table, collective)?;
        watch.lap(0);
        Ok(())
    }
}
