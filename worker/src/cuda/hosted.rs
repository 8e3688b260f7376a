//! Tables that stay in the host's memory, with their hot rows on the device.
//!
//! The rows are those of the rank's [`TableSet`](crate::embedding::TableSet); what the cache has changed goes there when it
//! is evicted, and before checkpoints. Only for tables of which a step touches some rows: not those that a head scores
//! whole, and not with an optimizer that updates every row. A job that asks for one of these is refused.

use std::collections::BTreeMap;
use std::ops::{Deref, DerefMut, Range};

use muster_kernels::cuda::{Buffer, Device, Error, HostRows, HostRowsMut, RowCache};

use crate::embedding::{Shard, Table};

/// The cache of one table. Its columns are the weights and each slot of their state, then, where the table has biases,
/// these and each slot of theirs.
#[derive(Debug)]
pub(super) struct Hosted {
    cache: RowCache,
    of_weights: usize,
    of_biases: usize,
}

/// All columns of some rows.
pub(super) struct Fetched {
    /// `[rows, dim]`.
    pub(super) weight: Buffer<f32>,
    pub(super) weight_state: Vec<Buffer<f32>>,
    /// `[rows]` and its state, where the table has biases.
    pub(super) bias: Option<(Buffer<f32>, Vec<Buffer<f32>>)>,
}

/// A table's rows by their places in the rank's arrays, as [`DeviceTable`](super::tables::DeviceTable) counts them.
pub(super) struct Places<'a, T> {
    pub(super) starts: &'a BTreeMap<u32, usize>,
    pub(super) table: T,
}

impl<T: Deref<Target = Table>> Places<'_, T> {
    /// The block that a place is in, and the row in it. Blocks without rows start where the next one does.
    fn find(&self, place: u32) -> (u32, usize) {
        let place = place as usize;
        let found = self.starts.iter().rev().find(|(_, start)| **start <= place);
        let (block, start) = found.expect("a place is in one of the blocks that are here");
        (*block, place - start)
    }
}

impl<T: Deref<Target = Table>> HostRows for Places<'_, T> {
    fn read(&self, row: u32, column: usize, to: &mut [f32]) {
        let (block, local) = self.find(row);
        to.copy_from_slice(&array(&self.table.shards[&block], column)[span(local, to.len())]);
    }
}

impl<T: DerefMut<Target = Table>> HostRowsMut for Places<'_, T> {
    fn write(&mut self, row: u32, column: usize, from: &[f32]) {
        let (block, local) = self.find(row);
        let shard = self.table.shards.get_mut(&block).expect("a place is in a shard that is here");
        array_mut(shard, column)[span(local, from.len())].copy_from_slice(from);
    }
}

fn span(local: usize, width: usize) -> Range<usize> {
    local * width..(local + 1) * width
}

fn array(shard: &Shard, column: usize) -> &[f32] {
    let Shard { weight, bias, state, .. } = shard;
    match column.checked_sub(1 + state.weight.len()) {
        None if column == 0 => weight,
        None => &state.weight[column - 1],
        Some(0) => bias,
        Some(column) => &state.bias[column - 1],
    }
}

fn array_mut(shard: &mut Shard, column: usize) -> &mut [f32] {
    let Shard { weight, bias, state, .. } = shard;
    match column.checked_sub(1 + state.weight.len()) {
        None if column == 0 => weight,
        None => &mut state.weight[column - 1],
        Some(0) => bias,
        Some(column) => &mut state.bias[column - 1],
    }
}

impl Hosted {
    /// Makes an empty cache of at most `bytes`.
    pub(super) fn new(device: &Device, table: &Table, bytes: usize) -> Result<Self, Error> {
        let rows = table.shards.values().map(|shard| shard.rows).sum();
        let Some(shard) = table.shards.values().find(|shard| shard.rows > 0) else {
            return Ok(Self { cache: RowCache::new(device, &[], 0, 0)?, of_weights: 0, of_biases: 0 });
        };
        let of_weights = 1 + shard.state.weight.len();
        let of_biases = if shard.bias.is_empty() { 0 } else { 1 + shard.state.bias.len() };
        let width = |column| array(shard, column).len() / shard.rows;
        let widths: Vec<usize> = (0..of_weights + of_biases).map(width).collect();
        let cache = RowCache::new(device, &widths, rows, bytes)?;
        let (name, cached, used) = (&table.decl.name, cache.capacity(), cache.bytes());
        tracing::info!(table = %name, rows, cached, bytes = used, "a table stays in the host's memory");
        Ok(Self { cache, of_weights, of_biases })
    }

    /// Rows and biases, zeros where the table has none.
    pub(super) fn rows(
        &mut self,
        device: &Device,
        places: &[u32],
        host: &dyn HostRows,
    ) -> Result<(Buffer<f32>, Buffer<f32>), Error> {
        let columns = if self.of_biases > 0 { &[0, self.of_weights][..] } else { &[0] };
        if places.is_empty() {
            return Ok((device.buffer(0)?, device.buffer(0)?));
        }
        let mut found = self.cache.fetch(device, places, columns, host)?.into_iter();
        let weight = found.next().expect("a column was asked for");
        Ok((weight, found.next().map_or_else(|| device.zeros(places.len()), Ok)?))
    }

    /// All columns of some rows.
    pub(super) fn fetch(
        &mut self,
        device: &Device,
        places: &[u32],
        host: &dyn HostRows,
    ) -> Result<Fetched, Error> {
        let columns: Vec<usize> = (0..self.of_weights + self.of_biases).collect();
        let mut found = self.cache.fetch(device, places, &columns, host)?.into_iter();
        let weight = found.next().expect("a table has weights");
        let weight_state = found.by_ref().take(self.of_weights - 1).collect();
        let bias = found.next().map(|bias| (bias, found.collect()));
        Ok(Fetched { weight, weight_state, bias })
    }

    /// Takes rows back that were fetched.
    pub(super) fn store(
        &mut self,
        device: &Device,
        places: &[u32],
        rows: Fetched,
        host: &mut dyn HostRowsMut,
    ) -> Result<(), Error> {
        let mut columns = vec![rows.weight];
        columns.extend(rows.weight_state);
        if let Some((bias, state)) = rows.bias {
            columns.push(bias);
            columns.extend(state);
        }
        self.cache.store(device, places, &columns, host)
    }

    /// Brings the host's rows up to date.
    pub(super) fn flush(&self, device: &Device, host: &mut dyn HostRowsMut) -> Result<(), Error> {
        let asked = self.cache.usage();
        let capacity = self.cache.capacity();
        tracing::debug!(capacity, hits = asked.hits, misses = asked.misses, "hot rows of a table");
        self.cache.flush(device, host)
    }
}
