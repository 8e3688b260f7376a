//! What one step wants done, put in the right order.

use std::collections::{BTreeMap, BTreeSet};

use muster_proto::control::{Directive, JobEvent};
use muster_proto::ids::{JobId, TaskId};

use crate::action::{Action, Answer, Write};
use crate::event::{RequestId, SessionId};
use crate::job::Job;
use crate::record;
use crate::refusal::Refusal;
use crate::task::Tasks;

/// Collects the writes and the other actions of a step. All writes become one, made before anything is said.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    writes: Vec<Write>,
    changed: BTreeSet<JobId>,
    changed_tasks: BTreeSet<TaskId>,
    actions: Vec<Action>,
}

impl Outbox {
    pub(super) fn write(&mut self, write: Write) {
        self.writes.push(write);
    }

    /// The job's state must be durable as it is when the step ends.
    pub(super) fn changed(&mut self, job: JobId) {
        self.changed.insert(job);
    }

    /// The task must be durable as it is when the step ends.
    pub(super) fn task_changed(&mut self, task: TaskId) {
        self.changed_tasks.insert(task);
    }

    pub(super) fn push(&mut self, action: Action) {
        self.actions.push(action);
    }

    pub(super) fn send(&mut self, session: Option<SessionId>, directive: Directive) {
        // A worker without a session is told when it opens one.
        if let Some(session) = session {
            self.actions.push(Action::Send { session, directive });
        }
    }

    pub(super) fn publish(&mut self, job: JobId, event: JobEvent) {
        self.actions.push(Action::Publish { job, event });
    }

    pub(super) fn reply(&mut self, request: RequestId, answer: Result<Answer, Refusal>) {
        self.actions.push(Action::Reply { request, answer });
    }

    pub(super) fn into_actions(mut self, jobs: &BTreeMap<JobId, Job>, tasks: &Tasks) -> Vec<Action> {
        let states = self.changed.iter().filter_map(|id| Some(record::put_state(*id, &jobs.get(id)?.state)));
        self.writes.extend(states);
        let tasks = self.changed_tasks.iter().filter_map(|id| Some(record::put_task(*id, tasks.get(*id)?)));
        self.writes.extend(tasks);
        if !self.writes.is_empty() {
            self.actions.insert(0, Action::Persist(self.writes));
        }
        self.actions
    }
}
