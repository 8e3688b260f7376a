//! Epochs around steps: progress, validation, early stopping, checkpoints.
//!
//! Everything that ranks must decide together (a checkpoint is on every disk, a drain was asked for) travels in a
//! status word that they exchange once a step, so all ranks act at the same step without asking the coordinator.

mod saving;

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use muster_collective::{Collective, CollectiveExt};
use muster_data::Split;
use muster_proto::checkpoint::{Base, Counted, Ledger, Manifest, Validation, model_digest};
use muster_proto::measured::Breakdown;

use super::Error;
use super::hooks::{Hooks, Progress};
use super::outcome::{End, Finished, Place};
use super::parameters::Parameters;
use super::step::{StepReport, Trainer};
use super::stopping::judge;
use crate::allocator;
use crate::checkpoint::{self, Extent, Pending};
use crate::copies::{Copies, Cursor, Memory, Totals};
use crate::evaluate::{Detail, Evaluation, evaluate};

/// What is known of the run so far; the part of it that outlives a process is in each manifest and each copy.
#[derive(Debug, Default)]
pub(super) struct Record {
    pub(super) validation: Validation,
    totals: Totals,
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
pub(super) const YIELD: u64 = 8;
pub(super) const COPY: u64 = 16;

/// The copies of a run in memory, and what they held when the generation began.
#[derive(Debug)]
pub struct Kept<'a> {
    /// The copies.
    pub copies: &'a mut Copies,
    /// What was found in them.
    pub memory: Memory,
}

/// Trains the job to its end and evaluates the test split, or until the ranks are told to yield. Collective.
///
/// # Errors
/// Whatever stopped it; the newest whole copy, or else the newest checkpoint, is then the place to go on from.
pub fn train(
    trainer: &mut Trainer,
    place: &Place,
    kept: Kept<'_>,
    hooks: &mut dyn Hooks,
    collective: &mut dyn Collective,
) -> Result<End, Error> {
    let Kept { copies, memory } = kept;
    let first_step = trainer.step;
    let totals = memory.totals.unwrap_or(Totals { first_step, ..Totals::default() });
    let record = Record {
        totals,
        validation: std::mem::take(&mut trainer.resumed_validation),
        window: Window::default(),
    };
    let (reached, from) = (memory.reached.max(first_step), first_step);
    let catching_up = Some(CatchingUp { reached, from, since: Instant::now(), took: Duration::ZERO });
    let (pending, base, best) = (None, None, None);
    // Loading a dataset or a checkpoint took more than what is kept of it.
    allocator::give_back();
    let mut run = Run { place, hooks, collective, copies, catching_up, pending, base, best, record };
    match run.epochs(trainer)? {
        Stop::Yielded => Ok(End::Yielded { step: trainer.step }),
        stop => Ok(End::Finished(Box::new(run.finish(trainer, stop == Stop::Drained)?))),
    }
}

/// Why the steps end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stop {
    /// All were made, or early stopping said so.
    Complete,
    Drained,
    Yielded,
}

/// A generation on its way to where the one before had come.
#[derive(Debug)]
struct CatchingUp {
    reached: u64,
    from: u64,
    since: Instant,
    /// The time of the steps that were made again.
    took: Duration,
}

struct Run<'a> {
    place: &'a Place,
    hooks: &'a mut dyn Hooks,
    collective: &'a mut dyn Collective,
    copies: &'a mut Copies,
    catching_up: Option<CatchingUp>,
    pending: Option<(Pending, Manifest)>,
    /// The newest full checkpoint of this generation, which increments lie over; none before there is one.
    base: Option<Base>,
    best: Option<Parameters>,
    record: Record,
}

impl Run<'_> {
    /// Runs epochs until the job's end, early stopping, a drain or a yield.
    fn epochs(&mut self, trainer: &mut Trainer) -> Result<Stop, Error> {
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
                return Ok(Stop::Drained);
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
                self.save(trainer, None)?;
            }
            if stop {
                return Ok(Stop::Complete);
            }
            if trainer.step < planned && report.any_has(YIELD) {
                self.hold(trainer)?;
                return Ok(Stop::Yielded);
            }
            if report.any_has(COPY) {
                self.copy(trainer)?;
            }
        }
        Ok(Stop::Complete)
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
        if self.hooks.yields().is_some() {
            status |= YIELD;
        }
        // Not while a checkpoint is under way: a run that goes on from a copy finds the best model of before in one.
        let may_copy = trainer.job.checkpoint.memory_copies && self.collective.world_size() > 1;
        if may_copy && self.collective.rank() == 0 && self.pending.is_none() && self.copies.is_due() {
            status |= COPY;
        }
        let (started, inside) = (Instant::now(), self.collective.inside());
        let report = trainer.step(status, self.collective)?;
        let time = started.elapsed();
        let waited = self.collective.inside().saturating_sub(inside);
        self.hooks.spent(trainer.meter.last());
        self.hooks.stepped(trainer.step, time.saturating_sub(waited));
        self.stepped(trainer.step);
        let record = &mut self.record;
        record.totals.samples += report.samples;
        record.totals.targets += report.targets;
        record.totals.training += time;
        record.window.steps += 1;
        record.window.targets += report.targets;
        record.window.loss += report.loss;
        record.window.time += time;
        if record.window.steps >= u64::from(trainer.job.training.log_every) {
            self.report(trainer, epoch, report.learning_rate);
        }
        Ok(report)
    }

    /// Notes that all ranks have made a step.
    fn stepped(&mut self, step: u64) {
        self.record.totals.copies.time += self.copies.stepped(step);
        if let Some(behind) = self.catching_up.as_mut().filter(|behind| step <= behind.reached) {
            behind.took = behind.since.elapsed();
        }
        if let Some(behind) = self.catching_up.take_if(|behind| step > behind.reached) {
            self.hooks.caught_up(behind.reached - behind.from, behind.took);
        }
    }

    /// Copies the model into the memory of this and another rank.
    fn copy(&mut self, trainer: &mut Trainer) -> Result<(), Error> {
        let begun = Instant::now();
        trainer.sync_host()?;
        let cursor = self.cursor(trainer)?;
        let bytes = self.copies.refresh(trainer, cursor, begun, self.collective)?;
        self.record.totals.copies.add(bytes, begun.elapsed());
        Ok(())
    }

    /// Keeps this rank's pieces for the next generation; in a checkpoint where no rank stays to keep them in memory.
    fn hold(&mut self, trainer: &mut Trainer) -> Result<(), Error> {
        if self.pending.is_some() {
            self.publish()?;
        }
        // Some ranks may have been told to yield, and who leaves, only by the others' status.
        let mine: Vec<u32> = self.hooks.yields().unwrap_or_default().iter().map(|rank| rank.0).collect();
        let mut all = vec![mine.clone()];
        if self.collective.world_size() > 1 {
            self.collective.all_gather::<u32>(&mine, &mut all)?;
        }
        let leaving: BTreeSet<usize> = all.into_iter().flatten().map(|rank| rank as usize).collect();
        if leaving.len() == self.collective.world_size() {
            self.save(trainer, None)?;
            self.publish()?;
            return Ok(());
        }
        trainer.sync_host()?;
        let cursor = self.cursor(trainer)?;
        self.copies.hold(trainer, cursor, &leaving, self.collective)?;
        // Nobody goes before all have theirs: a rank that closes its links first would end the others' exchange.
        self.collective.barrier()?;
        Ok(())
    }

    fn cursor(&mut self, trainer: &Trainer) -> Result<Cursor, Error> {
        Ok(Cursor {
            generation: self.place.writer.generation,
            step: trainer.step,
            counted: gather_ledger(trainer, self.collective)?.epochs,
            validation: self.record.validation.clone(),
            totals: self.record.totals,
        })
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
            samples: self.record.totals.samples,
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

    /// Puts the parameters of the best validation in place: from memory, or where an earlier generation made it, from its
    /// checkpoint.
    fn take_best(&mut self, trainer: &mut Trainer) -> Result<(), Error> {
        let best_step = self.record.validation.best_step.filter(|step| *step != trainer.step);
        match (self.best.take(), best_step, &self.place.run) {
            (Some(best), ..) => best.put_back(trainer),
            (None, Some(step), Some(run)) => match checkpoint::of_step(run, step)? {
                Some(reader) => trainer.take_parameters(&reader)?,
                None => tracing::warn!(
                    step,
                    "the checkpoint of the best validation is gone, testing the last step"
                ),
            },
            (None, ..) => {}
        }
        Ok(())
    }

    fn finish(&mut self, trainer: &mut Trainer, drained: bool) -> Result<Finished, Error> {
        if self.pending.is_some() {
            self.publish()?;
        }
        let (digest, folder) = if self.place.run.is_some() {
            // What is handed on and served stands alone.
            self.save(trainer, Some(Extent::Full))?;
            let published = self.publish()?;
            published.map_or_else(Default::default, |(m, f)| (m.model_digest, Some(f)))
        } else {
            trainer.sync_host()?;
            let mine = trainer.snapshot(self.collective.rank() as u32, Extent::Full).digests();
            (model_digest(&saving::gather_pieces(Ok(mine), self.collective)?), None)
        };
        // Other ranks must not end before rank 0 has the manifest on the disk.
        self.collective.barrier()?;
        if !drained {
            self.take_best(trainer)?;
        }
        let test = if drained {
            Evaluation::default()
        } else {
            evaluate(trainer, Split::Test, Detail::Full, self.collective)?
        };
        let measured = gather_measured(trainer, self.collective)?;
        let record = &self.record;
        Ok(Finished {
            measured,
            steps: trainer.step,
            steps_here: trainer.step - record.totals.first_step,
            samples: record.totals.samples,
            targets: record.totals.targets,
            training: record.totals.training,
            copies: record.totals.copies,
            checkpoints: record.totals.checkpoints,
            test,
            validation: record.validation.clone(),
            model_digest: digest,
            checkpoint: folder,
            drained,
        })
    }
}

/// What the steps of all ranks took in this generation, in rank order; what cannot be read is left out.
fn gather_measured(trainer: &Trainer, collective: &mut dyn Collective) -> Result<Vec<Breakdown>, Error> {
    let mine = serde_json::to_vec(&trainer.meter.mean()).unwrap_or_default();
    let mut all = vec![mine.clone()];
    if collective.world_size() > 1 {
        collective.all_gather::<u8>(&mine, &mut all)?;
    }
    Ok(all.iter().filter_map(|bytes| serde_json::from_slice(bytes).ok()).collect())
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
