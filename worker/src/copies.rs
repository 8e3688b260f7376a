//! Copies of the model in memory, from which a job goes on when a worker is lost.
//!
//! A copy is a cut: all pieces of one committed step, spread over the ranks. Each rank keeps the pieces that it answers
//! for, and those of the rank before it, so that after any single loss (and most others) every piece is still in
//! somebody's memory. Dense parameters are on every rank anyhow. A new copy does not replace the one before until every
//! rank has it, which the next step shows; so whenever a worker dies, one whole cut is left.
//!
//! The first copy of a generation is of whole pieces. Of shards of which few rows were written since, a later one has
//! these rows alone (with an optimizer for touched rows): they are encoded, sent, and kept beside the copy of before,
//! over which they are laid when the new copy is whole.
//!
//! A copy names its generation: pieces of different generations are never mixed, also where they are of one step.
//!
//! Memory on each worker: a copy of its own pieces, its neighbour's, and the dense parameters, all with optimizer state,
//! and until the next step what a new copy has, rows or whole pieces: [`Copies::bytes`] says how much it is,
//! [`muster_proto::checkpoint::copies_bytes`] how much it will be.

mod inventory;
mod refresh;
mod restore;
mod transfer;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use muster_proto::checkpoint::{Counted, Validation};
use serde::{Deserialize, Serialize};

use crate::checkpoint::{Encoded, apply_rows};

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
    /// What copies in memory took on this rank.
    pub copies: Spent,
    /// What checkpoints took on this rank, beside what was written while steps went on.
    pub checkpoints: Spent,
}

/// What keeping the model safe took: no step was made meanwhile.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spent {
    /// How often it was done.
    pub count: u64,
    /// Bytes of pieces and rows.
    pub bytes: u64,
    /// Wall time.
    pub time: Duration,
}

impl Spent {
    pub(crate) fn add(&mut self, bytes: u64, time: Duration) {
        self.count += 1;
        self.bytes += bytes;
        self.time += time;
    }
}

/// The part of a copy that one process keeps.
#[derive(Debug, Clone)]
struct Copy {
    cursor: Cursor,
    /// Pieces as they would be in a checkpoint's files, by name.
    pieces: BTreeMap<String, Vec<u8>>,
}

impl Copy {
    /// Whether it is the cut of that generation and step.
    fn is_of(&self, cut: Cut) -> bool {
        self.cursor.cut() == cut
    }
}

/// Generation and step of a copy.
type Cut = (u64, u64);

impl Cursor {
    fn cut(&self) -> Cut {
        (self.generation, self.step)
    }
}

/// The part of a newer copy that one process keeps, not yet known to be whole.
#[derive(Debug)]
struct Newer {
    cursor: Cursor,
    /// What it has: pieces, or rows to be laid over those of the copy of before.
    pieces: BTreeMap<String, Encoded>,
}

/// The copies that a process keeps of one job.
#[derive(Debug, Default)]
pub struct Copies {
    whole: Option<Copy>,
    newer: Option<Newer>,
    /// The copy since which all ranks count the rows that they write; none where they do not.
    marked: Option<Cut>,
    /// The last step that this process made of the job, whether or not it was to last.
    reached: u64,
    /// When the next copy is due; none: at once.
    due: Option<Instant>,
    /// Whether a copy is due after each step, whatever it costs.
    each_step: bool,
}

impl Copies {
    /// Copies that are made after each step, whatever they cost, for drills and tests; else they are so
    /// far apart that they take a small part of the time.
    #[must_use]
    pub fn after_each_step() -> Self {
        Self { each_step: true, ..Self::default() }
    }

    /// Bytes of all pieces that are kept.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        let whole = self.whole.iter().flat_map(|copy| copy.pieces.values()).map(Vec::len);
        let newer = self.newer.iter().flat_map(|copy| copy.pieces.values()).map(|piece| piece.bytes().len());
        whole.chain(newer).map(|bytes| bytes as u64).sum()
    }

    /// Notes a step that all ranks have made: the newest copy is whole, and no older one is needed. Returns the time that
    /// this took.
    pub(crate) fn stepped(&mut self, step: u64) -> Duration {
        self.reached = self.reached.max(step);
        if self.newer.is_none() {
            return Duration::ZERO;
        }
        let begun = Instant::now();
        self.complete();
        let time = begun.elapsed();
        self.due = self.due.map(|due| due + time * COST_RATIO);
        time
    }

    /// Puts the newer copy, if there is one, in the place of the one before.
    fn complete(&mut self) {
        let Some(Newer { cursor, pieces }) = self.newer.take() else { return };
        let mut before = self.whole.take().map(|copy| copy.pieces).unwrap_or_default();
        let laid_over = pieces.into_iter().map(|(name, piece)| match piece {
            Encoded::Whole(bytes) => (name, bytes),
            Encoded::Rows(rows) => {
                let mut bytes = before.remove(&name).expect("rows are kept only over a piece that is here");
                apply_rows(&mut bytes, &rows).expect("rows were checked against their piece when they came");
                (name, bytes)
            }
        });
        self.whole = Some(Copy { cursor, pieces: laid_over.collect() });
    }

    /// Drops all but the copy of one cut.
    fn keep_only(&mut self, cut: Cut) {
        if self.newer.take_if(|newer| newer.cursor.cut() != cut).is_none() {
            self.complete();
        }
        self.whole.take_if(|copy| !copy.is_of(cut));
        self.marked = None;
    }

    /// Whether another copy is due.
    pub(crate) fn is_due(&self) -> bool {
        self.each_step || self.due.is_none_or(|due| due <= Instant::now())
    }

    /// The last step that this process made.
    #[must_use]
    pub fn reached(&self) -> u64 {
        self.reached
    }

    /// The names of the pieces of each copy, older first.
    fn listed(&self) -> impl Iterator<Item = (&Cursor, Vec<&String>)> {
        let whole = self.whole.iter().map(|copy| (&copy.cursor, copy.pieces.keys().collect()));
        whole.chain(self.newer.iter().map(|copy| (&copy.cursor, copy.pieces.keys().collect())))
    }
}
