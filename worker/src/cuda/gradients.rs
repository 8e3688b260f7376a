//! Gradients of looked-up rows: summed per micro-batch where they arise, then per row at the owner.

use std::collections::BTreeMap;
use std::ops::Range;

use muster_collective::Collective;
use muster_kernels::cuda::embedding::{Ids, RowGradients, Segments, add_rows, scatter_sum};
use muster_kernels::cuda::{Buffer, Device, Error, View};

use super::ahead::slots_of;
use super::heads::Scored;
use super::tables::DeviceTable;
use crate::embedding::{Arrived, RowGradient, Table, TableSet, distinct, exchange_gradients};
use crate::train;

/// What one micro-batch gives one table: each row once, ascending.
#[derive(Debug)]
pub(super) struct BatchGradient {
    pub(super) table: usize,
    ids: Vec<u32>,
    /// `[ids, dim]`, and more that does not count.
    rows: Buffer<f32>,
    /// `[ids]`, or empty.
    bias: Buffer<f32>,
}

/// The gradients of occurrences of rows, `dim` values each, `stride` apart.
#[derive(Clone, Copy)]
pub(super) struct Occurrences<'a> {
    pub(super) values: View<'a, f32>,
    pub(super) dim: usize,
    pub(super) stride: usize,
}

impl Occurrences<'_> {
    /// Sums per segment, with room for `most` of them.
    fn sums(self, device: &Device, segments: &Segments, most: usize) -> Result<Buffer<f32>, Error> {
        let Self { values: grads, dim, stride } = self;
        let mut rows = device.buffer(most * dim)?;
        let gradients = RowGradients { segments, grads, dim, stride, factor: None };
        scatter_sum(device, gradients, &mut rows.view_mut())?;
        Ok(rows)
    }
}

impl BatchGradient {
    /// Sums gradients of occurrences per row in their order; `unlike` are those of `ids` that differ, ascending.
    pub(super) fn of(
        device: &Device,
        table: usize,
        ids: &Ids,
        unlike: Vec<u32>,
        grads: Occurrences<'_>,
    ) -> Result<Self, Error> {
        let rows = grads.sums(device, &Segments::of_ids(device, ids)?, ids.len())?;
        Ok(Self { table, ids: unlike, rows, bias: device.buffer(0)? })
    }

    /// Sums what a head gave the rows that it scored.
    pub(super) fn of_head(device: &Device, table: usize, scored: &Scored, dim: usize) -> Result<Self, Error> {
        let Scored { ids, rows, bias } = scored;
        let unlike = distinct(ids.iter().copied());
        let segments = Segments::of_ids(device, &Ids::upload(device, ids)?)?;
        let sums = |values: &Buffer<f32>, dim: usize| {
            let grads = Occurrences { values: values.view(), dim, stride: dim };
            grads.sums(device, &segments, ids.len())
        };
        Ok(Self { table, ids: unlike, rows: sums(rows, dim)?, bias: sums(bias, 1)? })
    }

    /// Gives the biases of the rows a gradient of zeros, for a table whose head has biases.
    pub(super) fn with_bias(mut self, device: &Device) -> Result<Self, Error> {
        self.bias = device.zeros(self.ids.len())?;
        Ok(self)
    }

    fn download(&self, device: &Device, dim: usize) -> Result<RowGradient, Error> {
        let n = self.ids.len();
        let bias =
            if self.bias.is_empty() { Vec::new() } else { device.download(self.bias.view().range(0..n))? };
        let rows = device.download(self.rows.view().range(0..n * dim))?;
        Ok(RowGradient { table: self.table, ids: self.ids.clone(), rows, bias })
    }
}

/// The contributions to some rows of a table, in the order of micro-batches.
#[derive(Debug)]
pub(super) struct Contributions {
    /// Distinct places, ascending.
    pub(super) places: Vec<u32>,
    pub(super) segments: Segments,
    /// One row a contribution.
    pub(super) rows: Buffer<f32>,
    /// One value a contribution, or empty.
    pub(super) bias: Buffer<f32>,
}

impl Contributions {
    /// `factor`, where given, multiplies the sums.
    pub(super) fn of_rows<'a>(&'a self, dim: usize, factor: Option<View<'a, f32>>) -> RowGradients<'a> {
        RowGradients { segments: &self.segments, grads: self.rows.view(), dim, stride: dim, factor }
    }

    /// As [`Contributions::of_rows`], of the biases.
    pub(super) fn of_bias<'a>(&'a self, factor: Option<View<'a, f32>>) -> RowGradients<'a> {
        RowGradients { segments: &self.segments, grads: self.bias.view(), dim: 1, stride: 1, factor }
    }
}

/// What arrived for each table: the rows of a shard that is here, and what they get.
pub(super) type Sparse = BTreeMap<usize, Vec<(Range<usize>, Contributions)>>;

/// Brings the gradients of this rank's micro-batches to the owners of the rows: for each of `tables`, contributions
/// shard by shard, since a call that covered several shards would depend on which of them are here. Collective.
pub(super) fn bring_home(
    device: &Device,
    set: &TableSet,
    here: &[DeviceTable],
    tables: &[usize],
    gradients: &[BatchGradient],
    collective: &mut dyn Collective,
) -> Result<Sparse, train::Error> {
    let downloaded = gradients.iter().map(|g| g.download(device, set.tables[g.table].dim()));
    let downloaded = downloaded.collect::<Result<Vec<_>, Error>>()?;
    let arrived = exchange_gradients(set, tables, &downloaded, collective)?;
    let mut home = BTreeMap::new();
    for (table, arrived) in tables.iter().zip(&arrived) {
        home.insert(*table, by_shard(device, &set.tables[*table], &here[*table], arrived)?);
    }
    Ok(home)
}

fn by_shard(
    device: &Device,
    table: &Table,
    here: &DeviceTable,
    arrived: &Arrived,
) -> Result<Vec<(Range<usize>, Contributions)>, Error> {
    let dim = here.dim;
    let mut shards = Vec::new();
    for block in here.blocks() {
        let span = here.span(block);
        let (mut places, mut rows, mut bias) = (Vec::new(), Vec::new(), Vec::new());
        for (at, id) in arrived.ids.iter().enumerate() {
            let Some(place) = here.place(&table.decl, *id).filter(|p| span.contains(&(*p as usize))) else {
                continue;
            };
            places.push(place);
            rows.extend_from_slice(&arrived.rows[at * dim..(at + 1) * dim]);
            bias.extend(arrived.bias.get(at));
        }
        let unlike = distinct(places.iter().copied());
        // Rows of a table that stays in the host's memory are updated among those that were fetched.
        let indices = if here.hosted.is_some() { slots_of(&unlike, &places) } else { places };
        let segments = Segments::of_ids(device, &Ids::upload(device, &indices)?)?;
        let (rows, bias) = (device.upload(&rows)?, device.upload(&bias)?);
        shards.push((span, Contributions { places: unlike, segments, rows, bias }));
    }
    Ok(shards)
}

/// Adds contributions to the gradient of all rows.
pub(super) fn add_to_dense(
    device: &Device,
    here: &mut DeviceTable,
    shards: &[(Range<usize>, Contributions)],
) -> Result<(), Error> {
    let dim = here.dim;
    let dense = here.densify(device)?;
    for (_, contributions) in shards {
        add_rows(device, contributions.of_rows(dim, None), &mut dense.weight.view_mut())?;
        if !contributions.bias.is_empty() {
            add_rows(device, contributions.of_bias(None), &mut dense.bias.view_mut())?;
        }
    }
    Ok(())
}
