//! Making a copy: encode the own pieces, hand them to the next rank, take those of the rank before.

use std::collections::BTreeSet;
use std::time::Instant;

use muster_collective::{Collective, Error};

use super::{COST_RATIO, Copies, Copy, Cursor, PERIOD, transfer};
use crate::checkpoint::dense_piece;
use crate::train::Trainer;

impl Copies {
    /// Copies the model as it is after the trainer's last step; the host's parameters are up to date. Collective.
    ///
    /// # Errors
    /// The collective's.
    pub(crate) fn refresh(
        &mut self,
        trainer: &Trainer,
        cursor: Cursor,
        collective: &mut dyn Collective,
    ) -> Result<(), Error> {
        let begun = Instant::now();
        let (rank, world) = (collective.rank(), collective.world_size());
        let mut pieces = trainer.pieces(rank as u32);
        if world > 1 {
            let dense = dense_piece();
            let mine = pieces.iter().filter(|(name, _)| **name != dense);
            let mut outgoing = vec![Vec::new(); world];
            outgoing[(rank + 1) % world] = mine.map(|(name, piece)| (name.as_str(), &piece[..])).collect();
            let received = transfer::exchange(&outgoing, collective)?;
            received.into_iter().for_each(|of_rank| pieces.extend(of_rank));
        }
        self.keep(Copy { cursor, pieces });
        let cost = begun.elapsed();
        self.due = Some(Instant::now() + PERIOD.max(cost * COST_RATIO));
        tracing::debug!(
            step = trainer.step,
            bytes = self.bytes(),
            seconds = cost.as_secs_f64(),
            "copied the model"
        );
        Ok(())
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
        let mut pieces = trainer.pieces(rank as u32);
        let stay: Vec<usize> = (0..world).filter(|rank| !leaving.contains(rank)).collect();
        if !leaving.is_empty() && !stay.is_empty() {
            let mut outgoing = vec![Vec::new(); world];
            if leaving.contains(&rank) {
                let heir = stay[rank % stay.len()];
                outgoing[heir] = pieces.iter().map(|(name, piece)| (name.as_str(), &piece[..])).collect();
            }
            let received = transfer::exchange(&outgoing, collective)?;
            received.into_iter().for_each(|of_rank| pieces.extend(of_rank));
        }
        self.keep(Copy { cursor, pieces });
        Ok(())
    }
}
