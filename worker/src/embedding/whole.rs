//! A table that is cut into column blocks, put together row block by row block to be scored.
//!
//! A ranking needs whole rows. They are brought together on all ranks, evenly and without optimizer state, for as long as
//! an evaluation takes: a rank holds its share of the table besides its own shards.

use std::borrow::Cow;
use std::collections::BTreeMap;

use muster_collective::{Collective, CollectiveExt};
use muster_proto::sharding::{Placement, TableDecl, TablePlan, even_owner};

use super::exchange::{Error, Reader, Writer};
use super::set::TableSet;
use super::shard::Shard;
use super::table::Table;

/// The whole rows of a table of the model that is cut, row-wise over all ranks; none of one that is whole anyhow.
/// Collective where it is cut.
///
/// # Errors
/// The collective's, or a peer's message that does not fit.
pub fn gather_whole(
    set: &TableSet,
    table: usize,
    collective: &mut dyn Collective,
) -> Result<Option<Table>, Error> {
    let parts = set.parts(table);
    if parts.len() == 1 {
        return Ok(None);
    }
    let world = collective.world_size() as u32;
    let first = &parts[0].decl;
    let whole = &set.of_model()[table];
    let (name, dim) = (whole.name.clone(), whole.dim as u32);
    let decl = TableDecl { name, dim, columns: None, placement: None, ..first.clone() };
    let blocks = decl.row_blocks;
    let owners: Vec<u32> = (0..blocks).map(|block| even_owner(block, blocks, world)).collect();
    let mut gathered =
        Table { decl, plan: TablePlan { placement: Placement::RowWise, owners }, shards: BTreeMap::new() };
    // One row block a rank at a time, so that no message is larger than one.
    let of_rank: Vec<Vec<u32>> = (0..world).map(|rank| gathered.scored_by(rank)).collect();
    let rounds = of_rank.iter().map(Vec::len).max().unwrap_or(0);
    for round in 0..rounds {
        let wanted: Vec<Option<u32>> = of_rank.iter().map(|blocks| blocks.get(round).copied()).collect();
        if let Some((block, shard)) = gather_block(&gathered.decl, parts, &wanted, collective)? {
            gathered.shards.insert(block, shard);
        }
    }
    Ok(Some(gathered))
}

/// Brings each rank the row block that it wants; the one of this rank is returned.
fn gather_block(
    decl: &TableDecl,
    parts: &[Table],
    wanted: &[Option<u32>],
    collective: &mut dyn Collective,
) -> Result<Option<(u32, Shard)>, Error> {
    let me = collective.rank() as u32;
    let mut received = Vec::new();
    if wanted.len() > 1 {
        let message = |(to, block): (u32, &Option<u32>)| {
            let mut writer = Writer::default();
            for (part, block) in parts.iter().flat_map(|part| block.map(|block| (part, block))) {
                // Of a part that the other has itself, nothing is sent.
                if part.plan.owners[block as usize] == me && !part.is_on(to, block) {
                    writer.f32s(&part.shards[&block].weight);
                    writer.f32s(&part.shards[&block].bias);
                }
            }
            writer
        };
        let writers: Vec<Writer> = (0..).zip(wanted).map(message).collect();
        let send: Vec<&[u8]> = writers.iter().map(Writer::bytes).collect();
        collective.all_to_all::<u8>(&send, &mut received)?;
    }
    let Some(block) = wanted[me as usize] else { return Ok(None) };
    join(decl, parts, block, &received).map(|shard| Some((block, shard)))
}

/// The whole rows of a row block, from the parts that are here and those that each rank sent.
fn join(decl: &TableDecl, parts: &[Table], block: u32, received: &[Vec<u8>]) -> Result<Shard, Error> {
    let mut readers: Vec<Reader<'_>> = received.iter().map(|bytes| Reader::new(bytes)).collect();
    let (rows, dim) = (decl.rows_in_block(block) as usize, decl.dim as usize);
    let (mut weight, mut bias) = (vec![0.0; rows * dim], Vec::new());
    for part in parts {
        let peer = part.plan.owners[block as usize] as usize;
        let (columns, part_bias) = match part.shards.get(&block) {
            Some(shard) => (Cow::Borrowed(&shard.weight), Cow::Borrowed(&shard.bias)),
            None => (Cow::Owned(readers[peer].f32s()?), Cow::Owned(readers[peer].f32s()?)),
        };
        let (first, width) = (part.decl.first_column() as usize, part.dim());
        if columns.len() != rows * width {
            return Err(Error::Short { peer });
        }
        for (row, columns) in weight.chunks_exact_mut(dim).zip(columns.chunks_exact(width)) {
            row[first..first + width].copy_from_slice(columns);
        }
        if part.decl.bias {
            bias = part_bias.into_owned();
        }
    }
    let (state, gradient, dirty) = Default::default();
    Ok(Shard { rows, dim, whole_dim: dim, weight, bias, state, gradient, dirty })
}
