//! Tasks come, are given to workers that are idle, end, and go with their owner.

use muster_proto::control::{Directive, TaskEnd, TaskProgress, TaskStatus, TaskWork};
use muster_proto::fence::{self, Stale, TaskClaim};
use muster_proto::ids::{TaskId, TaskOwner, WorkerId};
use serde_json::Value;

use super::generations::{candidate, is_free};
use super::{Core, Outbox};
use crate::action::{Action, Answer};
use crate::event::RequestId;
use crate::explain::NotReady;
use crate::job::Job;
use crate::membership::{Hold, Worker};
use crate::phase::Phase;
use crate::record::{self, Cordon};
use crate::refusal::Refusal;
use crate::task::{MAX_LOSSES, Stage, Task};
use crate::time::Time;

/// Tasks that may be made in one request.
const MAX_AT_A_TIME: usize = 256;
/// The most bytes of what a task has to do.
const MAX_WORK: usize = 64 * 1024;
/// The most bytes of a result.
const MAX_RESULT: usize = 64 * 1024;
/// The most bytes of an error.
const MAX_ERROR: usize = 4 * 1024;

impl Core {
    /// How tasks stand, those that are known.
    #[must_use]
    pub fn tasks(&self, owner: TaskOwner, numbers: &[u32]) -> Vec<TaskStatus> {
        let of_number =
            |number: &u32| Some(self.tasks.get(TaskId { owner, number: *number })?.status(*number));
        numbers.iter().filter_map(of_number).collect()
    }

    /// Makes tasks that are not there yet.
    pub(super) fn create_tasks(
        &mut self,
        now: Time,
        request: RequestId,
        owner: TaskOwner,
        tasks: Vec<(u32, TaskWork)>,
        out: &mut Outbox,
    ) {
        if let Err(refusal) = self.check_new(owner, &tasks) {
            return out.reply(request, Err(refusal));
        }
        let deadline = now + self.config.task_owner_deadline();
        for (number, work) in tasks {
            let id = TaskId { owner, number };
            if self.tasks.get(id).is_none() {
                self.tasks.insert(id, Task::new(work), deadline);
                out.task_changed(id);
            }
        }
        self.tasks.hold(owner, deadline);
        self.may_gather = true;
        out.reply(request, Ok(Answer::Accepted));
    }

    fn check_new(&self, owner: TaskOwner, tasks: &[(u32, TaskWork)]) -> Result<(), Refusal> {
        let invalid = |problem| Err(Refusal::Invalid { field: "tasks", problem });
        if tasks.len() > MAX_AT_A_TIME {
            return invalid(format!(
                "{} are asked for at a time, at most {MAX_AT_A_TIME} are made",
                tasks.len()
            ));
        }
        let mut fresh = 0;
        for (number, work) in tasks {
            if work.bytes() > MAX_WORK {
                return invalid(format!(
                    "task {number} has {} bytes, at most {MAX_WORK} are taken",
                    work.bytes()
                ));
            }
            match self.tasks.get(TaskId { owner, number: *number }) {
                Some(known) if known.work != *work => {
                    return invalid(format!("task {number} of {owner} is there already, with other work"));
                }
                known => fresh += usize::from(known.is_none()),
            }
        }
        let limit = self.config.max_tasks;
        if self.tasks.len() + fresh > limit { Err(Refusal::TooManyTasks { limit }) } else { Ok(()) }
    }

    /// An owner shows itself.
    pub(super) fn hold_tasks(&mut self, now: Time, request: RequestId, owner: TaskOwner, out: &mut Outbox) {
        let known = self.tasks.hold(owner, now + self.config.task_owner_deadline());
        let answer = if known { Ok(Answer::Accepted) } else { Err(Refusal::UnknownTasks { owner }) };
        out.reply(request, answer);
    }

    /// Forgets an owner's tasks; whoever works on one is told to stop.
    pub(super) fn release_tasks(&mut self, owner: TaskOwner, reason: &str, out: &mut Outbox) {
        for (number, task) in self.tasks.remove(owner) {
            let id = TaskId { owner, number };
            out.write(record::delete_task(id));
            let Some((worker, claim)) = task.claim(id) else { continue };
            if let Some(worker) = self.members.get_mut(worker) {
                worker.hold = Hold::Idle;
                out.send(worker.session, Directive::StopTask { claim, reason: reason.to_owned() });
            }
            self.may_gather = true;
        }
    }

    /// Gives tasks to workers that no job has a use for.
    pub(super) fn give_tasks(&mut self, out: &mut Outbox) {
        if self.tasks.next_waiting().is_none() || self.a_job_waits_for_tasks() {
            return;
        }
        let idle: Vec<WorkerId> = self.idle().map(|(id, _)| id).collect();
        for worker in idle {
            let Some(id) = self.tasks.next_waiting() else { return };
            let Some(known) = self.members.get_mut(worker) else { continue };
            let incarnation = known.incarnation;
            let given = self.tasks.change(id, |task| {
                task.attempt += 1;
                task.progress = TaskProgress::default();
                task.stage = Stage::Given { worker, incarnation };
                (TaskClaim { task: id, attempt: task.attempt, incarnation }, task.work.clone())
            });
            let Some((claim, work)) = given else { return };
            known.hold = Hold::Task { claim };
            out.task_changed(id);
            out.send(known.session, Directive::RunTask { claim, work });
        }
    }

    /// Whether the first job that waits, but for its team's quota, could begin if nobody had a task: then none is given out
    /// until it has.
    fn a_job_waits_for_tasks(&self) -> bool {
        let waits = |(_, job): &(_, &Job)| match &job.state.phase {
            Phase::Gathering(gathering) => !matches!(gathering.reason, Some(NotReady::Quota { .. })),
            _ => false,
        };
        let Some((job, _)) = self.jobs.iter().find(waits) else { return false };
        let has_task = |worker: &Worker| matches!(worker.hold, Hold::Task { .. });
        let usable = |worker: &Worker| {
            is_free(worker) || has_task(worker) && worker.session.is_some() && worker.cordon == Cordon::Open
        };
        let workers = self.members.iter().filter(|(_, worker)| usable(worker));
        let workers: Vec<_> = workers.map(|(id, worker)| candidate(id, worker)).collect();
        workers.len() > self.idle().count() && self.choose_of(*job, &workers).is_ok()
    }

    /// A worker says how far it is with a task.
    pub(super) fn on_task_running(
        &mut self,
        worker: WorkerId,
        claim: TaskClaim,
        progress: TaskProgress,
        out: &mut Outbox,
    ) {
        match self.admit_task(worker, &claim) {
            Ok(()) => {
                self.tasks.change(claim.task, |task| task.progress = progress);
            }
            Err(stale) => {
                out.push(Action::Refused { worker, stale });
                let session = self.members.get(worker).and_then(|worker| worker.session);
                out.send(session, Directive::StopTask { claim, reason: stale.to_string() });
            }
        }
    }

    /// A worker says how a task ended.
    pub(super) fn on_task_ended(
        &mut self,
        worker: WorkerId,
        claim: TaskClaim,
        end: TaskEnd,
        out: &mut Outbox,
    ) {
        match self.admit_task(worker, &claim) {
            Ok(()) => {
                self.leave_task(worker, stage_of(end), out);
            }
            Err(stale) => out.push(Action::Refused { worker, stale }),
        }
        // After what it changed: the worker may forget its end only when the store has it.
        let session = self.members.get(worker).and_then(|worker| worker.session);
        out.send(session, Directive::TaskAcknowledged { claim });
    }

    fn admit_task(&self, worker: WorkerId, claimed: &TaskClaim) -> Result<(), Stale> {
        let held = self.members.get(worker).and_then(|worker| match worker.hold {
            Hold::Task { claim } => Some(claim),
            _ => None,
        });
        fence::admit_task(held.as_ref(), claimed)
    }

    /// A worker has no task any more; it had one if this is true.
    pub(super) fn leave_task(&mut self, id: WorkerId, stage: Stage, out: &mut Outbox) -> bool {
        let Some(worker) = self.members.get_mut(id) else { return false };
        let Hold::Task { claim } = worker.hold else { return false };
        worker.hold = Hold::Idle;
        self.tasks.change(claim.task, |task| task.stage = stage);
        out.task_changed(claim.task);
        self.may_gather = true;
        true
    }

    /// A worker is lost that had a task: another one gets it, unless too many were lost over it.
    pub(super) fn lose_task(&mut self, worker: WorkerId, task: TaskId, reason: &str, out: &mut Outbox) {
        self.tasks.change(task, |task| {
            task.losses += 1;
            task.stage = if task.losses < MAX_LOSSES {
                Stage::Waiting
            } else {
                let error = format!("{MAX_LOSSES} workers were lost over it, {worker} last: {reason}");
                Stage::Failed { error }
            };
        });
        out.task_changed(task);
    }

    /// A worker that gives up what it holds is told to leave its task to another.
    pub(super) fn drain_task(&self, worker: &Worker, out: &mut Outbox) {
        if let Hold::Task { claim } = worker.hold {
            let reason = "its worker is drained".to_owned();
            out.send(worker.session, Directive::StopTask { claim, reason });
        }
    }
}

/// What becomes of a task that a worker ended, within bounds.
fn stage_of(end: TaskEnd) -> Stage {
    match end {
        TaskEnd::Stopped => Stage::Waiting,
        TaskEnd::Done(result) => match bytes(&result) {
            0..=MAX_RESULT => Stage::Done { result },
            bytes => {
                let error = format!("its result has {bytes} bytes, at most {MAX_RESULT} are taken");
                Stage::Failed { error }
            }
        },
        TaskEnd::Failed(mut error) => {
            error.truncate(error.floor_char_boundary(MAX_ERROR));
            Stage::Failed { error }
        }
    }
}

fn bytes(value: &Value) -> usize {
    value.to_string().len()
}
