//! Jobs that go as they should.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::{Arc, Barrier, Mutex, mpsc};

use muster_coordinator::Settings;
use muster_proto::control::{CancelMode, EventKind, JobEvent, JobPhase, PiecesSaved, Progress, Restored};
use muster_proto::ids::{Rank, Step, WorkerId};
use muster_worker::agent::{Assignment, Control, JobRunner, Outcome, RunError};
use serde_json::json;

use super::cluster::{client, coordinator, settings, submission, until, within, worker, workers_are};

/// A job that talks to its peers over the data plane, reports ten steps, and ends.
struct Exchange;

impl Exchange {
    /// Rank 0 takes a byte from each peer, and answers with the sum.
    fn sum(assignment: &Assignment) -> u8 {
        let rank = assignment.rank.0 as u8;
        let mut byte = [0_u8];
        if assignment.rank != Rank(0) {
            let mut stream = TcpStream::connect(&assignment.peers[0].address).unwrap();
            stream.write_all(&[rank]).unwrap();
            stream.read_exact(&mut byte).unwrap();
            return byte[0];
        }
        let peers = assignment.peers.len() - 1;
        let mut streams: Vec<TcpStream> =
            (0..peers).map(|_| assignment.listener.accept().unwrap().0).collect();
        let mut sum = rank;
        for stream in &mut streams {
            stream.read_exact(&mut byte).unwrap();
            sum += byte[0];
        }
        streams.iter_mut().for_each(|stream| stream.write_all(&[sum]).unwrap());
        sum
    }
}

impl JobRunner for Exchange {
    fn run(&self, assignment: Assignment, control: Control) -> Result<Outcome, RunError> {
        let sum = Self::sum(&assignment);
        control.ready_and_wait_start(Restored::start()).map_err(|aborted| RunError::aborted(&aborted))?;
        for step in 1..=10 {
            let metrics = if step % 5 == 0 {
                BTreeMap::from([("HR@10".into(), 0.01 * step as f64)])
            } else {
                BTreeMap::new()
            };
            control.progress(Progress { step: Step(step), metrics, ..Progress::default() });
        }
        let manifest = (assignment.rank == Rank(0)).then(|| "run/10.json".to_owned());
        control.pieces_saved(PiecesSaved { step: Step(10), pieces: 1, bytes: 8, manifest });
        Ok(Outcome::Finished { summary: json!({ "sum": sum, "rank": assignment.rank }) })
    }
}

fn finished(kind: &EventKind) -> Option<serde_json::Value> {
    match kind {
        EventKind::Finished { summary } => Some(summary.clone()),
        _ => None,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_on_three_workers_goes_through_its_phases_and_ends_with_the_summary_of_rank_0() {
    let coordinator = coordinator(Settings { shutdown_workers: Some(true), ..settings() }).await;
    let runner = Arc::new(Exchange);
    let workers: Vec<_> =
        ["a", "b", "c"].map(|name| worker(&coordinator.url, name, Arc::clone(&runner) as _)).into();
    let client = client(&coordinator.url).await;
    let job = client.submit(&submission("exchange", 3)).await.unwrap();
    let mut watch = client.watch(job, 0);
    let (before, summary) = until(&mut watch, finished).await;
    assert_eq!(summary, json!({ "sum": 3, "rank": 0 }));
    assert!(watch.next().await.is_none(), "nothing comes after the end");

    let mut phases: Vec<JobPhase> = before
        .iter()
        .filter_map(|event| match event.kind {
            EventKind::PhaseChanged { phase, .. } => Some(phase),
            _ => None,
        })
        .collect();
    phases.dedup();
    assert_eq!(phases, [JobPhase::Gathering, JobPhase::Planning, JobPhase::Loading, JobPhase::Training]);
    let evaluated = |kind: &EventKind| match kind {
        EventKind::Progress(progress) => progress.metrics.get("HR@10").copied(),
        _ => None,
    };
    let evaluations: Vec<f64> = before.iter().filter_map(|event| evaluated(&event.kind)).collect();
    assert_eq!(evaluations, [0.05, 0.1]);
    let saved = before.iter().find_map(|event| match &event.kind {
        EventKind::CheckpointSaved { step, manifest } => Some((*step, manifest.as_str())),
        _ => None,
    });
    assert_eq!(saved, Some((Step(10), "run/10.json")));

    // Who comes late is told the same, and the workers are free again.
    let (again, _) = until(&mut client.watch(job, 0), finished).await;
    let kept = |event: &&JobEvent| !matches!(&event.kind, EventKind::Progress(p) if p.metrics.is_empty());
    let numbers = |events: &[JobEvent]| -> Vec<u64> {
        let mut numbers: Vec<u64> = events.iter().filter(kept).map(|event| event.sequence).collect();
        numbers.dedup();
        numbers
    };
    assert_eq!(numbers(&again), numbers(&before));
    workers_are(&client, |workers| workers.iter().filter(|worker| worker.assignment.is_none()).count() == 3)
        .await;
    let job = client.submit(&submission("again", 2)).await.unwrap();
    until(&mut client.watch(job, 0), finished).await;

    coordinator.running.stop().await.unwrap();
    for worker in workers {
        worker.ended().await.unwrap();
    }
}

/// A job that trains until it is told to stop, and says when each rank has begun.
struct Endless {
    begun: mpsc::SyncSender<Rank>,
}

impl JobRunner for Endless {
    fn run(&self, assignment: Assignment, control: Control) -> Result<Outcome, RunError> {
        let (stop, stopped) = mpsc::channel();
        control.on_abort(Box::new(move |reason| stop.send(reason.to_owned()).unwrap()));
        control.ready_and_wait_start(Restored::start()).map_err(|aborted| RunError::aborted(&aborted))?;
        self.begun.send(assignment.rank).unwrap();
        loop {
            if control.drain_requested() {
                return Ok(Outcome::Finished { summary: json!({ "drained": true }) });
            }
            match stopped.recv_timeout(std::time::Duration::from_millis(1)) {
                Ok(reason) => return Err(RunError::aborted(&reason)),
                Err(mpsc::RecvTimeoutError::Timeout) => {}
                Err(error) => return Err(RunError::own(&error)),
            }
        }
    }
}

fn both_begin(beginnings: &mpsc::Receiver<Rank>) {
    let mut ranks = [beginnings.recv().unwrap(), beginnings.recv().unwrap()];
    ranks.sort();
    assert_eq!(ranks, [Rank(0), Rank(1)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_can_be_cancelled_at_once_or_in_order() {
    let coordinator = coordinator(settings()).await;
    let (begun, beginnings) = mpsc::sync_channel(8);
    let runner = Arc::new(Endless { begun });
    let workers = ["a", "b"].map(|name| worker(&coordinator.url, name, Arc::clone(&runner) as _));
    let client = client(&coordinator.url).await;

    let first = client.submit(&submission("first", 2)).await.unwrap();
    let beginnings = tokio::task::spawn_blocking(move || {
        both_begin(&beginnings);
        beginnings
    });
    let beginnings = within(beginnings).await.unwrap();
    client.cancel(first, CancelMode::Abort).await.unwrap();
    let cancelled = |kind: &EventKind| matches!(kind, EventKind::Cancelled).then_some(());
    until(&mut client.watch(first, 0), cancelled).await;

    let second = client.submit(&submission("second", 2)).await.unwrap();
    within(tokio::task::spawn_blocking(move || both_begin(&beginnings))).await.unwrap();
    client.cancel(second, CancelMode::Drain).await.unwrap();
    let (_, summary) = until(&mut client.watch(second, 0), finished).await;
    assert_eq!(summary, json!({ "drained": true }));

    for worker in workers {
        worker.stop().await.unwrap();
    }
    coordinator.running.stop().await.unwrap();
}

/// Notes who holds which rank.
struct Roll {
    seen: Mutex<Vec<(Rank, WorkerId)>>,
    all: Barrier,
}

impl JobRunner for Roll {
    fn run(&self, assignment: Assignment, control: Control) -> Result<Outcome, RunError> {
        let (rank, me) = (assignment.rank, &assignment.peers[assignment.rank.0 as usize]);
        assert_eq!(me.address, assignment.listener.local_addr().unwrap().to_string());
        self.seen.lock().unwrap().push((rank, me.worker));
        control.ready_and_wait_start(Restored::start()).map_err(|aborted| RunError::aborted(&aborted))?;
        self.all.wait();
        Ok(Outcome::Finished { summary: json!(null) })
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_rank_is_held_by_one_worker_and_knows_all_peers() {
    let coordinator = coordinator(settings()).await;
    let runner = Arc::new(Roll { seen: Mutex::default(), all: Barrier::new(4) });
    let workers = ["a", "b", "c", "d"].map(|name| worker(&coordinator.url, name, Arc::clone(&runner) as _));
    let client = client(&coordinator.url).await;
    let job = client.submit(&submission("roll", 4)).await.unwrap();
    until(&mut client.watch(job, 0), finished).await;
    let mut seen = runner.seen.lock().unwrap().clone();
    seen.sort();
    let (ranks, mut holders): (Vec<Rank>, Vec<WorkerId>) = seen.into_iter().unzip();
    assert_eq!(ranks, [0, 1, 2, 3].map(Rank));
    holders.dedup();
    assert_eq!(holders.len(), 4);
    for worker in workers {
        worker.stop().await.unwrap();
    }
    coordinator.running.stop().await.unwrap();
}
