//! Epochs around steps: progress, validation, early stopping, checkpoints.
//!
//! Everything that ranks must decide together (a checkpoint is on every disk, a drain was asked for) travels in a
//! status word that they exchange once a step, so all ranks act at the same step without asking the coordinator.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use muster_collective::{Collective, CollectiveExt};
use muster_data::Split;
use muster_proto::checkpoint::{
    Counted, Ledger, Manifest, Piece, SCHEMA_VERSION, Validation, Writer, model_digest,
};

use super::Error;
use super::parameters::Parameters;
use super::step::{StepReport, Trainer};
use super::stopping::judge;
use crate::checkpoint::{self, Location, Pending};
use crate::evaluate::{Detail, Evaluation, evaluate};

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

/// Where and as whom checkpoints are written.
#[derive(Debug, Clone)]
pub struct Place {
    /// The run directory; `None` writes none.
    pub run: Option<Location>,
    /// The writer's generation and incarnation.
    pub writer: Writer,
    /// Checkpoints that are kept besides the best.
    pub keep: usize,
}

/// The end of a run.
#[derive(Debug, Clone)]
pub struct Finished {
    /// Steps done, over all runs that this one resumed.
    pub steps: u64,
    /// Steps of this run alone.
    pub steps_here: u64,
    /// Samples trained in this run.
    pub samples: u64,
    /// Real targets trained in this run.
    pub targets: u64,
    /// Wall time of training steps alone.
    pub training: Duration,
    /// The test split with the best parameters at hand.
    pub test: Evaluation,
    /// State of validation.
    pub validation: Validation,
    /// Digest over all logical pieces of the last step.
    pub model_digest: String,
    /// The last checkpoint's folder.
    pub checkpoint: Option<PathBuf>,
    /// Whether a drain ended the run early.
    pub drained: bool,
}

/// What is known of the run so far; the part of it that outlives a process is in each manifest.
#[derive(Debug, Default)]
pub(super) struct Record {
    pub(super) validation: Validation,
    samples: u64,
    targets: u64,
    training: Duration,
    window: Window,
}

#[derive(Debug, Default)]
struct Window {
    steps: u64,
    targets: u64,
    loss: f64,
    time: Duration,
}

/// Status bits of a rank, exchanged once a step.
pub(super) const SAVED: u64 = 1;
pub(super) const DRAIN: u64 = 2;
pub(super) const CHECKPOINT: u64 = 4;

/// Trains the job to its end and evaluates the test split. Collective.
///
/// # Errors
/// Whatever stopped it; the newest checkpoint is then the place to resume from.
pub fn train(
    trainer: &mut Trainer,
    place: &Place,
    hooks: &mut dyn Hooks,
    collective: &mut dyn Collective,
) -> Result<Finished, Error> {
    let first_step = trainer.step;
    let mut run = Run { place, hooks, collective, pending: None, best: None, record: Record::default() };
    run.record.validation = std::mem::take(&mut trainer.resumed_validation);
    let drained = run.epochs(trainer)?;
    run.finish(trainer, first_step, drained)
}

struct Run<'a> {
    place: &'a Place,
    hooks: &'a mut dyn Hooks,
    collective: &'a mut dyn Collective,
    pending: Option<(Pending, Manifest)>,
    best: Option<Parameters>,
    record: Record,
}

impl Run<'_> {
    /// Runs epochs until the job's end, early stopping or a drain; returns whether it was a drain.
    fn epochs(&mut self, trainer: &mut Trainer) -> Result<bool, Error> {
        let per_epoch = trainer.steps_per_epoch();
        let planned = trainer.planned_steps();
        while trainer.step < planned {
            if let Some(reason) = self.hooks.aborted() {
                return Err(Error::Aborted { reason });
            }
            let epoch = (trainer.step / per_epoch) as u32;
            let report = self.one_step(trainer, epoch)?;
            if report.all_have(SAVED) && self.pending.is_some() {
                self.publish()?;
            }
            if report.any_has(DRAIN) {
                return Ok(true);
            }
            let epoch_ends = trainer.step.is_multiple_of(per_epoch) || trainer.step == planned;
            let due = trainer.job.checkpoint.every_steps.is_some_and(|n| trainer.step.is_multiple_of(n));
            let mut stop = false;
            if epoch_ends {
                stop = self.epoch_end(trainer, epoch)?;
            }
            let every = trainer.job.checkpoint.every_epochs;
            let epoch_due = epoch_ends && ((epoch + 1).is_multiple_of(every) || self.is_best(trainer));
            if trainer.step < planned && !stop && (due || epoch_due || report.any_has(CHECKPOINT)) {
                self.save(trainer)?;
            }
            if stop {
                return Ok(false);
            }
        }
        Ok(false)
    }

    fn is_best(&self, trainer: &Trainer) -> bool {
        self.record.validation.best_step == Some(trainer.step)
    }

    fn one_step(&mut self, trainer: &mut Trainer, epoch: u32) -> Result<StepReport, Error> {
        let mut status = 0;
        if self.pending.as_ref().is_none_or(|(pending, _)| pending.is_done()) {
            status |= SAVED;
        }
        if self.hooks.drain() {
            status |= DRAIN;
        }
        if self.hooks.checkpoint() {
            status |= CHECKPOINT;
        }
        let started = Instant::now();
        let report = trainer.step(status, self.collective)?;
        let time = started.elapsed();
        let record = &mut self.record;
        record.samples += report.samples;
        record.targets += report.targets;
        record.training += time;
        record.window.steps += 1;
        record.window.targets += report.targets;
        record.window.loss += report.loss;
        record.window.time += time;
        if record.window.steps >= u64::from(trainer.job.training.log_every) {
            self.report(trainer, epoch, report.learning_rate);
        }
        Ok(report)
    }

    fn report(&mut self, trainer: &Trainer, epoch: u32, learning_rate: f64) {
        let window = std::mem::take(&mut self.record.window);
        if window.steps == 0 {
            return;
        }
        self.hooks.progress(&Progress {
            epoch,
            epochs: trainer.job.training.epochs,
            step: trainer.step,
            steps_per_epoch: trainer.steps_per_epoch(),
            loss: window.loss / window.steps as f64,
            tokens_per_second: window.targets as f64 / window.time.as_secs_f64().max(1e-9),
            samples: self.record.samples,
            learning_rate,
        });
    }

    /// Reports and validates; returns whether training stops here.
    fn epoch_end(&mut self, trainer: &mut Trainer, epoch: u32) -> Result<bool, Error> {
        self.report(trainer, epoch, f64::NAN);
        let last = trainer.step == trainer.planned_steps();
        if !last && !(epoch + 1).is_multiple_of(trainer.job.training.validate_every) {
            return Ok(false);
        }
        trainer.sync_host()?;
        let evaluation = evaluate(trainer, Split::Valid, Detail::Hits, self.collective)?;
        self.hooks.validated(epoch, trainer.step, &evaluation.metrics);
        let spec = trainer.job.training.early_stopping.as_ref();
        let judgement = judge(spec, &evaluation.metrics, trainer.step, &mut self.record.validation)?;
        if judgement.best {
            self.best = Some(Parameters::of(trainer));
        }
        Ok(judgement.stop)
    }

    /// Starts to write a checkpoint; waits for the one before, if that is still being written.
    fn save(&mut self, trainer: &mut Trainer) -> Result<(), Error> {
        if self.pending.is_some() {
            self.publish()?;
        }
        trainer.sync_host()?;
        let Some(run) = &self.place.run else { return Ok(()) };
        let location = checkpoint::location_of(run, trainer.step, self.place.writer.generation);
        let manifest = self.manifest(trainer)?;
        self.pending = Some((trainer.snapshot(self.collective.rank() as u32).write(location), manifest));
        Ok(())
    }

    /// The manifest of the step at hand, still without pieces.
    fn manifest(&mut self, trainer: &Trainer) -> Result<Manifest, Error> {
        let ledger = gather_ledger(trainer, self.collective)?;
        Ok(Manifest {
            schema_version: SCHEMA_VERSION,
            writer: self.place.writer,
            job: trainer.job_text(),
            dataset: trainer.dataset.manifest().digest.clone(),
            numerics: trainer.numerics().to_owned(),
            tables: trainer.set.tables.iter().map(|t| t.decl.clone()).collect(),
            step: trainer.step,
            ledger,
            validation: self.record.validation.clone(),
            pieces: BTreeMap::new(),
            model_digest: String::new(),
        })
    }

    /// Waits for this rank's pieces, gathers everyone's, and lets rank 0 write the manifest.
    fn publish(&mut self) -> Result<Option<(Manifest, PathBuf)>, Error> {
        let Some((pending, mut manifest)) = self.pending.take() else { return Ok(None) };
        let (step, location) = (pending.step, pending.location.clone());
        // A rank whose disk failed still takes part, so that the others learn of it now.
        let mine = pending.wait();
        let pieces = gather_pieces(mine, self.collective)?;
        manifest.model_digest = model_digest(&pieces);
        manifest.pieces = pieces;
        if self.collective.rank() == 0 {
            checkpoint::commit(&location, &manifest)?;
            if let Some(run) = &self.place.run {
                checkpoint::retain(run, self.place.keep)?;
            }
        }
        let bytes = manifest.pieces.values().map(|p| p.bytes).sum();
        let folder = location.address();
        let at = (self.collective.rank() == 0).then_some(&folder);
        self.hooks.saved(step, manifest.pieces.len(), bytes, at);
        Ok(Some((manifest, folder)))
    }

    fn finish(&mut self, trainer: &mut Trainer, first_step: u64, drained: bool) -> Result<Finished, Error> {
        if self.pending.is_some() {
            self.publish()?;
        }
        let (digest, folder) = if self.place.run.is_some() {
            self.save(trainer)?;
            let published = self.publish()?;
            published.map_or_else(Default::default, |(m, f)| (m.model_digest, Some(f)))
        } else {
            trainer.sync_host()?;
            let mine = trainer.snapshot(self.collective.rank() as u32).digests();
            (model_digest(&gather_pieces(Ok(mine), self.collective)?), None)
        };
        // Other ranks must not end before rank 0 has the manifest on the disk.
        self.collective.barrier()?;
        if let Some(best) = self.best.take() {
            best.put_back(trainer);
        }
        let test = if drained {
            Evaluation::default()
        } else {
            evaluate(trainer, Split::Test, Detail::Full, self.collective)?
        };
        let record = &self.record;
        Ok(Finished {
            steps: trainer.step,
            steps_here: trainer.step - first_step,
            samples: record.samples,
            targets: record.targets,
            training: record.training,
            test,
            validation: record.validation.clone(),
            model_digest: digest,
            checkpoint: folder,
            drained,
        })
    }
}

/// The pieces of all ranks; an error on any rank is an error on all.
fn gather_pieces(
    mine: Result<BTreeMap<String, Piece>, checkpoint::Error>,
    collective: &mut dyn Collective,
) -> Result<BTreeMap<String, Piece>, Error> {
    let failed = mine.is_err();
    let text =
        serde_json::to_vec(mine.as_ref().unwrap_or(&BTreeMap::new())).expect("pieces have string keys");
    let mut all = vec![text.clone()];
    if collective.world_size() > 1 {
        let mut message = vec![u8::from(failed)];
        message.extend_from_slice(&text);
        collective.all_gather::<u8>(&message, &mut all)?;
        if let Some(rank) = all.iter().position(|m| m.first() == Some(&1)) {
            mine?;
            return Err(Error::PeerDisk { rank });
        }
        all.iter_mut().for_each(|message| *message = message.split_off(1));
    } else {
        mine?;
    }
    let parse = |bytes: &Vec<u8>| serde_json::from_slice::<BTreeMap<String, Piece>>(bytes);
    let mut pieces = BTreeMap::new();
    for (rank, bytes) in all.iter().enumerate() {
        pieces.extend(parse(bytes).map_err(|_| Error::PeerDisk { rank })?);
    }
    Ok(pieces)
}

/// What all ranks trained, together with what the resumed checkpoint says.
fn gather_ledger(trainer: &Trainer, collective: &mut dyn Collective) -> Result<Ledger, Error> {
    let mine: Vec<u64> = trainer.counted.iter().flat_map(|c| [c.samples, c.identities]).collect();
    let mut all = vec![mine.clone()];
    if collective.world_size() > 1 {
        collective.all_gather::<u64>(&mine, &mut all)?;
    }
    let mut epochs = trainer.resumed_ledger.clone();
    for words in &all {
        epochs.resize(epochs.len().max(words.len() / 2), Counted::default());
        for (epoch, pair) in epochs.iter_mut().zip(words.chunks_exact(2)) {
            epoch.merge(Counted { samples: pair[0], identities: pair[1] });
        }
    }
    Ok(Ledger { group_sizes: trainer.sampler.plan().group_sizes().to_vec(), epochs })
}
