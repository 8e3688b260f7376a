//! What the store keeps, under which keys, and how it is read back.
//!
//! A job's submission never changes and may be long, so it has a key of its own.

use std::collections::BTreeMap;

use muster_proto::control::{Capabilities, Submission};
use muster_proto::ids::{Incarnation, JobId, TaskId, TaskOwner, WorkerId};
use serde::{Deserialize, Serialize};

use crate::action::Write;
use crate::job::{Job, State};
use crate::stored::{RestoreError, parse, put};
use crate::task::Task;
use crate::time::Time;

const COUNTERS: &str = "counters";

/// Under which all of the core's keys lie.
pub const PREFIX: &str = "core/";

/// The next ids; what was given out is never given out again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Counters {
    pub(crate) jobs: u64,
    pub(crate) workers: u64,
    pub(crate) incarnations: u64,
}

/// Whether a worker gets ranks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Cordon {
    /// It does.
    #[default]
    Open,
    /// It gets no more.
    Cordoned,
    /// It gets no more, and gives up the one that it holds.
    Draining,
}

/// A worker as the store keeps it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct WorkerRecord {
    pub(crate) incarnation: Incarnation,
    pub(crate) capabilities: Capabilities,
    #[serde(default)]
    pub(crate) cordon: Cordon,
}

/// All that the store keeps.
#[derive(Debug, Default)]
pub(crate) struct Records {
    pub(crate) counters: Counters,
    pub(crate) workers: BTreeMap<WorkerId, WorkerRecord>,
    pub(crate) jobs: BTreeMap<JobId, Job>,
    pub(crate) tasks: BTreeMap<TaskId, Task>,
}

// Twenty digits hold any u64, so that keys sort as numbers do.
fn worker_key(id: WorkerId) -> String {
    format!("{PREFIX}workers/{:020}", id.0)
}

fn submission_key(id: JobId) -> String {
    format!("{PREFIX}jobs/{:020}/submission", id.0)
}

fn state_key(id: JobId) -> String {
    format!("{PREFIX}jobs/{:020}/state", id.0)
}

fn task_key(id: TaskId) -> String {
    format!("{PREFIX}tasks/{:020}/{:010}", id.owner.0, id.number)
}

pub(crate) fn put_counters(counters: &Counters) -> Write {
    put(format!("{PREFIX}{COUNTERS}"), counters)
}

pub(crate) fn put_worker(id: WorkerId, record: &WorkerRecord) -> Write {
    put(worker_key(id), record)
}

pub(crate) fn delete_worker(id: WorkerId) -> Write {
    Write::Delete { key: worker_key(id) }
}

pub(crate) fn put_submission(id: JobId, submission: &Submission) -> Write {
    put(submission_key(id), submission)
}

pub(crate) fn put_state(id: JobId, state: &State) -> Write {
    put(state_key(id), state)
}

pub(crate) fn delete_job(id: JobId) -> [Write; 2] {
    [Write::Delete { key: submission_key(id) }, Write::Delete { key: state_key(id) }]
}

pub(crate) fn put_task(id: TaskId, task: &Task) -> Write {
    put(task_key(id), task)
}

pub(crate) fn delete_task(id: TaskId) -> Write {
    Write::Delete { key: task_key(id) }
}

/// Reads all that the store keeps.
pub(crate) fn read(pairs: impl IntoIterator<Item = (String, Vec<u8>)>) -> Result<Records, RestoreError> {
    let mut records = Records::default();
    let mut submissions: BTreeMap<JobId, Submission> = BTreeMap::new();
    let mut states: BTreeMap<JobId, State> = BTreeMap::new();
    for (key, value) in pairs {
        let parts: Vec<&str> = key.strip_prefix(PREFIX).unwrap_or(&key).split('/').collect();
        let id = || parts.get(1).and_then(|id| id.parse::<u64>().ok());
        match (parts[0], id(), parts.get(2).copied()) {
            (COUNTERS, None, None) => records.counters = parse(&key, &value)?,
            ("workers", Some(id), None) => {
                records.workers.insert(WorkerId(id), parse(&key, &value)?);
            }
            ("jobs", Some(id), Some("submission")) => {
                submissions.insert(JobId(id), parse(&key, &value)?);
            }
            ("jobs", Some(id), Some("state")) => {
                states.insert(JobId(id), parse(&key, &value)?);
            }
            ("tasks", Some(owner), Some(number)) => {
                let Ok(number) = number.parse() else { return Err(RestoreError::UnknownKey { key }) };
                records.tasks.insert(TaskId { owner: TaskOwner(owner), number }, parse(&key, &value)?);
            }
            _ => return Err(RestoreError::UnknownKey { key }),
        }
    }
    for (job, submission) in submissions {
        let state = states.remove(&job).ok_or(RestoreError::HalfAJob { job })?;
        records.jobs.insert(job, Job { state, ..Job::new(submission, Time::default()) });
    }
    match states.pop_first() {
        Some((job, _)) => Err(RestoreError::HalfAJob { job }),
        None => Ok(records),
    }
}
