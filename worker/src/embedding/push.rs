//! Giving row gradients back to the owners of the rows.

use muster_collective::{Collective, CollectiveExt};
use muster_kernels::embedding::{SortBuffers, scatter_sum};

use super::exchange::{Error, Reader, Writer};
use super::table::{Table, TableSet};

/// The gradient of one table from one micro-batch.
#[derive(Debug, Clone, Default)]
pub struct RowGradient {
    /// Index of the table.
    pub table: usize,
    /// Touched rows of the table, ascending and unique.
    pub ids: Vec<u32>,
    /// `[ids, dim]`, summed over the occurrences in the micro-batch, in their order.
    pub rows: Vec<f32>,
    /// `[ids]`, or empty for a table without biases or a gradient that has none.
    pub bias: Vec<f32>,
}

/// Brings the gradients of this rank's micro-batches to the owners of the rows and leaves each shard's sum in its
/// `gradient` (sparse, or added to the dense one that the head left there). Collective.
///
/// `gradients` holds, for each table of `tables` in turn, one entry per micro-batch of this rank in order.
///
/// # Errors
/// The collective's, or a peer's message that does not fit.
pub fn push_gradients(
    set: &mut TableSet,
    tables: &[usize],
    gradients: &[RowGradient],
    collective: &mut dyn Collective,
) -> Result<(), Error> {
    let mut buffers = SortBuffers::default();
    for (table, arrived) in tables.iter().zip(exchange_gradients(set, tables, gradients, collective)?) {
        sum_into_shards(&mut set.tables[*table], &arrived, &mut buffers)?;
    }
    Ok(())
}

/// Brings the gradients of this rank's micro-batches to the owners of the rows; returns what came here, one entry a
/// table. Collective.
pub(crate) fn exchange_gradients(
    set: &TableSet,
    tables: &[usize],
    gradients: &[RowGradient],
    collective: &mut dyn Collective,
) -> Result<Vec<Arrived>, Error> {
    let (rank, world) = (collective.rank(), collective.world_size());
    let mut received = Vec::new();
    if world > 1 {
        let writers: Vec<Writer> =
            (0..world).map(|peer| pack_for(set, tables, gradients, peer as u32)).collect();
        let send: Vec<&[u8]> = writers.iter().map(Writer::bytes).collect();
        collective.all_to_all::<u8>(&send, &mut received)?;
    } else {
        received.push(pack_for(set, tables, gradients, rank as u32).bytes().to_vec());
    }
    let mut readers: Vec<Reader<'_>> = received.iter().map(|bytes| Reader::new(bytes)).collect();
    let arrived = tables.iter().map(|_| {
        let mut arrived = Arrived::default();
        for reader in &mut readers {
            arrived.ids.extend(reader.u32s()?);
            arrived.rows.extend(reader.f32s()?);
            arrived.bias.extend(reader.f32s()?);
        }
        Ok(arrived)
    });
    arrived.collect()
}

/// All contributions to one table, in the order of micro-batches.
#[derive(Debug, Default)]
pub(crate) struct Arrived {
    /// Rows of the table, in the order of micro-batches.
    pub(crate) ids: Vec<u32>,
    /// `[ids, dim]`.
    pub(crate) rows: Vec<f32>,
    /// `[ids]`, or empty.
    pub(crate) bias: Vec<f32>,
}

/// The message for `peer`: per table the rows that it holds, micro-batch after micro-batch.
fn pack_for(set: &TableSet, tables: &[usize], gradients: &[RowGradient], peer: u32) -> Writer {
    let mut writer = Writer::default();
    for index in tables {
        let table = &set.tables[*index];
        let dim = table.dim();
        let mut part = Arrived::default();
        for gradient in gradients.iter().filter(|g| g.table == *index) {
            for (place, id) in gradient.ids.iter().enumerate() {
                if table.replicated() || table.owner(*id) == peer {
                    part.ids.push(*id);
                    part.rows.extend_from_slice(&gradient.rows[place * dim..(place + 1) * dim]);
                    part.bias.extend(gradient.bias.get(place));
                }
            }
        }
        writer.u32s(&part.ids);
        writer.f32s(&part.rows);
        writer.f32s(&part.bias);
    }
    writer
}

/// Sums the contributions per row in order of arrival, which is the order of micro-batches.
fn sum_into_shards(table: &mut Table, arrived: &Arrived, buffers: &mut SortBuffers) -> Result<(), Error> {
    let dim = table.dim();
    let (decl, has_bias) = (table.decl.clone(), !arrived.bias.is_empty());
    for (block, shard) in &mut table.shards {
        let (mut ids, mut rows, mut bias) = (Vec::new(), Vec::new(), Vec::new());
        for (place, id) in arrived.ids.iter().enumerate() {
            if decl.block_of(u64::from(*id)) == *block {
                ids.push(decl.local_row(u64::from(*id)) as u32);
                rows.extend_from_slice(&arrived.rows[place * dim..(place + 1) * dim]);
                bias.extend(arrived.bias.get(place));
            }
        }
        let unique = scatter_sum(&ids, &rows, dim, buffers)?;
        shard.gradient.ids.clear();
        shard.gradient.ids.extend_from_slice(unique.ids);
        shard.gradient.rows.clear();
        shard.gradient.rows.extend_from_slice(unique.grads);
        shard.gradient.row_bias.clear();
        if has_bias {
            shard.gradient.row_bias.extend_from_slice(scatter_sum(&ids, &bias, 1, buffers)?.grads);
        }
        if shard.gradient.dense {
            shard.densify_gradient();
        }
    }
    Ok(())
}
