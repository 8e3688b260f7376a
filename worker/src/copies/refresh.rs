//! Making a copy: encode the own pieces, hand them to the next rank, take those of the rank before.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use muster_collective::{Collective, Error};

use super::{COST_RATIO, Copies, Cursor, Newer, PERIOD, transfer};
use crate::checkpoint::{Encoded, check_rows, dense_piece};
use crate::embedding::Mark;
use crate::train::Trainer;

impl Copies {
    /// Copies the model as it is after the trainer's last step, of which the rest, from `begun` on, is done: the host's
    /// parameters are up to date. Returns the bytes of this rank's pieces. Collective.
    ///
    /// # Errors
    /// The collective's; [`Error::Garbled`] where rows came that do not fit what is here.
    pub(crate) fn refresh(
        &mut self,
        trainer: &mut Trainer,
        cursor: Cursor,
        begun: Instant,
        collective: &mut dyn Collective,
    ) -> Result<u64, Error> {
        let (rank, world) = (collective.rank(), collective.world_size());
        self.complete();
        // All ranks made the copy of before in this generation, or none did: they agree without a word.
        let over_the_last = self.marked.is_some_and(|cut| {
            cut.0 == cursor.generation && self.whole.as_ref().is_some_and(|copy| copy.is_of(cut))
        });
        let mut pieces = trainer.pieces(rank as u32, over_the_last.then_some(Mark::Copy));
        trainer.mark(Mark::Copy);
        let bytes = pieces.values().map(|piece| piece.bytes().len() as u64).sum();
        if world > 1 {
            let dense = dense_piece();
            let mut outgoing = vec![Vec::new(); world];
            outgoing[(rank + 1) % world] =
                pieces.iter().filter(|(name, _)| **name != dense).map(transfer::sent).collect();
            let received = transfer::exchange(&outgoing, collective)?;
            for (from, of_rank) in received.into_iter().enumerate() {
                self.check(&of_rank).ok_or(Error::Garbled { from })?;
                pieces.extend(of_rank);
            }
        }
        self.marked = Some(cursor.cut());
        self.newer = Some(Newer { cursor, pieces });
        let cost = begun.elapsed();
        self.due = Some(Instant::now() + PERIOD.max(cost * COST_RATIO));
        let seconds = cost.as_secs_f64();
        tracing::debug!(step = trainer.step, bytes, held = self.bytes(), seconds, "copied the model");
        Ok(bytes)
    }

    /// Checks that all rows can be laid over the pieces that are here.
    fn check(&self, pieces: &BTreeMap<String, Encoded>) -> Option<()> {
        pieces.iter().try_for_each(|(name, piece)| match piece {
            Encoded::Whole(_) => Some(()),
            Encoded::Rows(rows) => check_rows(self.whole.as_ref()?.pieces.get(name)?, rows).ok(),
        })
    }

    /// Keeps the model as it is after the trainer's last step among the ranks that stay: each keeps its own pieces, and
    /// the `leaving` ones hand theirs to the others. The copy of before stays until the next generation has made a step.
    /// Collective.
    ///
    /// # Errors
    /// The collective's.
    pub(crate) fn hold(
        &mut self,
        trainer: &Trainer,
        cursor: Cursor,
        leaving: &BTreeSet<usize>,
        collective: &mut dyn Collective,
    ) -> Result<(), Error> {
        let (rank, world) = (collective.rank(), collective.world_size());
        let mut pieces = trainer.pieces(rank as u32, None);
        let stay: Vec<usize> = (0..world).filter(|rank| !leaving.contains(rank)).collect();
        if !leaving.is_empty() && !stay.is_empty() {
            let mut outgoing = vec![Vec::new(); world];
            if leaving.contains(&rank) {
                let heir = stay[rank % stay.len()];
                outgoing[heir] = pieces.iter().map(transfer::sent).collect();
            }
            let received = transfer::exchange(&outgoing, collective)?;
            received.into_iter().for_each(|of_rank| pieces.extend(of_rank));
        }
        self.complete();
        self.newer = Some(Newer { cursor, pieces });
        self.marked = None;
        Ok(())
    }
}
