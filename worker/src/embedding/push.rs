//! Giving row gradients back to the owners of the rows.

use muster_collective::{Collective, CollectiveExt};
use muster_kernels::embedding::{SortBuffers, scatter_sum};

use super::exchange::{Error, Reader, Writer};
use super::set::TableSet;
use super::table::Table;

/// The gradient of one table from one micro-batch.
#[derive(Debug, Clone, Default)]
pub struct RowGradient {
    /// Index of the table among those of the model.
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
/// `gradients` holds, for each of `tables` (of the model) in turn, one entry per micro-batch of this rank in order.
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
    let arrived = exchange_gradients(set, tables, gradients, collective)?;
    let parts: Vec<usize> = parts_of(set, tables).map(|(_, part)| part).collect();
    for (part, arrived) in parts.into_iter().zip(&arrived) {
        sum_into_shards(&mut set.tables[part], arrived, &mut buffers)?;
    }
    Ok(())
}

/// Each of these tables of the model with the declared ones that it consists of, one after the other.
fn parts_of<'a>(set: &'a TableSet, tables: &'a [usize]) -> impl Iterator<Item = (usize, usize)> + 'a {
    tables.iter().flat_map(|table| set.of_model()[*table].parts.clone().map(|part| (*table, part)))
}

/// Brings the gradients of this rank's micro-batches to the owners of the rows; returns what came here, one entry a
/// declared table. Collective.
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
    let arrived = parts_of(set, tables).map(|_| {
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

/// All contributions to one declared table, in the order of micro-batches.
#[derive(Debug, Default)]
pub(crate) struct Arrived {
    /// Rows of the table, in the order of micro-batches.
    pub(crate) ids: Vec<u32>,
    /// `[ids, dim]`.
    pub(crate) rows: Vec<f32>,
    /// `[ids]`, or empty.
    pub(crate) bias: Vec<f32>,
}

/// The message for `peer`: per declared table the rows that it holds, micro-batch after micro-batch; of a column block, its
/// columns, and the biases with the first.
fn pack_for(set: &TableSet, tables: &[usize], gradients: &[RowGradient], peer: u32) -> Writer {
    let mut writer = Writer::default();
    for (of_model, index) in parts_of(set, tables) {
        let table = &set.tables[index];
        let (whole, first) = (table.decl.whole_dim() as usize, table.decl.first_column() as usize);
        let mut part = Arrived::default();
        for gradient in gradients.iter().filter(|g| g.table == of_model) {
            for (place, id) in gradient.ids.iter().enumerate() {
                if table.replicated() || table.owner(*id) == peer {
                    let begin = place * whole + first;
                    part.ids.push(*id);
                    part.rows.extend_from_slice(&gradient.rows[begin..begin + table.dim()]);
                    part.bias.extend(gradient.bias.get(place).filter(|_| first == 0));
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
