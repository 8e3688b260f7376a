//! The trainer's logical pieces, in and out: what a copy of it is made of.

use std::collections::BTreeMap;

use muster_proto::checkpoint::{Counted, Validation};

use super::Error;
use super::step::Trainer;
use crate::checkpoint::{
    self, decode_dense, decode_shard, dense_piece, encode_dense, encode_shard, shard_piece,
};

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

    /// Fills one piece of this rank from its bytes.
    ///
    /// # Errors
    /// A piece that this rank has not, or bytes that are not of it.
    pub fn fill(&mut self, piece: &str, bytes: &[u8]) -> Result<(), Error> {
        let (tables, dense) = self.kinds();
        let unfit = |problem| {
            Error::from(checkpoint::Error::Mismatch {
                what: format!("piece {piece}"),
                found: problem,
                expected: "as the job declares it".to_owned(),
            })
        };
        if piece == dense_piece() {
            return decode_dense(bytes, &mut self.dense, dense).map_err(unfit);
        }
        for table in &mut self.set.tables {
            let name = &table.decl.name;
            if let Some((_, shard)) =
                table.shards.iter_mut().find(|(block, _)| shard_piece(name, **block) == piece)
            {
                return decode_shard(bytes, shard, tables).map_err(unfit);
            }
        }
        Err(unfit("not on this rank".to_owned()))
    }

    /// Goes on after `step`: what all ranks trained until then, and the state of validation.
    pub fn go_on_from(&mut self, step: u64, counted: Vec<Counted>, validation: Validation) {
        self.step = step;
        self.counted.clear();
        self.resumed_ledger = counted;
        self.resumed_validation = validation;
    }
}
