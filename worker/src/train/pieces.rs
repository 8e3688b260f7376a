//! The trainer's logical pieces, in and out: what a copy of it is made of.

use std::borrow::Cow;
use std::collections::BTreeMap;

use muster_proto::checkpoint::{Counted, Validation};

use rayon::prelude::*;

use super::Error;
use super::step::Trainer;
use crate::checkpoint::{
    self, Encoded, dense_piece, encode_dense, encode_rows, encode_shard, fill_pieces, shard_piece,
};
use crate::embedding::{Mark, Shard};

impl Trainer {
    /// The pieces that `rank` answers for, as they would be in a checkpoint's files, and the dense parameters, which
    /// every rank has; with `since`, of shards of which few rows were written since that mark, these alone. The host's
    /// parameters are up to date.
    #[must_use]
    pub fn pieces(&self, rank: u32, since: Option<Mark>) -> BTreeMap<String, Encoded> {
        let (tables, dense) = self.kinds();
        let shards: Vec<(String, &Shard)> = self.shards_of(rank).collect();
        let encode = |(name, shard): (String, &Shard)| {
            let few = since.and_then(|mark| shard.dirty.few(mark, shard.rows));
            let encoded = match few {
                Some(rows) => Encoded::Rows(encode_rows(shard, &rows, tables)),
                None => Encoded::Whole(encode_shard(shard, tables)),
            };
            (name, encoded)
        };
        let mut pieces: BTreeMap<_, _> = self
            .pool
            .install(|| shards.into_par_iter().map(encode).collect::<Vec<_>>())
            .into_iter()
            .collect();
        pieces.insert(dense_piece(), Encoded::Whole(encode_dense(&self.dense, dense)));
        pieces
    }

    /// The shards that `rank` answers for, under the names of their pieces.
    fn shards_of(&self, rank: u32) -> impl Iterator<Item = (String, &Shard)> {
        self.set.tables.iter().flat_map(move |table| {
            let shard = |block| (shard_piece(&table.decl.name, block), &table.shards[&block]);
            table.scored_by(rank).into_iter().map(shard)
        })
    }

    /// Begins to count anew which rows are written.
    pub fn mark(&mut self, mark: Mark) {
        for shard in self.set.tables.iter_mut().flat_map(|table| table.shards.values_mut()) {
            shard.dirty.mark(mark, shard.rows);
        }
    }

    /// Bytes of the rows, with optimizer state, that were written since a mark in the shards that `rank` answers for, and
    /// of all their rows.
    #[must_use]
    pub fn written_bytes(&self, rank: u32, since: Mark) -> [u64; 2] {
        let mut bytes = [0, 0];
        for (_, shard) in self.shards_of(rank) {
            let Shard { weight, bias, state, .. } = shard;
            let arrays = [weight, bias].into_iter().chain(&state.weight).chain(&state.bias);
            let all = arrays.map(|array| size_of_val(&array[..]) as u64).sum::<u64>();
            bytes[0] += all / (shard.rows as u64).max(1) * shard.dirty.count(since, shard.rows) as u64;
            bytes[1] += all;
        }
        bytes
    }

    /// Fills this rank's pieces; `bytes_of` gives each one's bytes.
    ///
    /// # Errors
    /// Those of `bytes_of`, and bytes that are not of their piece.
    pub(crate) fn fill<'b>(
        &mut self,
        bytes_of: impl FnMut(&str) -> Result<Cow<'b, [u8]>, Error>,
    ) -> Result<(), Error> {
        let kinds = self.kinds();
        fill_pieces(&mut self.set, &mut self.dense, kinds, bytes_of, |piece, problem| {
            Error::from(checkpoint::Error::Mismatch {
                what: format!("piece {piece}"),
                found: problem,
                expected: "as the job declares it".to_owned(),
            })
        })
    }

    /// Goes on after `step`: what all ranks trained until then, and the state of validation.
    pub fn go_on_from(&mut self, step: u64, counted: Vec<Counted>, validation: Validation) {
        self.step = step;
        self.counted.clear();
        self.resumed_ledger = counted;
        self.resumed_validation = validation;
    }
}
