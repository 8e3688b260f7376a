//! Squares of whole rows, for an optimizer that goes by them, where rows are cut into column blocks.
//!
//! The canonical order: each column block's squares by the kernel, added in the order of blocks. A rank that has one block of
//! a row gets the others' sums from their owners; so each block keeps the row's whole state by itself.

use std::collections::BTreeMap;

use muster_collective::{Collective, CollectiveExt};
use muster_kernels::optimizer::{Rows, RowwiseAdagrad};
use muster_proto::job::{OptimizerKind, OptimizerSpec};
use rayon::prelude::*;

use super::exchange::{Error, Reader, Writer};
use super::set::TableSet;
use super::table::Table;
use crate::model::isa;

/// The squares of the touched rows of one shard, by its declared table and its row block.
type Squares = BTreeMap<(usize, u32), Vec<f32>>;

/// Leaves in each shard of a table that is cut the squares of the whole rows that its gradient touches, if the optimizer
/// goes by them. Gradients are final when it is called. Collective where some table is cut.
///
/// # Errors
/// The collective's, or a peer's message that does not fit.
pub fn sum_row_squares(
    set: &mut TableSet,
    spec: &OptimizerSpec,
    collective: &mut dyn Collective,
) -> Result<(), Error> {
    if spec.kind != OptimizerKind::RowWiseAdagrad || !set.has_cut() {
        return Ok(());
    }
    let mut squares = own_squares(set, spec)?;
    exchange(set, &mut squares, collective)?;
    let cut: Vec<_> = set.of_model().iter().filter(|table| table.is_cut()).map(|t| t.parts.clone()).collect();
    for parts in cut {
        for part in parts.clone() {
            for (block, shard) in &mut set.tables[part].shards {
                let mut total = vec![0.0; shard.gradient.ids.len()];
                for (place, other) in parts.clone().enumerate() {
                    let of_part = &squares[&(other, *block)];
                    match place {
                        0 => total.copy_from_slice(of_part),
                        _ => total.iter_mut().zip(of_part).for_each(|(total, square)| *total += square),
                    }
                }
                shard.gradient.whole_squares = Some(total);
            }
        }
    }
    Ok(())
}

/// The squares of all shards of cut tables that are here.
fn own_squares(set: &TableSet, spec: &OptimizerSpec) -> Result<Squares, Error> {
    let OptimizerSpec { lr, eps, weight_decay, .. } = *spec;
    let rule = RowwiseAdagrad { lr, eps, weight_decay };
    let shards: Vec<_> = cut_parts(set)
        .flat_map(|(index, table)| table.shards.iter().map(move |(block, shard)| ((index, *block), shard)))
        .collect();
    let squares = shards.into_par_iter().map(|(piece, shard)| {
        let gradient = &shard.gradient;
        let rows = Rows { ids: &gradient.ids, grads: &gradient.rows, dim: shard.dim };
        let mut squares = vec![0.0; gradient.ids.len()];
        rule.squares(rows, &shard.weight, &mut squares, isa())?;
        Ok((piece, squares))
    });
    squares.collect()
}

/// The column blocks of all tables that are cut, in order.
fn cut_parts(set: &TableSet) -> impl Iterator<Item = (usize, &Table)> {
    set.tables.iter().enumerate().filter(|(_, table)| table.decl.columns.is_some())
}

/// Brings each rank the squares of the column blocks that it lacks, of rows of which it has another block.
fn exchange(set: &TableSet, squares: &mut Squares, collective: &mut dyn Collective) -> Result<(), Error> {
    let (me, world) = (collective.rank() as u32, collective.world_size() as u32);
    if world == 1 {
        return Ok(());
    }
    let message = |peer: u32| {
        let mut writer = Writer::default();
        transfers(set, me, peer).for_each(|piece| writer.f32s(&squares[&piece]));
        writer
    };
    let writers: Vec<Writer> = (0..world).map(message).collect();
    let send: Vec<&[u8]> = writers.iter().map(Writer::bytes).collect();
    let mut received = Vec::new();
    collective.all_to_all::<u8>(&send, &mut received)?;
    for (peer, bytes) in (0..world).zip(&received) {
        let mut reader = Reader::new(bytes);
        for (part, block) in transfers(set, peer, me) {
            let theirs = reader.f32s()?;
            let mine = touched_here(set, part, block);
            if theirs.len() != mine {
                let (peer, found) = (peer as usize, theirs.len());
                let table = set.tables[part].decl.name.clone();
                return Err(Error::Unlike { table, block, peer, found, expected: mine });
            }
            squares.insert((part, block), theirs);
        }
    }
    Ok(())
}

/// The shards whose squares `from` sends to `to`, in order: those that it answers for and the other lacks, of rows of which
/// that has another column block.
fn transfers(set: &TableSet, from: u32, to: u32) -> impl Iterator<Item = (usize, u32)> {
    let lacks = move |table: &Table, block: u32| {
        from != to && table.plan.owners[block as usize] == from && !table.is_on(to, block)
    };
    let tables = set.of_model().iter().filter(|table| table.is_cut());
    tables.flat_map(move |whole| {
        let has_some =
            move |block: u32| set.tables[whole.parts.clone()].iter().any(|part| part.is_on(to, block));
        whole.parts.clone().flat_map(move |part| {
            let table = &set.tables[part];
            let blocks = 0..table.decl.row_blocks;
            blocks
                .filter(move |block| lacks(table, *block) && has_some(*block))
                .map(move |block| (part, block))
        })
    })
}

/// How many rows of a row block this step touches, by another column block of it that is here.
fn touched_here(set: &TableSet, part: usize, block: u32) -> usize {
    let whole = set.of_model().iter().find(|table| table.parts.contains(&part));
    let parts = whole.map_or(part..part + 1, |whole| whole.parts.clone());
    let shard = set.tables[parts].iter().find_map(|table| table.shards.get(&block));
    shard.map_or(0, |shard| shard.gradient.ids.len())
}
