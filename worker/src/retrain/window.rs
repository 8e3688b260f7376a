//! The dataset of a window, and the job that is to be trained on it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use muster_data::Dataset;
use muster_data::prepare::{self, AddArgs, Contents, Cut, CutArgs, Window, add, contents, cut};
use muster_proto::config;
use muster_proto::control::{Submission, WindowDone, WindowEnd, WindowRead, WindowUnit};
use muster_proto::dataset::time::format_iso8601_exact;
use muster_proto::dataset::{DatasetKind, DatasetSpec, SplitKind, SplitSpec};
use muster_proto::job::{JobSpec, WindowSpec};
use serde_json::json;

use super::files::RunFolder;
use super::{Error, Work};
use crate::checkpoint;
use crate::evaluate::ranks_items;
use crate::run_record::RunRecord;
use crate::submission::{self, Placement};
use crate::warm_start::{self, Parent, pin};

/// The most that a task waits for another run of the schedule that adds to the base.
const PATIENCE: Duration = Duration::from_secs(3600);

/// How often it looks.
const PAUSE: Duration = Duration::from_millis(200);

/// Adds new files to the schedule's base, unless the run counts a given number of increments; cuts the dataset of its window, and
/// makes the job. A second attempt finds what the first has added, and counts it as its own.
///
/// # Errors
/// The dataset file or the job is not one that a schedule can run, an input is missing, broken or changed, the job does not
/// fit what came of it, or cannot begin from its parent; something cannot be written; or the work is to stop.
pub fn prepare_window(unit: &WindowUnit, work: &Work<'_>) -> Result<WindowEnd, Error> {
    let spec = dataset_spec(unit)?;
    let job = job(unit)?;
    let run = RunFolder::make(&unit.workspace, &unit.run)?;
    run.clear_leavings()?;
    if unit.increments.is_none() {
        add_files(unit, &spec, &run, work)?;
    }
    let held = contents(&run.base(), unit.increments)?;
    let read = read(&held, unit);
    save_pins(&run, &held, &read)?;
    // Files without any row begin no base.
    if held.increments.is_empty() {
        return Ok(WindowEnd::Empty(read));
    }
    let out = run.dataset();
    let made = cut(&CutArgs {
        spec: &spec,
        base: Path::new(&unit.folder),
        store: &run.base(),
        parent: None,
        out: &out,
        threads: work.threads as usize,
        variables: &variable,
        window: Window { from: unit.from, until: Some(unit.until) },
        increments: Some(read.increments),
        pulse: work.pulse,
    });
    let Cut { manifest, .. } = match made {
        Err(prepare::Error::NothingInWindow { .. }) => return Ok(WindowEnd::Empty(read)),
        made => made?,
    };
    work.beat()?;
    let submission = submission_of(unit, job, &run, &out)?;
    Ok(WindowEnd::Made(Box::new(WindowDone {
        read,
        dataset: submission.dataset_dir.clone(),
        digest: manifest.digest,
        rows: manifest.events,
        users: u64::from(manifest.users),
        items: u64::from(manifest.items),
        newest: manifest.time_range.map(|(_, last)| last),
        submission: Box::new(submission),
    })))
}

/// Runs whose datasets were removed since, as retention does, count as if they had never been.
fn forget_removed(job: &mut JobSpec) {
    let Some(warm) = &mut job.warm_start else { return };
    let is_there = |window: &&WindowSpec| Path::new(&window.dataset).join("manifest.json").exists();
    let kept = warm.windows.iter().take_while(is_there).count();
    warm.windows.truncate(kept);
}

/// The dataset file, with the split of the window.
fn dataset_spec(unit: &WindowUnit) -> Result<DatasetSpec, Error> {
    let spec: DatasetSpec = config::parse(&unit.dataset_toml, "the schedule's dataset file", &[])?;
    if spec.kind != DatasetKind::Events {
        return Err(Error::Timeless { problem: "its `kind` is not \"events\"" });
    }
    if spec.columns.time.is_none() {
        return Err(Error::Timeless { problem: "it names no column in `columns.time`" });
    }
    let split = SplitSpec {
        kind: SplitKind::Time,
        valid_from: Some(format_iso8601_exact(unit.valid_from)),
        test_from: Some(format_iso8601_exact(unit.test_from)),
        ..SplitSpec::default()
    };
    Ok(DatasetSpec { split, ..spec })
}

fn job(unit: &WindowUnit) -> Result<JobSpec, Error> {
    let mut job: JobSpec = config::parse(&unit.job_toml, "the schedule's job file", &[])?;
    if !ranks_items(&job) {
        return Err(Error::RanksNothing { job: job.name });
    }
    // In an object store a run has the name of its run directory, which is the same for all runs of a schedule.
    if let Some(location) = &mut job.checkpoint.location {
        *location = format!("{}/{}", location.trim_end_matches('/'), unit.run);
    }
    job.warm_start.clone_from(&unit.warm_start);
    Ok(job)
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// Adds what is new, once no other run does.
fn add_files(unit: &WindowUnit, spec: &DatasetSpec, run: &RunFolder, work: &Work<'_>) -> Result<(), Error> {
    let args = AddArgs {
        spec,
        base: Path::new(&unit.folder),
        store: &run.base(),
        threads: work.threads as usize,
        variables: &variable,
        by: Some(&unit.run),
        pulse: work.pulse,
    };
    // Nobody ever says anything: it is a wait that can be cut short by nothing but its time.
    let (_silent, never) = channel::<()>();
    let deadline = Instant::now() + PATIENCE;
    loop {
        match add(&args) {
            Err(prepare::Error::Busy { .. }) if Instant::now() < deadline => {
                work.beat()?;
                let Err(RecvTimeoutError::Timeout) = never.recv_timeout(PAUSE) else { continue };
            }
            // There may be rows of the window in files that are in the base already.
            Err(prepare::Error::Empty { files }) => {
                tracing::warn!(files, "new files hold no rows");
                return Ok(());
            }
            Err(prepare::Error::Stopped) => return Err(Error::Stopped),
            added => {
                let added = added?;
                tracing::info!(
                    files = added.files,
                    known = added.known,
                    rows = added.report.rows_in,
                    "files added"
                );
                return Ok(());
            }
        }
    }
}

/// What of a base counts, and what of that is new: what came after the increments that an earlier run accepted, or where
/// there is none, what was added for this run, by whichever attempt at it.
fn read(held: &Contents, unit: &WindowUnit) -> WindowRead {
    let mut read = WindowRead {
        increments: held.increments.len() as u64,
        files: held.files().count() as u64,
        files_digest: held.digest(),
        ..WindowRead::default()
    };
    for (place, increment) in (0_u64..).zip(&held.increments) {
        let is_new = match unit.accepted {
            Some(accepted) => place >= accepted,
            None => increment.by.as_deref() == Some(&unit.run),
        };
        if is_new {
            read.new_files += increment.files.len() as u64;
            read.rows_read += increment.report.rows_in;
            read.rows_rejected += increment.report.dropped.values().sum::<u64>();
            let left_out = increment.report.left_out.iter();
            read.left_out.extend(left_out.map(|file| format!("{}: {}", file.file, file.why)));
        }
    }
    read.left_out.truncate(WindowRead::MOST_LEFT_OUT);
    read
}

/// Notes which files counted, with their digests.
fn save_pins(run: &RunFolder, held: &Contents, read: &WindowRead) -> Result<(), Error> {
    let files: BTreeMap<&str, &str> =
        held.files().map(|file| (file.name.as_str(), file.digest.as_deref().unwrap_or_default())).collect();
    let pins = json!({ "increments": read.increments, "files_digest": read.files_digest, "files": files });
    run.save("pins.json", &pins).map(drop)
}

/// The job on the window's dataset, as a coordinator is asked for it.
fn submission_of(
    unit: &WindowUnit,
    mut job: JobSpec,
    run: &RunFolder,
    dataset: &Path,
) -> Result<Submission, Error> {
    if let Some(warm) = &job.warm_start {
        let parent = Parent::read(Path::new(&warm.parent))?;
        let missing = || warm_start::Error::NoDataset { path: parent.reader.location.address() };
        let before = Dataset::open(Path::new(warm.dataset.as_ref().ok_or_else(missing)?))?;
        pin(&mut job, &parent, Some(&before))?;
        forget_removed(&mut job);
    }
    let placement = Placement {
        dataset: dataset.to_owned(),
        workers: unit.workers,
        min_workers: unit.min_workers,
        device: None,
        queueing: unit.queueing.clone(),
    };
    let mut submission = submission::plan(&job, &placement)?;
    submission.name.clone_from(&unit.name);
    let train = run.train()?;
    let record = RunRecord {
        name: unit.name.clone(),
        dataset: PathBuf::from(&submission.dataset_dir),
        workers: Some(unit.workers),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        checkpoints: job.checkpoint.location.as_deref().map(|url| checkpoint::run_address(&train, Some(url))),
    };
    record.save(&train)?;
    submission.run_dir = submission::absolute(&train)?;
    Ok(submission)
}
