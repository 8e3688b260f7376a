//! The shards of a table in device memory, back to back in one buffer.

use std::collections::BTreeMap;
use std::ops::Range;

use muster_kernels::cuda::embedding::Segments;
use muster_kernels::cuda::{Buffer, Device, Error, View};
use muster_proto::sharding::TableDecl;
use muster_proto::units::ByteSize;

use super::hosted::{Hosted, Places};
use crate::embedding::Table;

/// One table's shards on this rank. Row `starts[b] + i` of each array is local row i of block b.
#[derive(Debug)]
pub(super) struct DeviceTable {
    pub(super) dim: usize,
    pub(super) rows: usize,
    starts: BTreeMap<u32, usize>,
    /// `[rows, dim]`.
    pub(super) weight: Buffer<f32>,
    /// `[rows]`, or empty.
    pub(super) bias: Buffer<f32>,
    /// The optimizer's state of the weights, slot by slot: `[rows, dim]` or `[rows]`.
    pub(super) weight_state: Vec<Buffer<f32>>,
    /// The optimizer's state of the biases, slot by slot: `[rows]`.
    pub(super) bias_state: Vec<Buffer<f32>>,
    /// The gradient of all rows, while a step has one.
    pub(super) dense: Option<DenseGradient>,
    /// Every row once.
    pub(super) every_row: Segments,
    /// Where the table stays in the host's memory: its hot rows. The arrays above are empty then.
    pub(super) hosted: Option<Hosted>,
}

/// A gradient of all rows.
#[derive(Debug)]
pub(super) struct DenseGradient {
    /// `[rows, dim]`.
    pub(super) weight: Buffer<f32>,
    /// `[rows]`, or empty.
    pub(super) bias: Buffer<f32>,
}

impl DeviceTable {
    pub(super) fn upload(device: &Device, table: &Table, cache: Option<ByteSize>) -> Result<Self, Error> {
        let mut starts = BTreeMap::new();
        let mut rows = 0;
        for (block, shard) in &table.shards {
            starts.insert(*block, rows);
            rows += shard.rows;
        }
        if let Some(bytes) = cache {
            return Self::hosted(device, table, starts, rows, bytes);
        }
        let shards = || table.shards.values();
        let slots = shards().next().map_or(0, |shard| shard.state.weight.len());
        let bias_slots = shards().next().map_or(0, |shard| shard.state.bias.len());
        let all = |values: Vec<&[f32]>| device.upload(&values.concat());
        Ok(Self {
            dim: table.dim(),
            rows,
            weight: all(shards().map(|s| &s.weight[..]).collect())?,
            bias: all(shards().map(|s| &s.bias[..]).collect())?,
            weight_state: (0..slots)
                .map(|slot| all(shards().map(|s| &s.state.weight[slot][..]).collect()))
                .collect::<Result<_, _>>()?,
            bias_state: (0..bias_slots)
                .map(|slot| all(shards().map(|s| &s.state.bias[slot][..]).collect()))
                .collect::<Result<_, _>>()?,
            dense: None,
            every_row: Segments::of_all_rows(device, rows)?,
            hosted: None,
            starts,
        })
    }

    fn hosted(
        device: &Device,
        table: &Table,
        starts: BTreeMap<u32, usize>,
        rows: usize,
        bytes: ByteSize,
    ) -> Result<Self, Error> {
        let bytes = usize::try_from(bytes.bytes()).unwrap_or(usize::MAX);
        Ok(Self {
            dim: table.dim(),
            rows,
            weight: device.buffer(0)?,
            bias: device.buffer(0)?,
            weight_state: Vec::new(),
            bias_state: Vec::new(),
            dense: None,
            every_row: Segments::of_all_rows(device, 0)?,
            hosted: Some(Hosted::new(device, table, bytes)?),
            starts,
        })
    }

    /// The rows of `table` in the host's memory, by their places here, beside the cache of a table that stays there.
    pub(super) fn hosted_rows<T>(&mut self, table: T) -> Option<(&mut Hosted, Places<'_, T>)> {
        let Self { hosted, starts, .. } = self;
        Some((hosted.as_mut()?, Places { starts, table }))
    }

    pub(super) fn download(&self, device: &Device, table: &mut Table) -> Result<(), Error> {
        if let Some(hosted) = &self.hosted {
            return hosted.flush(device, &mut Places { starts: &self.starts, table });
        }
        let spread = |from: &Buffer<f32>, to: Vec<&mut Vec<f32>>| -> Result<(), Error> {
            let values = device.download(from.view())?;
            let mut left = &values[..];
            for to in to {
                let (mine, rest) = left.split_at(to.len());
                to.copy_from_slice(mine);
                left = rest;
            }
            Ok(())
        };
        spread(&self.weight, table.shards.values_mut().map(|s| &mut s.weight).collect())?;
        spread(&self.bias, table.shards.values_mut().map(|s| &mut s.bias).collect())?;
        for (slot, from) in self.weight_state.iter().enumerate() {
            spread(from, table.shards.values_mut().map(|s| &mut s.state.weight[slot]).collect())?;
        }
        for (slot, from) in self.bias_state.iter().enumerate() {
            spread(from, table.shards.values_mut().map(|s| &mut s.state.bias[slot]).collect())?;
        }
        Ok(())
    }

    /// The rows of a block that is here.
    pub(super) fn span(&self, block: u32) -> Range<usize> {
        let start = self.starts[&block];
        let next = self.starts.range(block + 1..).next().map_or(self.rows, |(_, start)| *start);
        start..next
    }

    /// Notes that rows at some places within the `span` of one block are written, in the block's shard on the host.
    pub(super) fn note_touched(&self, span: &Range<usize>, places: &[u32], host: &mut Table) {
        let local: Vec<u32> = places.iter().map(|place| place - span.start as u32).collect();
        let of_span = |(block, shard): (&u32, _)| (self.span(*block) == *span).then_some(shard);
        if let Some(shard) = host.shards.iter_mut().find_map(of_span).filter(|_| !local.is_empty()) {
            shard.dirty.touch(&local);
        }
    }

    /// The blocks that are here, in order.
    pub(super) fn blocks(&self) -> impl Iterator<Item = u32> {
        self.starts.keys().copied()
    }

    /// Where a row of the table is in the arrays, if it is here.
    pub(super) fn place(&self, decl: &TableDecl, row: u32) -> Option<u32> {
        let start = self.starts.get(&decl.block_of(u64::from(row)))?;
        Some((start + decl.local_row(u64::from(row)) as usize) as u32)
    }

    /// Where some rows of the table are in the arrays, all of which are here.
    pub(super) fn places(&self, decl: &TableDecl, rows: &[u32]) -> Vec<u32> {
        let place =
            |row: &u32| self.place(decl, *row).unwrap_or_else(|| panic!("row {row} is not on this rank"));
        rows.iter().map(place).collect()
    }

    /// The weights of some rows.
    pub(super) fn weight_of(&self, rows: Range<usize>) -> View<'_, f32> {
        self.weight.view().range(rows.start * self.dim..rows.end * self.dim)
    }

    /// The biases of some rows, where the table has biases.
    pub(super) fn bias_of(&self, rows: Range<usize>) -> Option<View<'_, f32>> {
        (!self.bias.is_empty()).then(|| self.bias.view().range(rows))
    }

    /// The gradient of all rows, zeros if the step has none yet.
    pub(super) fn densify(&mut self, device: &Device) -> Result<&mut DenseGradient, Error> {
        let gradient = match self.dense.take() {
            Some(gradient) => gradient,
            None => DenseGradient {
                weight: device.zeros(self.rows * self.dim)?,
                bias: device.zeros(self.bias.len())?,
            },
        };
        Ok(self.dense.insert(gradient))
    }
}
