//! What becomes of tasks, without a network.

use std::sync::Mutex;
use std::sync::mpsc::{self, Receiver, Sender};

use muster_proto::control::{PrepareUnit, Unit};
use muster_proto::ids::{TaskId, TaskOwner, WorkerId};
use serde_json::json;

use super::*;
use crate::agent::{Assignment, Control, Outcome, RunError};

/// Does what the test says, task after task: ends with it, or waits until it is stopped.
struct Told(Mutex<Receiver<Option<Result<Value, String>>>>);

impl JobRunner for Told {
    fn run(&self, _: Assignment, _: Control) -> Result<Outcome, RunError> {
        Err(RunError::own(&"this runner trains nothing"))
    }

    fn run_task(&self, order: TaskOrder, control: &TaskControl) -> Result<Value, String> {
        control.progress(TaskProgress { done: 1, of: order.threads.into() });
        if let Some(end) = self.0.lock().unwrap().recv().unwrap() {
            return end;
        }
        while !control.stopped() {
            std::thread::yield_now();
        }
        Err("stopped".into())
    }
}

fn tasks() -> (Tasks, Sender<Option<Result<Value, String>>>) {
    let (tell, told) = mpsc::channel();
    let failure_detection = Duration::from_secs(5);
    let registration = Registration { worker: WorkerId(1), incarnation: Incarnation(7), failure_detection };
    (Tasks::new(Arc::new(Told(told.into())), 4, &registration), tell)
}

fn claim(number: u32, attempt: u32) -> TaskClaim {
    let task = TaskId { owner: TaskOwner(1), number };
    TaskClaim { task, attempt, incarnation: Incarnation(7) }
}

fn work() -> TaskWork {
    TaskWork::Prepare(PrepareUnit { folder: "f".into(), unit: Unit::Share(0) })
}

async fn changed(tasks: &mut Tasks) -> Option<Report> {
    tokio::time::timeout(Duration::from_secs(60), tasks.changed())
        .await
        .expect("the task does not end")
        .unwrap();
    tasks.untold()
}

#[tokio::test]
async fn an_end_is_told_on_each_session_until_it_is_acknowledged() {
    let (mut tasks, tell) = tasks();
    tasks.run(claim(3, 1), work());
    tell.send(Some(Ok(json!({"rows": 4})))).unwrap();
    let end = TaskEnd::Done(json!({"rows": 4}));
    let ended = Some(Report::TaskEnded { claim: claim(3, 1), end });
    assert_eq!(changed(&mut tasks).await, ended);
    assert_eq!(tasks.untold(), None);
    tasks.renew();
    // Told of it again, it is not done again.
    tasks.run(claim(3, 1), work());
    assert_eq!(tasks.untold(), ended);
    tasks.acknowledged(&claim(3, 2));
    assert_eq!(tasks.claim(), Some(claim(3, 1)));
    tasks.acknowledged(&claim(3, 1));
    assert_eq!(tasks.claim(), None);
}

#[tokio::test]
async fn what_is_stopped_may_be_done_by_another_and_an_error_may_not() {
    let (mut tasks, tell) = tasks();
    tasks.run(claim(3, 2), work());
    tell.send(None).unwrap();
    for other in [claim(3, 1), claim(4, 2), TaskClaim { incarnation: Incarnation(6), ..claim(3, 2) }] {
        tasks.stop(&other, "test");
        assert!(matches!(&tasks.state, State::Running(Running { aborted: None, .. })), "{other} stopped it");
    }
    tasks.stop(&claim(3, 2), "test");
    let stopped = Report::TaskEnded { claim: claim(3, 2), end: TaskEnd::Stopped };
    assert_eq!(changed(&mut tasks).await, Some(stopped));
    tasks.run(claim(5, 1), work());
    tell.send(Some(Err("the disk is full".into()))).unwrap();
    let failed = Report::TaskEnded { claim: claim(5, 1), end: TaskEnd::Failed("the disk is full".into()) };
    assert_eq!(changed(&mut tasks).await, Some(failed));
}

#[tokio::test]
async fn a_task_begins_only_when_the_one_before_has_stopped() {
    let (mut tasks, tell) = tasks();
    tasks.run(claim(1, 1), work());
    tasks.run(claim(2, 1), work());
    assert_eq!(tasks.claim(), Some(claim(1, 1)));
    tell.send(None).unwrap();
    assert_eq!(
        changed(&mut tasks).await,
        None,
        "the end of a task that was taken back is of no use to anybody"
    );
    assert_eq!(tasks.claim(), Some(claim(2, 1)));
    tell.send(Some(Ok(json!(2)))).unwrap();
    let done = Report::TaskEnded { claim: claim(2, 1), end: TaskEnd::Done(json!(2)) };
    assert_eq!(changed(&mut tasks).await, Some(done));
    // Nor does one begin that was taken back meanwhile.
    tasks.run(claim(3, 1), work());
    tasks.run(claim(4, 1), work());
    tasks.stop(&claim(4, 1), "test");
    tell.send(None).unwrap();
    assert!(matches!(changed(&mut tasks).await, Some(Report::TaskEnded { end: TaskEnd::Stopped, .. })));
    assert_eq!(tasks.claim(), Some(claim(3, 1)));
}

#[tokio::test]
async fn a_task_of_another_life_is_refused() {
    let (mut tasks, _tell) = tasks();
    tasks.run(TaskClaim { incarnation: Incarnation(6), ..claim(1, 1) }, work());
    assert_eq!(tasks.claim(), None);
}
