//! Copies of the model in memory, from which a job goes on when a worker is lost.
//!
//! A copy is a cut: all pieces of one committed step, spread over the ranks. Each rank keeps the pieces that it answers
//! for, and those of the rank before it, so that after any single loss (and most others) every piece is still in
//! somebody's memory. Dense parameters are on every rank anyhow. A new copy does not replace the one before until every
//! rank has it, which the next step shows; so whenever a worker dies, one whole cut is left.
//!
//! A copy names its generation: pieces of different generations are never mixed, also where they are of one step.
//!
//! Memory on each worker: at most two copies (one while none is being made) of its own pieces, its neighbour's, and the
//! dense parameters, all with optimizer state: [`Copies::bytes`] says how much it is.

mod inventory;
mod refresh;
mod restore;
mod transfer;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use muster_proto::checkpoint::{Counted, Validation};
use serde::{Deserialize, Serialize};

pub use restore::{Memory, restore};

/// The least time between two copies.
const PERIOD: Duration = Duration::from_secs(1);
/// A copy may cost this part of the time at most: the period grows with what a copy was measured to cost.
const COST_RATIO: u32 = 20;

/// Where in the run a copy was made, and all that a rank needs besides its pieces to go on from there.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Cursor {
    /// The generation that made it.
    pub generation: u64,
    /// Optimizer steps that went into the pieces.
    pub step: u64,
    /// What was trained, per epoch, over all ranks.
    pub counted: Vec<Counted>,
    /// State of validation.
    pub validation: Validation,
    /// What the run has done so far.
    pub totals: Totals,
}

/// What a run has done, over all its generations.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Totals {
    /// The step that the run began with.
    pub first_step: u64,
    /// Samples trained.
    pub samples: u64,
    /// Real targets trained.
    pub targets: u64,
    /// Wall time of training steps alone.
    pub training: Duration,
}

/// The part of a copy that one process keeps.
#[derive(Debug, Clone)]
struct Copy {
    cursor: Cursor,
    /// Pieces as they would be in a checkpoint's files, by name.
    pieces: BTreeMap<String, Vec<u8>>,
}

/// The copies that a process keeps of one job.
#[derive(Debug, Default)]
pub struct Copies {
    /// Oldest first, at most two.
    held: Vec<Copy>,
    /// The last step that this process made of the job, whether or not it was to last.
    reached: u64,
    /// When the next copy is due; none: at once.
    due: Option<Instant>,
}

impl Copies {
    /// Bytes of all pieces that are kept.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.held.iter().flat_map(|copy| copy.pieces.values()).map(|piece| piece.len() as u64).sum()
    }

    /// Notes a step that all ranks have made: the newest copy is whole, and no older one is needed.
    pub(crate) fn stepped(&mut self, step: u64) {
        self.reached = self.reached.max(step);
        let surplus = self.held.len().saturating_sub(1);
        self.held.drain(..surplus);
    }

    /// Whether another copy is due.
    pub(crate) fn is_due(&self) -> bool {
        self.due.is_none_or(|due| due <= Instant::now())
    }

    /// The last step that this process made.
    #[must_use]
    pub fn reached(&self) -> u64 {
        self.reached
    }

    fn keep(&mut self, copy: Copy) {
        let surplus = self.held.len().saturating_sub(1);
        self.held.drain(..surplus);
        self.held.push(copy);
    }
}
