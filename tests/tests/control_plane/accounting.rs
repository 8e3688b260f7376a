//! What the coordinator makes of the time that ranks report.

use std::sync::{Arc, mpsc};
use std::time::Duration;

use muster_proto::control::{CancelMode, Cause, JobPhase, JobStatus, Restored};
use muster_proto::ids::{Rank, Step};
use muster_proto::rpc::JobClient;
use muster_worker::agent::{Assignment, Control, JobRunner, Outcome, RunError};

use super::cluster::{client, coordinator, settings, submission, within, worker};

/// Rank 1 says that it computes for three times as long as the others; all train until they are told to stop.
struct Uneven;

impl JobRunner for Uneven {
    fn run(&self, assignment: Assignment, control: Control) -> Result<Outcome, RunError> {
        let (stop, stopped) = mpsc::channel();
        control.on_abort(Box::new(move |reason| stop.send(reason.to_owned()).unwrap()));
        control.ready_and_wait_start(Restored::start()).map_err(|aborted| RunError::aborted(&aborted))?;
        let own = Duration::from_millis(if assignment.rank == Rank(1) { 30 } else { 10 });
        control.stepped(Step(1), own);
        Err(RunError::aborted(&stopped.recv().unwrap()))
    }
}

/// Waits until the only job is as `wanted`.
async fn job_is(client: &JobClient, wanted: impl Fn(&JobStatus) -> bool) -> JobStatus {
    let waiting = async {
        loop {
            let job = client.jobs().await.unwrap().remove(0);
            if wanted(&job) {
                return job;
            }
            tokio::task::yield_now().await;
        }
    };
    within(waiting).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_rank_for_which_the_others_wait_is_named_and_the_time_of_the_job_is_counted() {
    let coordinator = coordinator(settings()).await;
    let runner = Arc::new(Uneven);
    let workers = ["a", "b", "c"].map(|name| worker(&coordinator.url, name, Arc::clone(&runner) as _));
    let client = client(&coordinator.url).await;
    let job = client.submit(&submission("uneven", 3)).await.unwrap();
    let status = job_is(&client, |job| job.straggler.is_some()).await;
    let slow = status.straggler.unwrap();
    assert_eq!((slow.rank, slow.worker), (Rank(1), status.workers[1]));
    assert!((slow.own_seconds - 0.03).abs() < 1e-9 && (slow.median_seconds - 0.01).abs() < 1e-9, "{slow:?}");
    // The heartbeat that told of the steps came while it trained.
    assert!(!status.spent.on(Cause::Training).is_zero(), "{:?}", status.spent);
    assert!(status.spent.goodput().unwrap() > 0.0, "{:?}", status.spent);

    client.cancel(job, CancelMode::Abort).await.unwrap();
    let ended = job_is(&client, |job| job.phase == JobPhase::Cancelled).await;
    assert_eq!(ended.straggler, None);
    assert!(ended.spent.on(Cause::Training) >= status.spent.on(Cause::Training));
    for worker in workers {
        worker.stop().await.unwrap();
    }
    coordinator.running.stop().await.unwrap();
}
