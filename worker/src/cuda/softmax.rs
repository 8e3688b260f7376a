//! Cross-entropy over all rows of a table whose shards are on the ranks' devices; see
//! [`full_softmax`](fn@crate::loss::full_softmax), whose exchanges this has.

use std::collections::BTreeMap;

use muster_collective::{Collective, CollectiveExt};
use muster_kernels::cuda::bf16::{Bf16, round};
use muster_kernels::cuda::reduce::fill;
use muster_kernels::cuda::softmax::{
    BlockScan, CombinedStats, Positions, ShardStats, SoftmaxGrads, SoftmaxWeights, TableShard, Targets,
    combine_shards, softmax_gradient, softmax_loss, softmax_scan,
};
use muster_kernels::cuda::{Buffer, Device, Error as DeviceError};
use muster_kernels::gemm::Beta;
use muster_proto::job::Precision;

use super::sums;
use super::tables::{DenseGradient, DeviceTable};
use crate::embedding::Table;
use crate::loss::{Error, Global, parse_stats, send_gradients};

/// All positions of the global batch on this rank's device.
pub(super) struct OnDevice<'a> {
    pub(super) device: &'a Device,
    /// `[positions, dim]`.
    pub(super) hidden: &'a Buffer<f32>,
    /// Their targets and whose they are.
    pub(super) global: &'a Global,
    /// The factor of each position's loss.
    pub(super) weight: f32,
    /// Positions that are scored at once.
    pub(super) block: usize,
    /// What the products' operands are rounded to.
    pub(super) precision: Precision,
}

/// A shard that this rank scores.
struct Work {
    block: u32,
    /// The shard's rows as operands of products, where the job has them rounded.
    rounded: Option<Buffer<Bf16>>,
    targets: Targets,
    /// The shard's part of the positions' gradients, `[positions, dim]`.
    partial: Buffer<f32>,
}

impl OnDevice<'_> {
    /// Returns the loss and the gradient of this rank's positions; leaves a gradient of all rows in `here`. Collective.
    pub(super) fn full_softmax(
        &self,
        table: &Table,
        here: &mut DeviceTable,
        collective: &mut dyn Collective,
    ) -> Result<(f64, Buffer<f32>), Error> {
        let (device, n, dim) = (self.device, self.global.targets.len(), here.dim);
        here.dense = None;
        here.densify(device)?;
        let mut work = Vec::new();
        for block in table.scored_by(collective.rank() as u32) {
            let local = |target: &u32| {
                let target = u64::from(*target);
                (table.decl.block_of(target) == block).then(|| table.decl.local_row(target) as u32)
            };
            let targets: Vec<Option<u32>> = self.global.targets.iter().map(local).collect();
            let targets = Targets::upload(device, &targets)?;
            let rounded = match self.precision {
                Precision::F32 => None,
                Precision::Bf16 => Some(round(device, here.weight_of(here.span(block)))?),
            };
            work.push(Work { block, rounded, targets, partial: device.zeros(n * dim)? });
        }
        let mut weights = device.buffer(n)?;
        fill(device, &mut weights.view_mut(), self.weight)?;
        let mut loss = device.zeros(1)?;
        for first in (0..n).step_by(self.block) {
            let len = self.block.min(n - first);
            let scans = self.scan(&work, here, first, len)?;
            let combined = self.combine(&work, &scans, table.decl.row_blocks as usize, len, collective)?;
            let weights =
                SoftmaxWeights { combined: &combined, weights: weights.view().range(first..first + len) };
            softmax_loss(device, weights.combined, weights.weights, &mut loss.view_mut())?;
            self.gradients(&mut work, here, scans, weights, first)?;
        }
        if table.replicated() {
            self.share(table, here, collective)?;
        }
        let loss = device.download(loss.view())?[0];
        Ok((loss, self.scatter(work, table.decl.row_blocks as usize, dim, collective)?))
    }

    fn positions<'a>(&'a self, targets: &'a Targets, dim: usize, first: usize, len: usize) -> Positions<'a> {
        let hidden = self.hidden.view().range(first * dim..(first + len) * dim);
        Positions { hidden, targets, first, len }
    }

    fn scan(
        &self,
        work: &[Work],
        here: &DeviceTable,
        first: usize,
        len: usize,
    ) -> Result<Vec<BlockScan>, DeviceError> {
        let scan = |work: &Work| {
            let positions = self.positions(&work.targets, here.dim, first, len);
            softmax_scan(self.device, shard(here, work.block, work.rounded.as_ref()), positions)
        };
        work.iter().map(scan).collect()
    }

    /// Combines the statistics of all shards in shard order.
    fn combine(
        &self,
        work: &[Work],
        scans: &[BlockScan],
        blocks: usize,
        positions: usize,
        collective: &mut dyn Collective,
    ) -> Result<CombinedStats, Error> {
        let device = self.device;
        if collective.world_size() == 1 {
            let parts: Vec<ShardStats<'_>> = scans.iter().map(BlockScan::stats).collect();
            return Ok(combine_shards(device, &parts)?);
        }
        let mut mine = Vec::with_capacity(work.len() * (1 + 3 * positions));
        for (work, scan) in work.iter().zip(scans) {
            let stats = scan.stats();
            mine.push(f32::from_bits(work.block));
            for array in [stats.max, stats.sum, stats.target_logit] {
                mine.extend(device.download(array)?);
            }
        }
        let mut all = Vec::new();
        collective.all_gather::<f32>(&mine, &mut all)?;
        let mut buffers = Vec::with_capacity(blocks);
        for part in parse_stats(&all, blocks, positions)? {
            let upload = |array: &[f32]| device.upload(array);
            buffers.push([upload(part.max)?, upload(part.sum)?, upload(part.target_logit)?]);
        }
        let parts: Vec<ShardStats<'_>> = buffers
            .iter()
            .map(|[max, sum, target_logit]| ShardStats {
                max: max.view(),
                sum: sum.view(),
                target_logit: target_logit.view(),
            })
            .collect();
        Ok(combine_shards(device, &parts)?)
    }

    fn gradients(
        &self,
        work: &mut [Work],
        here: &mut DeviceTable,
        scans: Vec<BlockScan>,
        weights: SoftmaxWeights<'_>,
        first: usize,
    ) -> Result<(), DeviceError> {
        let (dim, len) = (here.dim, weights.weights.len());
        let beta = if first == 0 { Beta::Overwrite } else { Beta::Accumulate };
        let Some(mut gradient) = here.dense.take() else { return Ok(()) };
        for (work, scan) in work.iter_mut().zip(scans) {
            let Work { block, rounded, targets, partial } = work;
            let rows = here.span(*block);
            let DenseGradient { weight, bias } = &mut gradient;
            let has_bias = !bias.is_empty();
            let (mut d_weight, mut d_bias) = (weight.view_mut(), bias.view_mut());
            let mut d_hidden = partial.view_mut();
            let grads = SoftmaxGrads {
                d_hidden: d_hidden.range(first * dim..(first + len) * dim),
                d_rows: d_weight.range(rows.start * dim..rows.end * dim),
                d_bias: has_bias.then(|| d_bias.range(rows)),
                beta,
            };
            let positions = self.positions(targets, dim, first, len);
            let shard = shard(here, *block, rounded.as_ref());
            softmax_gradient(self.device, shard, positions, weights, scan, grads)?;
        }
        here.dense = Some(gradient);
        Ok(())
    }

    /// Sums the shards' parts along the tree and brings them to the ranks whose positions they are.
    fn scatter(
        &self,
        work: Vec<Work>,
        blocks: usize,
        dim: usize,
        collective: &mut dyn Collective,
    ) -> Result<Buffer<f32>, Error> {
        let device = self.device;
        let held: BTreeMap<usize, Buffer<f32>> =
            work.into_iter().map(|work| (work.block as usize, work.partial)).collect();
        let mut roots = sums::roots(device, blocks, held)?;
        if collective.world_size() == 1 {
            return Ok(match roots.pop() {
                Some((_, values)) => values,
                None => device.buffer(0)?,
            });
        }
        let roots = sums::download(device, &roots)?;
        Ok(device.upload(&send_gradients(&roots, blocks, self.global, dim, collective)?)?)
    }

    /// Gives every rank the gradients of all shards of a replicated table.
    fn share(
        &self,
        table: &Table,
        here: &mut DeviceTable,
        collective: &mut dyn Collective,
    ) -> Result<(), Error> {
        if collective.world_size() == 1 {
            return Ok(());
        }
        let (device, dim) = (self.device, here.dim);
        let Some(mut gradient) = here.dense.take() else { return Ok(()) };
        let mut mine = Vec::new();
        for block in table.scored_by(collective.rank() as u32) {
            let rows = here.span(block);
            mine.extend(device.download(gradient.weight.view().range(rows.start * dim..rows.end * dim))?);
            if !gradient.bias.is_empty() {
                mine.extend(device.download(gradient.bias.view().range(rows))?);
            }
        }
        let mut all = Vec::new();
        collective.all_gather::<f32>(&mine, &mut all)?;
        for (rank, values) in all.iter().enumerate() {
            let mut left = values.as_slice();
            for block in table.scored_by(rank as u32) {
                let rows = here.span(block);
                let (weight, rest) = left.split_at(rows.len() * dim);
                let place = rows.start * dim..rows.end * dim;
                device.write(&mut gradient.weight.view_mut().range(place), weight)?;
                left = rest;
                if !gradient.bias.is_empty() {
                    let (bias, rest) = left.split_at(rows.len());
                    device.write(&mut gradient.bias.view_mut().range(rows), bias)?;
                    left = rest;
                }
            }
        }
        here.dense = Some(gradient);
        Ok(())
    }
}

fn shard<'a>(here: &'a DeviceTable, block: u32, rounded: Option<&'a Buffer<Bf16>>) -> TableShard<'a> {
    let rows = here.span(block);
    let n_rows = rows.len();
    TableShard {
        bias: here.bias_of(rows.clone()),
        rows: here.weight_of(rows),
        rounded: rounded.map(Buffer::view),
        n_rows,
        dim: here.dim,
    }
}
