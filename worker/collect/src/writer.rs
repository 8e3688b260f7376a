//! The one thread that writes: takes what waits, writes it in one go, flushes once, and answers all of it.
//!
//! Nothing is answered before `fdatasync` returned. Where writing or flushing fails, the file is cut back to what was flushed
//! before anything else goes into it, so that events that were not answered for are not in it when they are sent again.

use std::collections::HashSet;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant, SystemTime};

use muster_proto::collect::FilesSpec;

use crate::files::{Folder, State};
use crate::finish::Finisher;
use crate::ids::Ids;
use crate::metrics::Metrics;
use crate::queue::{Kept, Message, Refused, Submission};
use crate::recover::Recovered;

/// What one flush is for, at most; more waits for the next.
const GROUP_BYTES: usize = 8 << 20;
/// How often it is looked whether a disk takes something again.
const PROBE: Duration = Duration::from_secs(1);
/// How long to wait where there is nothing to do but wait.
const IDLE: Duration = Duration::from_secs(60);

/// Milliseconds since 1970.
pub(crate) fn now() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(0, |since| since.as_millis() as i64)
}

/// The writer.
#[derive(Debug)]
pub(crate) struct Writer {
    folder: Folder,
    /// The folder is ours as long as this is open.
    _lock: File,
    files: FilesSpec,
    ids: Ids,
    next: u64,
    open: Option<Open>,
    lines: Vec<u8>,
    finisher: Finisher,
    metrics: Arc<Metrics>,
}

/// The file that is being written.
#[derive(Debug)]
struct Open {
    file: File,
    path: PathBuf,
    stem: String,
    /// Length of what was flushed.
    flushed: u64,
    since: Instant,
    /// Whether there may be something behind what was flushed.
    is_torn: bool,
}

impl Writer {
    pub(crate) fn new(
        recovered: Recovered,
        files: FilesSpec,
        finisher: Finisher,
        metrics: Arc<Metrics>,
    ) -> Self {
        let Recovered { folder, lock, ids, next } = recovered;
        metrics.ids.store(ids.len() as u64, Ordering::Relaxed);
        Self { folder, _lock: lock, files, ids, next, open: None, lines: Vec::new(), finisher, metrics }
    }

    /// Writes until it is told to stop, and finishes its file.
    pub(crate) fn run(mut self, queue: &Receiver<Message>) {
        loop {
            match queue.recv_timeout(self.patience()) {
                Ok(Message::Write(first)) => {
                    let (group, stops) = gather(first, queue);
                    self.commit(group);
                    if stops {
                        break;
                    }
                }
                Ok(Message::Stop) | Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) if self.is_unwritable() => self.probe(),
                Err(RecvTimeoutError::Timeout) => {}
            }
            self.rotate_if_due();
        }
        self.seal();
        self.finisher.stop();
    }

    /// How long nothing has to be done, if nothing comes.
    fn patience(&self) -> Duration {
        if self.is_unwritable() {
            return PROBE;
        }
        let due = self.open.as_ref().map(|open| self.files.max_age.saturating_sub(open.since.elapsed()));
        due.map_or(IDLE, |due| due.clamp(Duration::from_millis(1), IDLE))
    }

    fn is_unwritable(&self) -> bool {
        self.metrics.is_unwritable.load(Ordering::Relaxed)
    }

    fn commit(&mut self, group: Vec<Submission>) {
        let started = Instant::now();
        let mut fresh = HashSet::new();
        let mut order = Vec::new();
        self.lines.clear();
        let mut answers = Vec::with_capacity(group.len());
        let mut total = Kept::default();
        for submission in group {
            let mut kept = Kept::default();
            for event in &submission.events {
                if self.ids.contains(event.id) || !fresh.insert(event.id) {
                    kept.duplicates += 1;
                } else {
                    kept.accepted += 1;
                    order.push(event.id);
                    self.lines.extend_from_slice(&event.line);
                }
            }
            total.accepted += kept.accepted;
            total.duplicates += kept.duplicates;
            answers.push((submission, kept));
        }
        let written = self.write();
        self.metrics.is_unwritable.store(written.is_err(), Ordering::Relaxed);
        if written.is_ok() {
            order.into_iter().for_each(|id| self.ids.add(id));
            self.metrics.ids.store(self.ids.len() as u64, Ordering::Relaxed);
            self.metrics.committed(total, self.lines.len(), started.elapsed());
        }
        for (submission, kept) in answers {
            let answer = match &written {
                Ok(()) => Ok(kept),
                Err(error) => Err(Refused::Unwritable { what: error.to_string() }),
            };
            // The room is free before the answer is there: who was answered may come again at once.
            let done = submission.into_answer();
            // Who does not wait any more will send the same again.
            let _ = done.send(answer);
        }
    }

    /// Puts the lines at hand on disk.
    fn write(&mut self) -> io::Result<()> {
        if self.lines.is_empty() {
            return Ok(());
        }
        self.repair()?;
        let mut open = match self.open.take() {
            Some(open) => open,
            None => self.begin()?,
        };
        let written = open.file.write_all(&self.lines).and_then(|()| open.file.sync_data());
        match &written {
            Ok(()) => open.flushed += self.lines.len() as u64,
            Err(error) => {
                tracing::error!(file = %open.path.display(), %error, "events cannot be written");
                open.is_torn = true;
            }
        }
        self.open = Some(open);
        if written.is_err()
            && let Err(error) = self.repair()
        {
            tracing::error!(%error, "what was half written cannot be cut off yet");
        }
        written
    }

    /// Cuts the file back to what was flushed, if there may be more. What a failed flush left in memory cannot be told, so
    /// that nothing is added to that file.
    fn repair(&mut self) -> io::Result<()> {
        let Some(open) = self.open.as_mut().filter(|open| open.is_torn) else { return Ok(()) };
        open.file.set_len(open.flushed)?;
        open.file.sync_all()?;
        open.is_torn = false;
        if open.flushed > 0 {
            self.seal();
        }
        Ok(())
    }

    fn begin(&mut self) -> io::Result<Open> {
        let stem = self.folder.stem(self.next, now());
        let path = self.folder.path(&stem, State::Open, false);
        let file = OpenOptions::new().append(true).create_new(true).open(&path)?;
        self.next += 1;
        self.folder.sync()?;
        Ok(Open { file, path, stem, flushed: 0, since: Instant::now(), is_torn: false })
    }

    fn rotate_if_due(&mut self) {
        let Some(open) = &self.open else { return };
        let is_due =
            open.flushed >= self.files.max_size.bytes() || open.since.elapsed() >= self.files.max_age;
        if is_due && !open.is_torn {
            self.seal();
        }
    }

    /// Closes the file; where that fails it is written on, and tried again.
    fn seal(&mut self) {
        let Some(open) = self.open.take().filter(|open| !open.is_torn) else { return };
        let sealed = self.folder.path(&open.stem, State::Sealed, false);
        let result = if open.flushed == 0 {
            fs::remove_file(&open.path)
        } else {
            fs::rename(&open.path, &sealed).and_then(|()| self.folder.sync())
        };
        match result {
            Ok(()) => self.finisher.wake(),
            Err(error) => {
                tracing::warn!(file = %open.path.display(), %error, "a file cannot be closed yet");
                self.open = Some(Open { since: Instant::now(), ..open });
            }
        }
    }

    /// Looks whether the disk takes something again.
    fn probe(&mut self) {
        let path = self.folder.dir.join("_probe");
        let written = self.repair().and_then(|()| {
            let mut file = File::create(&path)?;
            file.write_all(&[b'\n'; 1 << 16])?;
            file.sync_all()
        });
        // What is left of it is overwritten by the next one.
        let _ = fs::remove_file(&path);
        if written.is_ok() {
            tracing::info!("events can be written again");
            self.metrics.is_unwritable.store(false, Ordering::Relaxed);
        }
    }
}

/// What waits, up to a bound, and whether the writer is told to stop behind it.
fn gather(first: Submission, queue: &Receiver<Message>) -> (Vec<Submission>, bool) {
    let bytes_of = |submission: &Submission| submission.events.iter().map(|event| event.line.len()).sum();
    let mut bytes: usize = bytes_of(&first);
    let mut group = vec![first];
    while bytes < GROUP_BYTES {
        match queue.try_recv() {
            Ok(Message::Write(next)) => {
                bytes += bytes_of(&next);
                group.push(next);
            }
            Ok(Message::Stop) => return (group, true),
            Err(_) => break,
        }
    }
    (group, false)
}

#[cfg(test)]
mod tests;
