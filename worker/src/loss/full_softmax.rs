//! Cross-entropy over all rows of an item table that stays sharded (Megatron's parallel cross-entropy with a
//! fixed order).
//!
//! Every owner scores all positions of the global batch, in canonical order, against its own shards, one block of
//! positions at a time. Maxima and sums combine in shard order; the gradients of the positions come together along
//! the canonical tree over shards. Logits of a whole batch never exist.

use std::collections::BTreeMap;
use std::ops::Range;

use muster_collective::{Collective, CollectiveExt};
use muster_kernels::bf16::Precision;
use muster_kernels::gemm::Beta;
use muster_kernels::softmax::{
    BlockScan, CombinedStats, Positions, ShardStats, SoftmaxGrads, SoftmaxWeights, TableShard,
    combine_shards, softmax_gradient, softmax_loss, softmax_scan,
};
use rayon::prelude::*;

use super::{Error, HeadResult, Heads, Weight as _};
use crate::embedding::{Shard, Table};
use crate::model::{isa, with_scratch};
use crate::tree;

/// Buffers that live from step to step.
#[derive(Debug, Default)]
pub struct Workspace {
    precision: Precision,
    scans: Vec<BlockScan>,
    combined: CombinedStats,
}

impl Workspace {
    /// Makes the buffers of a head whose products take operands of `precision`.
    pub fn new(precision: Precision) -> Self {
        Self { precision, ..Self::default() }
    }
}

/// All positions of the global batch in canonical order.
pub(crate) struct Global {
    /// `[positions, dim]`.
    pub(crate) hidden: Vec<f32>,
    /// `[positions]`.
    pub(crate) targets: Vec<u32>,
    /// Positions of each rank.
    pub(crate) counts: Vec<usize>,
}

/// Loss and gradients of the full softmax. Leaves a dense gradient in the shards that this rank scores (in all
/// shards of a replicated table). Collective.
///
/// # Errors
/// The collective's.
pub fn full_softmax(
    table: &mut Table,
    heads: &Heads<'_>,
    score_block: usize,
    workspace: &mut Workspace,
    collective: &mut dyn Collective,
) -> Result<HeadResult, Error> {
    let mine = heads.hidden.iter().flat_map(|h| h.iter().copied()).collect();
    let targets = heads.batches.iter().flat_map(|b| b.targets.iter().copied()).collect();
    let global = gather_positions(mine, targets, collective)?;
    let (n, dim, blocks) = (global.targets.len(), table.dim(), table.decl.row_blocks as usize);
    let weights = vec![heads.normalize.weight(n); n];
    let scored = table.scored_by(collective.rank() as u32);
    let mut work = take_work(table, &scored, &global, workspace);
    let mut loss = 0.0;
    for first in (0..n).step_by(score_block) {
        let span = first..(first + score_block).min(n);
        let hidden = &global.hidden[span.start * dim..span.end * dim];
        work.par_iter_mut().with_max_len(1).try_for_each(|work| {
            let positions = Positions { hidden, targets: &work.targets[span.clone()] };
            let table = view(&work.shard.weight, &work.shard.bias, dim);
            with_scratch(|scratch| softmax_scan(table, positions, &mut work.scan, scratch))
        })?;
        combine(&work, blocks, span.len(), &mut workspace.combined, collective)?;
        let weights = SoftmaxWeights { combined: &workspace.combined, weights: &weights[span.clone()] };
        loss += softmax_loss(weights.combined, weights.weights, isa())?;
        let beta = if first == 0 { Beta::Overwrite } else { Beta::Accumulate };
        work.par_iter_mut().with_max_len(1).try_for_each(|work| {
            let Work { shard, targets, scan, partial, .. } = work;
            let positions = Positions { hidden, targets: &targets[span.clone()] };
            let Shard { weight, bias, gradient, .. } = &mut **shard;
            let grads = SoftmaxGrads {
                d_hidden: &mut partial[span.start * dim..span.end * dim],
                d_rows: &mut gradient.weight,
                d_bias: (!bias.is_empty()).then_some(&mut gradient.bias[..]),
                beta,
            };
            let table = view(weight, bias, dim);
            with_scratch(|scratch| softmax_gradient(table, positions, weights, scan, grads, scratch))
        })?;
    }
    let held = work.iter_mut().map(|w| (w.block as usize, std::mem::take(&mut w.partial))).collect();
    workspace.scans = work.into_iter().map(|w| w.scan).collect();
    let d_hidden = scatter_gradients(held, blocks, &global, dim, collective)?;
    if table.replicated() {
        share_dense_gradients(table, collective)?;
    }
    Ok(HeadResult { loss, targets: n as u64, d_hidden })
}

/// One shard that this rank scores, with what its calls need.
struct Work<'t> {
    block: u32,
    shard: &'t mut Shard,
    /// Local rows of the targets that lie in the shard.
    targets: Vec<Option<u32>>,
    scan: BlockScan,
    /// The shard's part of the positions' gradients, `[positions, dim]`.
    partial: Vec<f32>,
}

fn take_work<'t>(
    table: &'t mut Table,
    scored: &[u32],
    global: &Global,
    workspace: &mut Workspace,
) -> Vec<Work<'t>> {
    let (n, dim, decl) = (global.targets.len(), table.dim(), &table.decl);
    let mut work = Vec::with_capacity(scored.len());
    for (block, shard) in table.shards.iter_mut().filter(|(block, _)| scored.contains(block)) {
        let local = |target: &u32| {
            let target = u64::from(*target);
            (decl.block_of(target) == *block).then(|| decl.local_row(target) as u32)
        };
        shard.gradient.dense = true;
        shard.gradient.weight.resize(shard.weight.len(), 0.0);
        shard.gradient.bias.resize(shard.bias.len(), 0.0);
        if n == 0 {
            shard.gradient.weight.fill(0.0);
            shard.gradient.bias.fill(0.0);
        }
        work.push(Work {
            block: *block,
            shard,
            targets: global.targets.iter().map(local).collect(),
            scan: workspace.scans.pop().unwrap_or_else(|| BlockScan::new(workspace.precision)),
            partial: vec![0.0; n * dim],
        });
    }
    work
}

fn view<'a>(weight: &'a [f32], bias: &'a [f32], dim: usize) -> TableShard<'a> {
    TableShard { rows: weight, bias: (!bias.is_empty()).then_some(bias), dim }
}

/// Gathers hidden states and targets of all ranks; ranks hold ascending micro-batches, so rank order is canonical.
pub(crate) fn gather_positions(
    mine: Vec<f32>,
    targets: Vec<u32>,
    collective: &mut dyn Collective,
) -> Result<Global, Error> {
    if collective.world_size() == 1 {
        let counts = vec![targets.len()];
        return Ok(Global { hidden: mine, targets, counts });
    }
    let (mut all_hidden, mut all_targets) = (Vec::new(), Vec::new());
    collective.all_gather::<u32>(&targets, &mut all_targets)?;
    collective.all_gather::<f32>(&mine, &mut all_hidden)?;
    let counts = all_targets.iter().map(Vec::len).collect();
    Ok(Global { hidden: all_hidden.concat(), targets: all_targets.concat(), counts })
}

/// Combines maxima, sums and target logits of all shards in shard order.
fn combine(
    work: &[Work<'_>],
    blocks: usize,
    positions: usize,
    combined: &mut CombinedStats,
    collective: &mut dyn Collective,
) -> Result<(), Error> {
    if collective.world_size() == 1 {
        let parts: Vec<ShardStats<'_>> = work.iter().map(|w| w.scan.stats()).collect();
        return Ok(combine_shards(&parts, combined, isa())?);
    }
    let mut mine = Vec::with_capacity(work.len() * (1 + 3 * positions));
    for work in work {
        let stats = work.scan.stats();
        mine.push(f32::from_bits(work.block));
        mine.extend_from_slice(stats.max);
        mine.extend_from_slice(stats.sum);
        mine.extend_from_slice(stats.target_logit);
    }
    let mut all = Vec::new();
    collective.all_gather::<f32>(&mine, &mut all)?;
    let parts = parse_stats(&all, blocks, positions)?;
    Ok(combine_shards(&parts, combined, isa())?)
}

/// The statistics of every shard, in shard order, from what the ranks sent: for each of their shards its number, then
/// maxima, sums and target logits of all positions.
pub(crate) fn parse_stats(
    all: &[Vec<f32>],
    blocks: usize,
    positions: usize,
) -> Result<Vec<ShardStats<'_>>, Error> {
    let mut parts: Vec<Option<ShardStats<'_>>> = vec![None; blocks];
    for part in all.iter().flat_map(|values| values.chunks_exact(1 + 3 * positions)) {
        let (max, rest) = part[1..].split_at(positions);
        let (sum, target_logit) = rest.split_at(positions);
        let place = parts.get_mut(part[0].to_bits() as usize).ok_or(Error::UnknownShard)?;
        *place = Some(ShardStats { max, sum, target_logit });
    }
    parts.into_iter().collect::<Option<_>>().ok_or(Error::UnknownShard)
}

/// Brings the positions' gradients to the ranks whose micro-batches they are, summed along the tree over shards.
fn scatter_gradients(
    held: BTreeMap<usize, Vec<f32>>,
    blocks: usize,
    global: &Global,
    dim: usize,
    collective: &mut dyn Collective,
) -> Result<Vec<f32>, Error> {
    let mut roots = tree::roots(blocks, held);
    if collective.world_size() == 1 {
        return Ok(roots.pop().map(|(_, values)| values).unwrap_or_default());
    }
    send_gradients(&roots, blocks, global, dim, collective)
}

/// Sends each rank its positions' part of the sums over this rank's shards, and adds up what comes back.
pub(crate) fn send_gradients(
    roots: &[(Range<usize>, Vec<f32>)],
    blocks: usize,
    global: &Global,
    dim: usize,
    collective: &mut dyn Collective,
) -> Result<Vec<f32>, Error> {
    let mut first = 0;
    let mut send = Vec::with_capacity(global.counts.len());
    for count in &global.counts {
        let mut message = Vec::with_capacity(roots.len() * (2 + count * dim));
        for (node, values) in roots {
            message.push(f32::from_bits(node.start as u32));
            message.push(f32::from_bits(node.end as u32));
            message.extend_from_slice(&values[first * dim..(first + count) * dim]);
        }
        first += count;
        send.push(message);
    }
    let slices: Vec<&[f32]> = send.iter().map(Vec::as_slice).collect();
    let mut received = Vec::new();
    collective.all_to_all::<f32>(&slices, &mut received)?;
    let mine = global.counts[collective.rank()] * dim;
    let mut known: BTreeMap<(usize, usize), Vec<f32>> = BTreeMap::new();
    for part in received.iter().flat_map(|values| values.chunks_exact(2 + mine)) {
        known.insert((part[0].to_bits() as usize, part[1].to_bits() as usize), part[2..].to_vec());
    }
    Ok(tree::sum(0..blocks, &mut |node| known.remove(&(node.start, node.end))))
}

/// Gives every rank the dense gradients of all shards of a replicated table.
///
/// # Errors
/// The collective's.
pub(crate) fn share_dense_gradients(table: &mut Table, collective: &mut dyn Collective) -> Result<(), Error> {
    if collective.world_size() == 1 {
        return Ok(());
    }
    let mut mine = Vec::new();
    for block in table.scored_by(collective.rank() as u32) {
        let gradient = &table.shards[&block].gradient;
        mine.extend_from_slice(&gradient.weight);
        mine.extend_from_slice(&gradient.bias);
    }
    let mut all = Vec::new();
    collective.all_gather::<f32>(&mine, &mut all)?;
    for (rank, values) in all.iter().enumerate() {
        let mut left = values.as_slice();
        for block in table.scored_by(rank as u32) {
            let Some(shard) = table.shards.get_mut(&block) else { continue };
            let (weights, rest) = left.split_at(shard.weight.len());
            let (bias, rest) = rest.split_at(shard.bias.len());
            left = rest;
            shard.gradient.dense = true;
            shard.gradient.weight.clear();
            shard.gradient.weight.extend_from_slice(weights);
            shard.gradient.bias.clear();
            shard.gradient.bias.extend_from_slice(bias);
        }
    }
    Ok(())
}
