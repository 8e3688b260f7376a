//! Taking over the parent's parameters, bit for bit.

use std::collections::BTreeMap;

use muster_proto::job::OptimizerKind;
use muster_proto::job::tables::block_name;
use muster_proto::sharding::TableDecl;

use super::origins::{NONE, Origins};
use super::{Error, Parent};
use crate::checkpoint::{self, dense_piece, pick_dense, pick_rows, shard_piece};
use crate::embedding::Table;
use crate::model::Dense;

/// Takes over the dense parameters, with the state of an optimizer of this kind if one is given.
pub(super) fn dense(parent: &Parent, dense: &mut Dense, kind: Option<OptimizerKind>) -> Result<(), Error> {
    let piece = dense_piece();
    let bytes = parent.reader.piece(&piece)?;
    pick_dense(&bytes, dense, kind).map_err(|problem| unfit(parent, &piece, problem))
}

/// Takes over the rows of this rank's shards that the parent has, in its table called `name`. A piece is read once, and
/// only where some row of it is wanted.
pub(super) fn rows(
    parent: &Parent,
    name: &str,
    table: &mut Table,
    origins: &Origins,
    kind: Option<OptimizerKind>,
) -> Result<(), Error> {
    let there = declared(parent, name, &table.decl)?;
    // By the parent's row block: for each block here, its rows and the parent's, by their places in the blocks.
    let mut wanted: BTreeMap<u32, BTreeMap<u32, Vec<(u32, u32)>>> = BTreeMap::new();
    for (block, shard) in &table.shards {
        for local in 0..shard.rows as u64 {
            let from = origins.from[table.decl.global_row(*block, local) as usize];
            if from == NONE {
                continue;
            }
            let from = u64::from(from);
            let pairs = wanted.entry(there.block_of(from)).or_default().entry(*block).or_default();
            pairs.push((local as u32, there.local_row(from) as u32));
        }
    }
    for (from, by_block) in wanted {
        let piece = shard_piece(&there.name, from);
        let bytes = parent.reader.piece(&piece)?;
        let rows = there.rows_in_block(from) as usize;
        for (block, pairs) in by_block {
            let shard = table.shards.get_mut(&block).expect("only blocks that are here were asked for");
            pick_rows(&bytes, rows, shard, kind, &pairs).map_err(|problem| unfit(parent, &piece, problem))?;
        }
    }
    Ok(())
}

/// The parent's table, or its column block in the same place.
fn declared<'p>(parent: &'p Parent, name: &str, here: &TableDecl) -> Result<&'p TableDecl, Error> {
    let name = match &here.columns {
        Some(columns) => block_name(name, columns.first / here.dim.max(1)),
        None => name.to_owned(),
    };
    let shape = |decl: &TableDecl| {
        format!("{} columns, {}", decl.dim, if decl.bias { "biases" } else { "no biases" })
    };
    let found = parent.reader.manifest.tables.iter().find(|table| table.name == name);
    found.filter(|found| shape(found) == shape(here)).ok_or_else(|| {
        let found = found.map_or_else(|| "absent".to_owned(), shape);
        parent.unlike(format!("table {name}"), found, shape(here))
    })
}

fn unfit(parent: &Parent, piece: &str, problem: String) -> Error {
    let file = parent.reader.manifest.pieces.get(piece).map_or("", |piece| piece.file.as_str());
    checkpoint::Error::Piece { path: parent.reader.file(file), piece: piece.to_owned(), problem }.into()
}
