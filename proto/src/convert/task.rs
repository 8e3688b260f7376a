//! Conversions of tasks.

use super::{Error, json, missing};
use crate::control::{PrepareUnit, TaskEnd, TaskProgress, TaskStage, TaskStatus, TaskWork, Unit};
use crate::fence::TaskClaim;
use crate::ids::{Incarnation, TaskId, TaskOwner, WorkerId};
use crate::wire::{self, prepare_unit, task_ended, task_status, task_work};

impl From<TaskId> for wire::TaskId {
    fn from(task: TaskId) -> Self {
        Self { owner: task.owner.0, number: task.number }
    }
}

impl From<wire::TaskId> for TaskId {
    fn from(task: wire::TaskId) -> Self {
        Self { owner: TaskOwner(task.owner), number: task.number }
    }
}

impl From<TaskClaim> for wire::TaskClaim {
    fn from(claim: TaskClaim) -> Self {
        Self { task: Some(claim.task.into()), attempt: claim.attempt, incarnation: claim.incarnation.0 }
    }
}

pub(super) fn claim(claim: Option<wire::TaskClaim>, message: &'static str) -> Result<TaskClaim, Error> {
    let claim = claim.ok_or(missing(message, "claim"))?;
    let task = claim.task.ok_or(missing("TaskClaim", "task"))?.into();
    Ok(TaskClaim { task, attempt: claim.attempt, incarnation: Incarnation(claim.incarnation) })
}

impl From<TaskWork> for wire::TaskWork {
    fn from(work: TaskWork) -> Self {
        let work = match work {
            TaskWork::Prepare(unit) => task_work::Work::Prepare(prepare(unit)),
            TaskWork::Window(unit) => task_work::Work::WindowJson(to_json(&unit)),
            TaskWork::Judge(unit) => task_work::Work::JudgeJson(to_json(&unit)),
        };
        Self { work: Some(work) }
    }
}

impl TryFrom<wire::TaskWork> for TaskWork {
    type Error = Error;

    fn try_from(work: wire::TaskWork) -> Result<Self, Error> {
        let work = match work.work.ok_or(missing("TaskWork", "work"))? {
            task_work::Work::Prepare(work) => work,
            task_work::Work::WindowJson(text) => {
                return Ok(Self::Window(json("TaskWork", "window_json", &text)?));
            }
            task_work::Work::JudgeJson(text) => {
                return Ok(Self::Judge(json("TaskWork", "judge_json", &text)?));
            }
        };
        let unit = match work.unit.ok_or(missing("PrepareUnit", "unit"))? {
            prepare_unit::Unit::Share(share) => Unit::Share(share),
            prepare_unit::Unit::Part(wire::PassPart { pass, part }) => Unit::Part { pass, part },
        };
        Ok(Self::Prepare(PrepareUnit { folder: work.folder, unit }))
    }
}

fn to_json(unit: &impl serde::Serialize) -> String {
    serde_json::to_string(unit).expect("units have string keys and no values that JSON lacks")
}

fn prepare(PrepareUnit { folder, unit }: PrepareUnit) -> wire::PrepareUnit {
    let unit = Some(match unit {
        Unit::Share(share) => prepare_unit::Unit::Share(share),
        Unit::Part { pass, part } => prepare_unit::Unit::Part(wire::PassPart { pass, part }),
    });
    wire::PrepareUnit { folder, unit }
}

pub(super) fn work(work: Option<wire::TaskWork>, message: &'static str) -> Result<TaskWork, Error> {
    work.ok_or(missing(message, "work"))?.try_into()
}

impl From<TaskProgress> for wire::TaskProgress {
    fn from(progress: TaskProgress) -> Self {
        Self { done: progress.done, of: progress.of }
    }
}

impl From<wire::TaskProgress> for TaskProgress {
    fn from(progress: wire::TaskProgress) -> Self {
        Self { done: progress.done, of: progress.of }
    }
}

pub(super) fn ended(claim: TaskClaim, end: TaskEnd) -> wire::TaskEnded {
    let end = match end {
        TaskEnd::Done(result) => task_ended::End::ResultJson(result.to_string()),
        TaskEnd::Failed(error) => task_ended::End::Error(error),
        TaskEnd::Stopped => task_ended::End::Stopped(wire::TaskStopped {}),
    };
    wire::TaskEnded { claim: Some(claim.into()), end: Some(end) }
}

pub(super) fn end(end: Option<task_ended::End>) -> Result<TaskEnd, Error> {
    const MESSAGE: &str = "TaskEnded";
    Ok(match end.ok_or(missing(MESSAGE, "end"))? {
        task_ended::End::ResultJson(text) => TaskEnd::Done(json(MESSAGE, "result_json", &text)?),
        task_ended::End::Error(error) => TaskEnd::Failed(error),
        task_ended::End::Stopped(wire::TaskStopped {}) => TaskEnd::Stopped,
    })
}

impl From<TaskStatus> for wire::TaskStatus {
    fn from(status: TaskStatus) -> Self {
        let stage = match status.stage {
            TaskStage::Waiting => task_status::Stage::Waiting(wire::TaskWaiting {}),
            TaskStage::Given { worker, progress } => task_status::Stage::Given(wire::TaskGiven {
                worker: worker.0,
                progress: Some(progress.into()),
            }),
            TaskStage::Done { result } => task_status::Stage::ResultJson(result.to_string()),
            TaskStage::Failed { error } => task_status::Stage::Error(error),
        };
        Self { number: status.number, attempt: status.attempt, stage: Some(stage) }
    }
}

impl TryFrom<wire::TaskStatus> for TaskStatus {
    type Error = Error;

    fn try_from(status: wire::TaskStatus) -> Result<Self, Error> {
        const MESSAGE: &str = "TaskStatus";
        let stage = match status.stage.ok_or(missing(MESSAGE, "stage"))? {
            task_status::Stage::Waiting(wire::TaskWaiting {}) => TaskStage::Waiting,
            task_status::Stage::Given(given) => TaskStage::Given {
                worker: WorkerId(given.worker),
                progress: given.progress.unwrap_or_default().into(),
            },
            task_status::Stage::ResultJson(text) => {
                TaskStage::Done { result: json(MESSAGE, "result_json", &text)? }
            }
            task_status::Stage::Error(error) => TaskStage::Failed { error },
        };
        Ok(Self { number: status.number, attempt: status.attempt, stage })
    }
}

/// Tasks to make, and for whom.
pub type NewTasks = (TaskOwner, Vec<(u32, TaskWork)>);

impl TryFrom<wire::CreateTasksRequest> for NewTasks {
    type Error = Error;

    fn try_from(request: wire::CreateTasksRequest) -> Result<Self, Error> {
        let task = |task: wire::NewTask| Ok((task.number, work(task.work, "NewTask")?));
        let tasks = request.tasks.into_iter().map(task).collect::<Result<_, Error>>()?;
        Ok((TaskOwner(request.owner), tasks))
    }
}

impl From<NewTasks> for wire::CreateTasksRequest {
    fn from((owner, tasks): NewTasks) -> Self {
        let task = |(number, work): (u32, TaskWork)| wire::NewTask { number, work: Some(work.into()) };
        Self { owner: owner.0, tasks: tasks.into_iter().map(task).collect() }
    }
}
