//! What a training loop tells its surroundings, and asks them.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use muster_proto::ids::Rank;

use super::meter::Laps;

/// What the surroundings of a training loop see and ask.
pub trait Hooks {
    /// A record of training; called every `log_every` steps on every rank.
    fn progress(&mut self, progress: &Progress);
    /// A validation.
    fn validated(&mut self, epoch: u32, step: u64, metrics: &BTreeMap<String, f64>);
    /// A checkpoint exists; rank 0 has its folder.
    fn saved(&mut self, step: u64, pieces: usize, bytes: u64, folder: Option<&PathBuf>);
    /// Whether this rank was told to stop after the step, with a checkpoint.
    fn drain(&mut self) -> bool;
    /// Whether this rank was told to take a checkpoint; true once a request.
    fn checkpoint(&mut self) -> bool;
    /// Where this rank was told to stop after the step for a new generation: the ranks whose workers will not be in it.
    fn yields(&mut self) -> Option<Vec<Rank>>;
    /// The step that an earlier generation had reached is passed: how many were made again, and how long that took.
    fn caught_up(&mut self, steps_redone: u64, time: Duration);
    /// A step was made; `own` is this rank's time in it outside of collectives.
    fn stepped(&mut self, step: u64, own: Duration);
    /// Where the time of the step went that was just made.
    fn spent(&mut self, _laps: &Laps) {}
    /// Whether this rank was told to give up.
    fn aborted(&mut self) -> Option<String>;
}

/// Progress of training.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Progress {
    /// Epoch, from 0.
    pub epoch: u32,
    /// Epochs at most.
    pub epochs: u32,
    /// Steps done.
    pub step: u64,
    /// Steps of an epoch.
    pub steps_per_epoch: u64,
    /// Mean loss since the last record.
    pub loss: f64,
    /// Real targets a second since the last record.
    pub tokens_per_second: f64,
    /// Samples trained since the start of the run.
    pub samples: u64,
    /// Learning rate of the newest step.
    pub learning_rate: f64,
}
