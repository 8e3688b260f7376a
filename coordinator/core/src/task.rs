//! Tasks: work that is no training job, for workers that have nothing else to do.
//!
//! ```text
//!            a worker is idle           it says so
//!  waiting ──────────────────> given ───────────────> done, failed
//!     ^                          │
//!     └──────────────────────────┘ the worker was lost (a bounded number of times), or was told to stop
//! ```
//!
//! A task is kept until its owner releases it, and no longer than the owner shows itself.

use std::collections::{BTreeMap, BTreeSet};

use muster_proto::control::{TaskProgress, TaskStage, TaskStatus, TaskWork};
use muster_proto::fence::TaskClaim;
use muster_proto::ids::{Incarnation, TaskId, TaskOwner, WorkerId};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::time::Time;

/// Workers that may be lost over one task; more of them would be lost over it, too.
pub(crate) const MAX_LOSSES: u32 = 4;

/// A task as the store keeps it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Task {
    pub(crate) work: TaskWork,
    /// How often it was given out; no number is used twice.
    pub(crate) attempt: u32,
    /// Workers that were lost over it.
    pub(crate) losses: u32,
    pub(crate) stage: Stage,
    /// How far the worker is that has it.
    #[serde(skip)]
    pub(crate) progress: TaskProgress,
}

/// Where a task is in its life.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Stage {
    Waiting,
    Given { worker: WorkerId, incarnation: Incarnation },
    Done { result: Value },
    Failed { error: String },
}

impl Task {
    pub(crate) fn new(work: TaskWork) -> Self {
        Self { work, attempt: 0, losses: 0, stage: Stage::Waiting, progress: TaskProgress::default() }
    }

    /// Whom it is given to.
    pub(crate) fn claim(&self, task: TaskId) -> Option<(WorkerId, TaskClaim)> {
        match self.stage {
            Stage::Given { worker, incarnation } => {
                Some((worker, TaskClaim { task, attempt: self.attempt, incarnation }))
            }
            _ => None,
        }
    }

    pub(crate) fn status(&self, number: u32) -> TaskStatus {
        let stage = match &self.stage {
            Stage::Waiting => TaskStage::Waiting,
            Stage::Given { worker, .. } => TaskStage::Given { worker: *worker, progress: self.progress },
            Stage::Done { result } => TaskStage::Done { result: result.clone() },
            Stage::Failed { error } => TaskStage::Failed { error: error.clone() },
        };
        TaskStatus { number, attempt: self.attempt, stage }
    }
}

/// The tasks of one owner.
#[derive(Debug)]
struct Owner {
    tasks: BTreeMap<u32, Task>,
    /// Those that nobody works on.
    waiting: BTreeSet<u32>,
    /// How many are worked on.
    given: usize,
    /// When they are forgotten, unless their owner shows itself before.
    deadline: Time,
}

/// All tasks.
#[derive(Debug, Default)]
pub(crate) struct Tasks {
    owners: BTreeMap<TaskOwner, Owner>,
    len: usize,
}

impl Tasks {
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn get(&self, id: TaskId) -> Option<&Task> {
        self.owners.get(&id.owner)?.tasks.get(&id.number)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (TaskId, &Task)> {
        self.owners.iter().flat_map(|(owner, of)| {
            of.tasks.iter().map(|(number, task)| (TaskId { owner: *owner, number: *number }, task))
        })
    }

    /// Puts a task in; one that is there already is replaced. An owner that is new is kept until `deadline`.
    pub(crate) fn insert(&mut self, id: TaskId, task: Task, deadline: Time) {
        let (tasks, waiting) = Default::default();
        let owner = self.owners.entry(id.owner).or_insert(Owner { tasks, waiting, given: 0, deadline });
        let before = owner.tasks.insert(id.number, task);
        self.len += usize::from(before.is_none());
        owner.count(id.number, before.as_ref());
    }

    /// Changes a task; what it gives, if there is such a task.
    pub(crate) fn change<T>(&mut self, id: TaskId, change: impl FnOnce(&mut Task) -> T) -> Option<T> {
        let owner = self.owners.get_mut(&id.owner)?;
        let task = owner.tasks.get_mut(&id.number)?;
        let before = task.clone();
        let changed = change(task);
        owner.count(id.number, Some(&before));
        Some(changed)
    }

    /// The task that is to be given out next: of the owner for whom the fewest are worked on, so that none waits for all of
    /// another's.
    pub(crate) fn next_waiting(&self) -> Option<TaskId> {
        let waiting = self.owners.iter().filter(|(_, owner)| !owner.waiting.is_empty());
        let (owner, of) = waiting.min_by_key(|(id, owner)| (owner.given, **id))?;
        Some(TaskId { owner: *owner, number: *of.waiting.first()? })
    }

    /// Keeps an owner's tasks until `deadline`; false where it has none.
    pub(crate) fn hold(&mut self, owner: TaskOwner, deadline: Time) -> bool {
        let owner = self.owners.get_mut(&owner);
        owner.map(|owner| owner.deadline = deadline).is_some()
    }

    /// Keeps every owner's tasks until `deadline` at least.
    pub(crate) fn extend_deadlines(&mut self, deadline: Time) {
        self.owners.values_mut().for_each(|owner| owner.deadline = owner.deadline.max(deadline));
    }

    /// Owners that have not shown themselves in time.
    pub(crate) fn expired(&self, now: Time) -> Vec<TaskOwner> {
        let expired = self.owners.iter().filter(|(_, owner)| owner.deadline <= now);
        expired.map(|(id, _)| *id).collect()
    }

    pub(crate) fn next_deadline(&self) -> Option<Time> {
        self.owners.values().map(|owner| owner.deadline).min()
    }

    /// Takes an owner's tasks out.
    pub(crate) fn remove(&mut self, owner: TaskOwner) -> BTreeMap<u32, Task> {
        let tasks = self.owners.remove(&owner).map(|owner| owner.tasks).unwrap_or_default();
        self.len -= tasks.len();
        tasks
    }
}

impl Owner {
    /// Brings what is counted up to date with a task that changed.
    fn count(&mut self, number: u32, before: Option<&Task>) {
        let is_given = |task: &Task| matches!(task.stage, Stage::Given { .. });
        let task = &self.tasks[&number];
        let (was, is) = (before.is_some_and(is_given), is_given(task));
        self.given = self.given + usize::from(is) - usize::from(was);
        if task.stage == Stage::Waiting {
            self.waiting.insert(number);
        } else {
            self.waiting.remove(&number);
        }
    }
}
