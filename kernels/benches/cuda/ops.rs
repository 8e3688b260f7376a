//! Lookups, updates, optimizers and the softmax.

use muster_kernels::cuda::embedding::{
    Bags, Combine, Ids, RowGradients, RowRule, Segments, Table as Rows, bag_forward, gather, update_rows,
};
use muster_kernels::cuda::norm::sum_of_squares;
use muster_kernels::cuda::softmax::{
    Positions, SoftmaxGrads, SoftmaxWeights, TableShard, Targets, block_of, combine_shards, softmax_gradient,
    softmax_scan,
};
use muster_kernels::cuda::{DenseRule, Device, Error, update_dense};
use muster_kernels::embedding::Bags as HostBags;
use muster_kernels::gemm::Beta;
use muster_kernels::optimizer::{Adam, RowwiseAdagrad};

use crate::table::{Table, Work};
use crate::{Sizes, ids, seconds, values};

const F32: f64 = 4.0;

/// Measures what is bound by memory.
pub(crate) fn measure(device: &Device, sizes: Sizes, table: &mut Table) -> Result<(), Error> {
    for &dim in sizes.dims {
        lookups(device, sizes, dim, table)?;
        update(device, sizes, dim, table)?;
    }
    adam(device, sizes, table)
}

fn lookups(device: &Device, sizes: Sizes, dim: usize, table: &mut Table) -> Result<(), Error> {
    let n = sizes.sequences * sizes.steps;
    let rows = device.zeros(sizes.rows * dim)?;
    let host = ids(n, sizes.rows);
    let places = Ids::upload(device, &host)?;
    let mut out = device.buffer(n * dim)?;
    let from = Rows { rows: rows.view(), dim };
    let time = seconds(device, sizes.rounds, || {
        gather(device, from, &places, &mut out.view_mut(), dim, Combine::Replace)
    })?;
    let values = (n * dim) as f64;
    let work = Work { bytes: F32 * (2.0 * values + n as f64), ..Work::default() };
    table.push("gather", format!("{n} ids, dim {dim}"), work, time);
    let offsets: Vec<usize> = (0..=sizes.sequences).map(|bag| bag * sizes.steps).collect();
    let bags = Bags::upload(device, HostBags { ids: &host, offsets: &offsets })?;
    let mut pooled = device.buffer(sizes.sequences * dim)?;
    let time = seconds(device, sizes.rounds, || bag_forward(device, from, &bags, &mut pooled.view_mut()))?;
    let bytes = F32 * (values + (sizes.sequences * dim + n) as f64);
    let shape = format!("{} bags of {}, dim {dim}", sizes.sequences, sizes.steps);
    table.push("bag_forward", shape, Work { bytes, ..Work::default() }, time);
    Ok(())
}

fn update(device: &Device, sizes: Sizes, dim: usize, table: &mut Table) -> Result<(), Error> {
    let n = sizes.sequences * sizes.steps;
    let host = ids(n, sizes.rows);
    let mut distinct = host.clone();
    distinct.sort_unstable();
    distinct.dedup();
    let places = Ids::upload(device, &host)?;
    let grads = device.upload(&values(n * dim))?;
    let (mut params, mut sum) = (device.zeros(sizes.rows * dim)?, device.zeros(sizes.rows)?);
    let time = seconds(device, sizes.rounds, || {
        let segments = Segments::of_ids(device, &places)?;
        let gradients =
            RowGradients { segments: &segments, grads: grads.view(), dim, stride: dim, factor: None };
        let rule = RowwiseAdagrad { lr: 0.01, eps: 1e-8, weight_decay: 0.0 };
        let rule = RowRule::RowwiseAdagrad(rule, sum.view_mut());
        update_rows(device, gradients, &mut params.view_mut(), rule)
    })?;
    let touched = (distinct.len() * (2 * dim + 2)) as f64;
    let work = Work { bytes: F32 * ((n * dim + n) as f64 + touched), ..Work::default() };
    table.push(
        "sort + row-wise Adagrad",
        format!("{n} gradients, {} rows, dim {dim}", distinct.len()),
        work,
        time,
    );
    Ok(())
}

fn adam(device: &Device, sizes: Sizes, table: &mut Table) -> Result<(), Error> {
    let n = sizes.rows * 4;
    let grads = device.zeros(n)?;
    let (mut params, mut m, mut v) = (device.zeros(n)?, device.zeros(n)?, device.zeros(n)?);
    let adam = Adam { lr: 0.001, beta1: 0.9, beta2: 0.999, eps: 1e-8, weight_decay: 0.0 };
    let time = seconds(device, sizes.rounds, || {
        let rule = DenseRule::Adam(adam, 1, [m.view_mut(), v.view_mut()]);
        update_dense(device, &mut params.view_mut(), grads.view(), None, rule)
    })?;
    let work = Work { bytes: F32 * 7.0 * n as f64, ..Work::default() };
    table.push("Adam", format!("{n} parameters"), work, time);
    let mut total = device.zeros(1)?;
    let time = seconds(device, sizes.rounds, || sum_of_squares(device, grads.view(), &mut total.view_mut()))?;
    table.push("norm", format!("{n} values"), Work { bytes: F32 * n as f64, ..Work::default() }, time);
    Ok(())
}

/// Measures the full softmax, forward and backward, against its three products.
pub(crate) fn softmax(device: &Device, sizes: Sizes, table: &mut Table) -> Result<(), Error> {
    for &dim in sizes.dims {
        let n = sizes.sequences;
        let (rows, hidden) = (device.upload(&values(sizes.items * dim))?, device.upload(&values(n * dim))?);
        let targets: Vec<Option<u32>> = ids(n, sizes.items).into_iter().map(Some).collect();
        let targets = Targets::upload(device, &targets)?;
        let weights = device.upload(&vec![1.0 / n as f32; n])?;
        let (mut d_hidden, mut d_rows) = (device.buffer(n * dim)?, device.buffer(sizes.items * dim)?);
        let shard = TableShard { rows: rows.view(), bias: None, rounded: None, n_rows: sizes.items, dim };
        let block = block_of(sizes.items, 256 << 20);
        let time = seconds(device, sizes.rounds, || {
            for first in (0..n).step_by(block) {
                let len = block.min(n - first);
                let span = first * dim..(first + len) * dim;
                let positions =
                    Positions { hidden: hidden.view().range(span.clone()), targets: &targets, first, len };
                let scan = softmax_scan(device, shard, positions)?;
                let combined = combine_shards(device, &[scan.stats()])?;
                let weights = weights.view().range(first..first + len);
                let weights = SoftmaxWeights { combined: &combined, weights };
                let beta = if first == 0 { Beta::Overwrite } else { Beta::Accumulate };
                let mut all = d_hidden.view_mut();
                let grads =
                    SoftmaxGrads { d_hidden: all.range(span), d_rows: d_rows.view_mut(), d_bias: None, beta };
                softmax_gradient(device, shard, positions, weights, scan, grads)?;
            }
            Ok(())
        })?;
        let flops = 3.0 * 2.0 * (n * sizes.items * dim) as f64;
        let shape = format!("{n} positions, {} items, dim {dim}", sizes.items);
        table.push("softmax, forward and backward", shape, Work { flops, ..Work::default() }, time);
    }
    Ok(())
}
