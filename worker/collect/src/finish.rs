//! Gives sealed files to readers: compressed on a thread of its own, so that events do not wait for it.
//!
//! A file that cannot be finished, for instance on a full disk, stays sealed and is tried again; whatever is left when the
//! process ends is finished by the next one.

use std::fs::{self, File};
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use muster_proto::collect::Compression;

use crate::files::{Entry, Folder, State};
use crate::metrics::Metrics;

/// How long after a failure it is tried again.
const RETRY: Duration = Duration::from_secs(10);
/// zstd's own default: 3 is fast and halves what 1 leaves over.
const LEVEL: i32 = 3;

/// The thread that finishes files.
#[derive(Debug)]
pub(crate) struct Finisher {
    wake: SyncSender<()>,
    thread: JoinHandle<()>,
}

impl Finisher {
    pub(crate) fn start(folder: Folder, compression: Compression, metrics: Arc<Metrics>) -> io::Result<Self> {
        let (wake, woken) = sync_channel(1);
        let thread = std::thread::Builder::new().name("finish".to_owned()).spawn(move || {
            loop {
                if let Err(error) = finish_all(&folder, compression, &metrics) {
                    tracing::warn!(%error, "a file cannot be finished yet");
                }
                match woken.recv_timeout(RETRY) {
                    Ok(()) | Err(RecvTimeoutError::Timeout) => {}
                    Err(RecvTimeoutError::Disconnected) => break,
                }
            }
            // Whatever was sealed since the last look.
            if let Err(error) = finish_all(&folder, compression, &metrics) {
                tracing::warn!(%error, "a file is left to be finished by the next process");
            }
        })?;
        Ok(Self { wake, thread })
    }

    /// Tells that there is a sealed file. Where it was told before and not looked at yet, that is enough.
    pub(crate) fn wake(&self) {
        match self.wake.try_send(()) {
            Ok(()) | Err(TrySendError::Full(())) => {}
            Err(TrySendError::Disconnected(())) => {
                tracing::error!("the thread that finishes files is gone");
            }
        }
    }

    /// Finishes what is sealed, and ends.
    pub(crate) fn stop(self) {
        drop(self.wake);
        if self.thread.join().is_err() {
            tracing::error!("the thread that finishes files panicked");
        }
    }
}

fn finish_all(folder: &Folder, compression: Compression, metrics: &Metrics) -> io::Result<()> {
    for entry in folder.entries()?.iter().filter(|entry| entry.state == State::Sealed) {
        finish(folder, entry, compression)?;
        metrics.files.fetch_add(1, Ordering::Relaxed);
    }
    Ok(())
}

fn finish(folder: &Folder, entry: &Entry, compression: Compression) -> io::Result<()> {
    let finished = |compressed| folder.path(&entry.stem, State::Finished, compressed);
    if finished(true).exists() {
        // It was finished before, and its process ended just then.
        return fs::remove_file(&entry.path);
    }
    if compression == Compression::None {
        fs::rename(&entry.path, finished(false))?;
        return folder.sync();
    }
    let partial = folder.path(&entry.stem, State::Partial, true);
    let mut encoder = zstd::stream::write::Encoder::new(File::create(&partial)?, LEVEL)?;
    encoder.include_checksum(true)?;
    io::copy(&mut File::open(&entry.path)?, &mut encoder)?;
    encoder.finish()?.sync_all()?;
    fs::rename(&partial, finished(true))?;
    folder.sync()?;
    fs::remove_file(&entry.path)
}
