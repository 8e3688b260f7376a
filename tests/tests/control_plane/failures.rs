//! What happens when something breaks.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, mpsc};

use muster_coordinator::Settings;
use muster_proto::control::{CancelMode, EventKind, JobPhase, Progress, Restored};
use muster_proto::ids::{Generation, Rank, Step};
use muster_worker::agent::{self, Assignment, Control, JobRunner, Outcome, RunError};
use serde_json::json;
use tokio::net::TcpListener;

use super::cluster::{
    agent_config, client, coordinator, coordinator_on, settings, submission, until, within, worker,
    worker_with, workers_are,
};

/// What the ranks of a job do once it has begun.
#[derive(Clone, Copy)]
enum Play {
    /// Wait for the abort.
    Wait,
    Panic,
    Fail,
}

/// Rank 1 does as told, the others wait for the abort; whether they were told why.
struct Script {
    play: Play,
    aborted: mpsc::SyncSender<String>,
}

impl JobRunner for Script {
    fn run(&self, assignment: Assignment, control: Control) -> Result<Outcome, RunError> {
        let (stop, stopped) = mpsc::channel();
        control.on_abort(Box::new(move |reason| stop.send(reason.to_owned()).unwrap()));
        control.ready_and_wait_start(Restored::start()).map_err(|aborted| RunError::aborted(&aborted))?;
        match (assignment.rank, self.play) {
            (Rank(1), Play::Panic) => panic!("index out of bounds"),
            (Rank(1), Play::Fail) => Err(RunError::own(&"the disk is full")),
            _ => {
                let reason = stopped.recv().unwrap();
                self.aborted.send(reason.clone()).unwrap();
                Err(RunError::aborted(&reason))
            }
        }
    }
}

fn failed(kind: &EventKind) -> Option<String> {
    match kind {
        EventKind::Failed { error } => Some(error.clone()),
        _ => None,
    }
}

fn training(kind: &EventKind) -> Option<()> {
    matches!(kind, EventKind::PhaseChanged { phase: JobPhase::Training, .. }).then_some(())
}

/// Plays a job of two ranks of which rank 1 fails; the job's error and what rank 0 was told.
async fn play(play: Play) -> (String, String) {
    let coordinator = coordinator(settings()).await;
    let (aborted, reasons) = mpsc::sync_channel(4);
    let runner = Arc::new(Script { play, aborted });
    let workers = ["a", "b"].map(|name| worker(&coordinator.url, name, Arc::clone(&runner) as _));
    let client = client(&coordinator.url).await;
    let job = client.submit(&submission("doomed", 2)).await.unwrap();
    let (_, error) = until(&mut client.watch(job, 0), failed).await;
    // Both processes live on.
    workers_are(&client, |workers| {
        workers.len() == 2 && workers.iter().all(|worker| worker.connected && worker.assignment.is_none())
    })
    .await;
    for worker in workers {
        worker.stop().await.unwrap();
    }
    coordinator.running.stop().await.unwrap();
    (error, reasons.recv().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rank_that_fails_ends_the_job_with_its_error_and_the_others_are_told() {
    let (error, told) = play(Play::Fail).await;
    assert_eq!(error, "rank 1 failed: the disk is full");
    assert_eq!(told, error);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_is_a_failed_job_and_not_a_dead_process() {
    let (error, _) = play(Play::Panic).await;
    assert_eq!(error, "rank 1 failed: the job's code panicked: index out of bounds");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_dies_is_named_survivors_are_pushed_an_abort_and_the_job_goes_on_without_it() {
    let coordinator = coordinator(settings()).await;
    let (aborted, reasons) = mpsc::sync_channel(4);
    let runner = Arc::new(Script { play: Play::Wait, aborted });
    let survivor = worker(&coordinator.url, "a", Arc::clone(&runner) as _);
    let client = client(&coordinator.url).await;
    workers_are(&client, |workers| workers.iter().any(|worker| worker.connected)).await;
    let victim = worker(&coordinator.url, "b", runner);
    let job = client.submit(&submission("doomed", 2)).await.unwrap();
    let mut watch = client.watch(job, 0);
    until(&mut watch, training).await;
    victim.crash().await;
    let lost = |kind: &EventKind| match kind {
        EventKind::WorkerLost { rank, .. } => Some(*rank),
        _ => None,
    };
    let (_, rank) = until(&mut watch, lost).await;
    assert_eq!(rank, Rank(1));
    let told = within(tokio::task::spawn_blocking(move || reasons.recv().unwrap())).await.unwrap();
    assert_eq!(told, "worker-2 (rank 1) was lost: its connection closed");
    let (before, ()) = until(&mut watch, training).await;
    assert!(before.iter().any(|event| event.generation == Generation(2)), "{before:?}");
    let status = client.jobs().await.unwrap().remove(0);
    assert_eq!((status.generation, status.workers.len()), (Generation(2), 1));
    client.cancel(job, CancelMode::Abort).await.unwrap();
    survivor.stop().await.unwrap();
    coordinator.running.stop().await.unwrap();
}

/// A job that makes steps until the test lets it end.
#[derive(Default)]
struct Steps {
    enough: AtomicBool,
    step: Mutex<u64>,
    stepped: Condvar,
}

impl Steps {
    /// Waits until `more` further steps were made.
    fn wait_for(&self, more: u64) {
        let goal = *self.step.lock().unwrap() + more;
        drop(self.stepped.wait_while(self.step.lock().unwrap(), |step| *step < goal).unwrap());
    }
}

impl JobRunner for Steps {
    fn run(&self, _: Assignment, control: Control) -> Result<Outcome, RunError> {
        control.ready_and_wait_start(Restored::start()).map_err(|aborted| RunError::aborted(&aborted))?;
        while !self.enough.load(Ordering::Acquire) {
            if control.cancelled() {
                return Err(RunError::aborted(&"told to stop"));
            }
            let mut step = self.step.lock().unwrap();
            *step += 1;
            control.progress(Progress { step: Step(*step), ..Progress::default() });
            self.stepped.notify_all();
            drop(step);
            std::thread::yield_now();
        }
        Ok(Outcome::Finished { summary: json!({ "enough": true }) })
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn steps_go_on_without_a_coordinator_and_its_successor_takes_the_job_over() {
    let dir = tempfile::tempdir().unwrap();
    let store = Some(dir.path().join("store").to_str().unwrap().to_owned());
    let settings = Settings { store, ..settings() };
    let first = coordinator(settings.clone()).await;
    let runner = Arc::new(Steps::default());
    let workers = ["a", "b"].map(|name| worker(&first.url, name, Arc::clone(&runner) as _));
    let client = client(&first.url).await;
    let job = client.submit(&submission("survivor", 2)).await.unwrap();
    let mut watch = client.watch(job, 0);
    until(&mut watch, training).await;

    let address = first.address;
    first.running.stop().await.unwrap();
    let stepping = Arc::clone(&runner);
    within(tokio::task::spawn_blocking(move || stepping.wait_for(100))).await.unwrap();

    // The port is free: the first coordinator has ended.
    let listener = TcpListener::bind(address).await.unwrap();
    let second = coordinator_on(settings.check().unwrap(), listener);
    runner.enough.store(true, Ordering::Release);
    let finished = |kind: &EventKind| matches!(kind, EventKind::Finished { .. }).then_some(());
    let (after, ()) = until(&mut watch, finished).await;
    assert!(after.iter().all(|event| !matches!(event.kind, EventKind::WorkerLost { .. })), "{after:?}");
    let jobs = client.jobs().await.unwrap();
    assert_eq!((jobs[0].job, jobs[0].generation.0), (job, 1));
    for worker in workers {
        worker.stop().await.unwrap();
    }
    second.running.stop().await.unwrap();
}

/// A job that loads until the test lets it train, and then is through.
#[derive(Default)]
struct Slow {
    loaded: Mutex<bool>,
    told: Condvar,
}

impl JobRunner for Slow {
    fn run(&self, _: Assignment, control: Control) -> Result<Outcome, RunError> {
        drop(self.told.wait_while(self.loaded.lock().unwrap(), |loaded| !*loaded).unwrap());
        control.ready_and_wait_start(Restored::start()).map_err(|aborted| RunError::aborted(&aborted))?;
        Ok(Outcome::Finished { summary: json!({}) })
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ranks_that_load_while_there_is_no_coordinator_are_started_by_its_successor() {
    let dir = tempfile::tempdir().unwrap();
    let store = Some(dir.path().join("store").to_str().unwrap().to_owned());
    let settings = Settings { store, ..settings() };
    let first = coordinator(settings.clone()).await;
    let runner = Arc::new(Slow::default());
    let workers = ["a", "b"].map(|name| worker(&first.url, name, Arc::clone(&runner) as _));
    let client = client(&first.url).await;
    let job = client.submit(&submission("slow", 2)).await.unwrap();
    let mut watch = client.watch(job, 0);
    let loading = |kind: &EventKind| matches!(kind, EventKind::PhaseChanged { phase: JobPhase::Loading, .. });
    until(&mut watch, |kind| loading(kind).then_some(())).await;
    workers_are(&client, |workers| workers.iter().filter(|worker| worker.running.is_some()).count() == 2)
        .await;

    let address = first.address;
    first.running.stop().await.unwrap();
    *runner.loaded.lock().unwrap() = true;
    runner.told.notify_all();
    let listener = TcpListener::bind(address).await.unwrap();
    let second = coordinator_on(settings.check().unwrap(), listener);
    let finished = |kind: &EventKind| matches!(kind, EventKind::Finished { .. }).then_some(());
    until(&mut watch, finished).await;
    assert_eq!(client.jobs().await.unwrap()[0].generation.0, 1);
    for worker in workers {
        worker.stop().await.unwrap();
    }
    second.running.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_coordinator_that_lost_its_store_says_so_and_the_worker_gives_up_and_registers_again() {
    let first = coordinator(settings()).await;
    let runner = Arc::new(Steps::default());
    let worker = worker(&first.url, "a", Arc::clone(&runner) as _);
    let before = client(&first.url).await;
    let job = before.submit(&submission("orphan", 1)).await.unwrap();
    until(&mut before.watch(job, 0), training).await;
    let address = first.address;
    first.running.stop().await.unwrap();

    let second = coordinator_on(settings().check().unwrap(), TcpListener::bind(address).await.unwrap());
    let client = client(&second.url).await;
    workers_are(&client, |workers| workers.iter().any(|worker| worker.connected)).await;
    assert!(client.jobs().await.unwrap().is_empty());
    runner.enough.store(true, Ordering::Release);
    let job = client.submit(&submission("next", 1)).await.unwrap();
    let finished = |kind: &EventKind| matches!(kind, EventKind::Finished { .. }).then_some(());
    until(&mut client.watch(job, 0), finished).await;
    worker.stop().await.unwrap();
    second.running.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_whose_name_was_taken_over_ends() {
    let coordinator = coordinator(settings()).await;
    let runner = Arc::new(Steps::default());
    let first = worker(&coordinator.url, "same", Arc::clone(&runner) as _);
    let client = client(&coordinator.url).await;
    workers_are(&client, |workers| workers.iter().any(|worker| worker.connected)).await;
    let second = worker_with(agent_config(&coordinator.url, "same"), runner);
    let error = first.ended().await.unwrap_err();
    assert!(matches!(error, agent::Error::Superseded(_)), "{error}");
    let workers = workers_are(&client, |workers| workers.iter().any(|worker| worker.connected)).await;
    assert_eq!((workers.len(), workers[0].incarnation.0), (1, 2));
    second.stop().await.unwrap();
    coordinator.running.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_without_a_coordinator_gives_up_after_its_deadline() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut config = agent_config(&format!("http://{port}"), "alone");
    config.register_deadline = std::time::Duration::from_millis(200);
    let error = worker_with(config, Arc::new(Steps::default())).ended().await.unwrap_err();
    assert!(matches!(error, agent::Error::Register { .. }), "{error}");
}
