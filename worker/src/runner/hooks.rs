//! The training loop's hooks under an agent: reports to the coordinator and the history file of the run.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{BufWriter, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use muster_proto::control::{PiecesSaved, Progress, Restored, RestoredFrom};
use muster_proto::ids::{Rank, Step};
use serde_json::json;

use crate::agent::Control;
use crate::train::{self, Hooks};

/// Name of the history in a run directory: one JSON object a line, one a record or validation.
pub(super) const HISTORY_FILE: &str = "history.jsonl";

/// The history cannot be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot write {}: {source}", path.display())]
pub(super) struct Error {
    path: PathBuf,
    source: std::io::Error,
}

/// Reports to the coordinator; on rank 0 also keeps the history.
pub(super) struct AgentHooks {
    control: Control,
    history: Option<(PathBuf, BufWriter<File>)>,
    failed: Option<Error>,
    last: Progress,
}

impl AgentHooks {
    /// Hooks that append to the history in `run_dir`, where given.
    pub(super) fn new(control: Control, run_dir: Option<&PathBuf>) -> Result<Self, Error> {
        let history = run_dir.map(|dir| open(dir)).transpose()?;
        Ok(Self { control, history, failed: None, last: Progress::default() })
    }

    /// Flushes the history.
    pub(super) fn close(mut self) -> Result<(), Error> {
        if let Some((path, mut file)) = self.history.take() {
            file.flush().map_err(|source| Error { path, source })?;
        }
        self.failed.map_or(Ok(()), Err)
    }

    /// Notes that a generation begins, and from where.
    pub(super) fn began(&mut self, generation: u64, world_size: u32, restored: &Restored) {
        let from = match &restored.from {
            RestoredFrom::Start => "start",
            RestoredFrom::Memory => "memory",
            RestoredFrom::Checkpoint(_) => "checkpoint",
        };
        let step = restored.step.0;
        self.write(&json!({
            "step": step, "generation": generation, "workers": world_size, "from": from, "unix_seconds": unix_seconds(),
        }));
    }

    fn write(&mut self, record: &serde_json::Value) {
        let Some((path, file)) = &mut self.history else { return };
        if let Err(source) = writeln!(file, "{record}").and_then(|()| file.flush()) {
            tracing::warn!(path = %path.display(), error = %source, "history is not written");
            self.failed = Some(Error { path: path.clone(), source });
            self.history = None;
        }
    }
}

/// The wall clock, for people who read the history.
fn unix_seconds() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |time| time.as_secs_f64())
}

fn open(run_dir: &Path) -> Result<(PathBuf, BufWriter<File>), Error> {
    let path = run_dir.join(HISTORY_FILE);
    let open = || -> std::io::Result<File> {
        std::fs::create_dir_all(run_dir)?;
        let mut file = OpenOptions::new().create(true).truncate(false).read(true).write(true).open(&path)?;
        // A line that its writer did not finish, for it was killed, goes.
        let mut text = Vec::new();
        file.read_to_end(&mut text)?;
        let whole = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        file.set_len(whole as u64)?;
        file.seek(SeekFrom::End(0))?;
        Ok(file)
    };
    match open() {
        Ok(file) => Ok((path, BufWriter::new(file))),
        Err(source) => Err(Error { path, source }),
    }
}

impl Hooks for AgentHooks {
    fn progress(&mut self, progress: &train::Progress) {
        self.last = Progress {
            epoch: progress.epoch,
            epochs: progress.epochs,
            step: Step(progress.step),
            steps_per_epoch: progress.steps_per_epoch,
            loss: progress.loss,
            tokens_per_second: progress.tokens_per_second,
            samples: progress.samples,
            metrics: BTreeMap::new(),
        };
        self.control.progress(self.last.clone());
        self.write(&json!({
            "step": progress.step,
            "epoch": progress.epoch,
            "loss": progress.loss,
            "tokens_per_second": progress.tokens_per_second,
        }));
    }

    fn validated(&mut self, epoch: u32, step: u64, metrics: &BTreeMap<String, f64>) {
        self.last.metrics.clone_from(metrics);
        self.control.progress(self.last.clone());
        self.last.metrics.clear();
        self.write(&json!({ "epoch": epoch, "step": step, "metrics": metrics }));
    }

    fn saved(&mut self, step: u64, pieces: usize, bytes: u64, folder: Option<&PathBuf>) {
        let manifest = folder.map(|f| f.join(muster_proto::checkpoint::MANIFEST_FILE).display().to_string());
        tracing::info!(step, pieces, bytes, "checkpoint saved");
        self.control.pieces_saved(PiecesSaved { step: Step(step), pieces: pieces as u64, bytes, manifest });
    }

    fn drain(&mut self) -> bool {
        self.control.drain_requested()
    }

    fn checkpoint(&mut self) -> bool {
        self.control.checkpoint_requested()
    }

    fn yields(&mut self) -> Option<Vec<Rank>> {
        self.control.yield_requested()
    }

    fn stepped(&mut self, step: u64, own: Duration) {
        self.control.stepped(Step(step), own);
    }

    fn spent(&mut self, laps: &train::Laps) {
        self.control.spent(laps);
    }

    fn caught_up(&mut self, steps_redone: u64, time: Duration) {
        tracing::info!(steps_redone, seconds = time.as_secs_f64(), "reached again what was reached before");
        self.control.caught_up(steps_redone, time);
    }

    fn aborted(&mut self) -> Option<String> {
        self.control.cancelled().then(|| "the job was cancelled".to_owned())
    }
}
