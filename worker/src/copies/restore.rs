//! Going on from a copy: the newest whole one is found, and each rank gets the pieces that the new plan gives it.

use std::borrow::Cow;
use std::collections::BTreeSet;

use muster_collective::{Collective, CollectiveExt};

use super::inventory::{Inventory, Whole, newest_whole};
use super::transfer::{self, Form};
use super::{Copies, Totals};
use crate::checkpoint::{Encoded, dense_piece, shard_piece};
use crate::train::{Error, Trainer};

/// What the ranks' memories held together.
#[derive(Debug, Default)]
pub struct Memory {
    /// The last step that any of them had made.
    pub reached: u64,
    /// What the run had done at the copy that was taken; none where none was.
    pub totals: Option<Totals>,
}

/// Goes on from the newest copy that is whole, if there is one that is newer than the checkpoint of step `checkpoint`;
/// whatever else is kept is dropped. Collective.
///
/// # Errors
/// The collective's, or a copy that does not fit the job.
pub fn restore(
    copies: &mut Copies,
    trainer: &mut Trainer,
    checkpoint: Option<u64>,
    collective: &mut dyn Collective,
) -> Result<Memory, Error> {
    let ranks = inventories(copies, collective)?;
    let reached = ranks.iter().map(|rank| rank.reached).max().unwrap_or(0);
    let copy = newest_whole(&ranks, &all_pieces(trainer));
    let Some(copy) = copy.filter(|copy| checkpoint.is_none_or(|step| copy.cursor.step >= step)) else {
        *copies = Copies { reached, each_step: copies.each_step, ..Copies::default() };
        return Ok(Memory { reached, totals: None });
    };
    copies.keep_only(copy.cursor.cut());
    (copies.reached, copies.due) = (reached, None);
    take(copies, trainer, &copy, collective)?;
    let Whole { cursor, .. } = copy;
    trainer.go_on_from(cursor.step, cursor.counted, cursor.validation);
    Ok(Memory { reached, totals: Some(cursor.totals) })
}

fn inventories(copies: &Copies, collective: &mut dyn Collective) -> Result<Vec<Inventory>, Error> {
    let mine = serde_json::to_vec(&Inventory::of(copies)).expect("an inventory has only string keys");
    let mut all = vec![mine.clone()];
    if collective.world_size() > 1 {
        collective.all_gather::<u8>(&mine, &mut all)?;
    }
    let parse = |(from, text): (usize, &Vec<u8>)| {
        serde_json::from_slice(text).map_err(|_| muster_collective::Error::Garbled { from }.into())
    };
    all.iter().enumerate().map(parse).collect()
}

/// The names of all pieces of the model.
fn all_pieces(trainer: &Trainer) -> BTreeSet<String> {
    let shards = trainer
        .set
        .tables
        .iter()
        .flat_map(|table| (0..table.decl.row_blocks).map(|block| shard_piece(&table.decl.name, block)));
    shards.chain([dense_piece()]).collect()
}

/// The names of the pieces that `rank` needs under the trainer's plan.
fn pieces_of(trainer: &Trainer, rank: u32) -> Vec<String> {
    let shards = trainer.set.tables.iter().flat_map(|table| {
        let here = move |block: &u32| table.replicated() || table.plan.owners[*block as usize] == rank;
        (0..table.decl.row_blocks).filter(here).map(|block| shard_piece(&table.decl.name, block))
    });
    shards.chain([dense_piece()]).collect()
}

/// Brings each rank what it lacks, from the first rank that has it, and fills the trainer.
fn take(
    copies: &Copies,
    trainer: &mut Trainer,
    copy: &Whole,
    collective: &mut dyn Collective,
) -> Result<(), Error> {
    let (me, world) = (collective.rank(), collective.world_size());
    let held = copies.whole.as_ref().map(|held| &held.pieces);
    let mut outgoing = vec![Vec::new(); world];
    for (rank, outgoing) in outgoing.iter_mut().enumerate() {
        for piece in pieces_of(trainer, rank as u32) {
            let holders = &copy.holders[&piece];
            if holders.contains(&rank) || holders[0] != me {
                continue;
            }
            let mine = held.and_then(|held| held.get_key_value(&piece));
            let (name, bytes) = mine.expect("a rank holds what its inventory lists");
            outgoing.push((name.as_str(), Form::Whole, &bytes[..]));
        }
    }
    let mut received = match world {
        1 => Vec::new(),
        _ => transfer::exchange(&outgoing, collective)?,
    };
    trainer.fill(|piece| {
        if let Some(here) = held.and_then(|held| held.get(piece)) {
            return Ok(Cow::Borrowed(&here[..]));
        }
        let from = copy.holders[piece][0];
        let there = received.get_mut(from).and_then(|pieces| pieces.remove(piece));
        let whole = there.and_then(|piece| match piece {
            Encoded::Whole(bytes) => Some(Cow::Owned(bytes)),
            Encoded::Rows(_) => None,
        });
        whole.ok_or_else(|| muster_collective::Error::Garbled { from }.into())
    })
}
