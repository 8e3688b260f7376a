//! The trainer's logical pieces, in and out: what a copy of it is made of.

use std::borrow::Cow;
use std::collections::BTreeMap;

use muster_proto::checkpoint::{Counted, Validation};

use super::Error;
use super::step::Trainer;
use crate::checkpoint::{self, dense_piece, encode_dense, encode_shard, fill_pieces, shard_piece};

impl Trainer {
    /// The pieces that `rank` answers for, as they would be in a checkpoint's files, and the dense parameters, which
    /// every rank has. The host's parameters are up to date.
    #[must_use]
    pub fn pieces(&self, rank: u32) -> BTreeMap<String, Vec<u8>> {
        let (tables, dense) = self.kinds();
        let shards = self.set.tables.iter().flat_map(|table| {
            let piece = move |block| {
                (shard_piece(&table.decl.name, block), encode_shard(&table.shards[&block], tables))
            };
            table.scored_by(rank).into_iter().map(piece)
        });
        shards.chain([(dense_piece(), encode_dense(&self.dense, dense))]).collect()
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
