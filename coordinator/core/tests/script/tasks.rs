//! Tasks in words: who makes them, and what workers say of theirs.

use muster_core::{Core, Event, RequestId};
use muster_proto::control::{PrepareUnit, Report, TaskEnd, TaskProgress, TaskWork, Unit};
use muster_proto::fence::TaskClaim;
use muster_proto::ids::{Incarnation, TaskOwner};
use serde_json::json;

use super::{Args, Worker, print};

fn owner(subject: &str) -> TaskOwner {
    subject.parse().unwrap()
}

fn numbers(args: &Args<'_>) -> Vec<u32> {
    args.0.iter().filter_map(|word| word.parse().ok()).collect()
}

pub(super) fn told(core: &Core, subject: &str, args: &Args<'_>) -> Vec<String> {
    core.tasks(owner(subject), &numbers(args)).iter().map(print::task).collect()
}

pub(super) fn event(verb: &str, subject: &str, args: &Args<'_>, request: RequestId) -> Event {
    let owner = owner(subject);
    match verb {
        "hold" => Event::HoldTasks { request, owner },
        "release" => Event::ReleaseTasks { request, owner },
        _ => {
            let folder =
                args.get("folder").unwrap_or("shared").repeat(args.number("times").unwrap_or(1) as usize);
            let work =
                |number| TaskWork::Prepare(PrepareUnit { folder: folder.clone(), unit: Unit::Share(number) });
            let tasks = numbers(args).into_iter().map(|number| (number, work(number))).collect();
            Event::CreateTasks { request, owner, tasks }
        }
    }
}

pub(super) fn report(verb: &str, worker: &Worker, args: &Args<'_>) -> Report {
    let nothing = TaskClaim { task: Default::default(), attempt: 0, incarnation: worker.incarnation };
    let mut claim = worker.claim.unwrap_or(nothing);
    claim.task.number = args.number("number").map_or(claim.task.number, |number| number as u32);
    claim.attempt = args.number("attempt").map_or(claim.attempt, |attempt| attempt as u32);
    claim.incarnation = args.number("incarnation").map_or(claim.incarnation, Incarnation);
    let count = |name| args.number(name).unwrap_or(0);
    let text = |name: &str| args.get(name).unwrap_or_default().replace('_', " ");
    let end = match verb {
        "task-running" => {
            let progress = TaskProgress { done: count("done"), of: count("of") };
            return Report::TaskRunning { claim, progress };
        }
        "task-done" => {
            TaskEnd::Done(json!(text("result").repeat(args.number("times").unwrap_or(1) as usize)))
        }
        "task-failed" => TaskEnd::Failed(text("message")),
        "task-stopped" => TaskEnd::Stopped,
        other => panic!("`{other}` is not a command"),
    };
    Report::TaskEnded { claim, end }
}
