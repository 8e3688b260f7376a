//! What a cluster of N workers costs its coordinator: N sessions of one heartbeat a second, each on its own connection;
//! then a job on all but one of them, which loses a worker and goes on with the spare.
//!
//! `cargo bench -p muster-coordinator --bench sessions -- 500 5000` prints, in Markdown, a row for each N and curves; with `--store embedded` the
//! coordinator keeps its state on the disk. The coordinator is a process of its own (this program again), the workers
//! are this one.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a measurement that cannot be made ends")]

mod coordinator;
mod generation;
mod report;
mod session;

use std::sync::Arc;
use std::time::Duration;

use muster_proto::ids::WorkerId;
use muster_proto::rpc::Target;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use self::coordinator::{Coordinator, SERVE, coordinate};
use self::generation::change;
use self::report::Row;
use self::session::{Crowd, Session, open, run};

/// How long all sessions run before anything is counted, and while it is.
const WARM_UP: Duration = Duration::from_secs(3);
const MEASURED: Duration = Duration::from_secs(15);

/// From which a worker's keepalive derives. Longer than workers have it: thousands of them that read the list of all at
/// the same moment, on two cores, would take the others' silence for a broken connection. The coordinator still expects
/// a heartbeat in every five seconds.
const DEADLINE: Duration = Duration::from_secs(30);

/// Connections that are opened at a time.
const OPENED_AT_ONCE: usize = 64;

fn main() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    if std::env::var_os(SERVE).is_some() {
        return runtime.block_on(coordinate());
    }
    let args: Vec<String> = std::env::args().collect();
    let counts: Vec<usize> = args.iter().filter_map(|arg| arg.parse().ok()).collect();
    let counts = if counts.is_empty() { vec![100, 1000] } else { counts };
    let folder = tempfile::tempdir().unwrap();
    let embedded = args.iter().any(|arg| arg == "embedded");
    let mut rows = Vec::new();
    for workers in counts {
        let file = folder.path().join(workers.to_string());
        let store = if embedded { format!("embedded:{}", file.display()) } else { "memory".to_owned() };
        rows.push(runtime.block_on(measure(workers, &store)));
    }
    report::print(&rows);
}

async fn measure(workers: usize, store: &str) -> Row {
    let coordinator = Coordinator::start(store);
    let begun = Instant::now();
    let url = coordinator.url.as_str().into();
    let target = Target { url, token: None, deadline: DEADLINE };
    let (victim, watched) = watch::channel(None);
    let crowd = Crowd { latencies: Arc::default(), seen: Arc::default(), victim: watched };
    let mut sessions = JoinSet::new();
    let oldest = open_all(workers, &target, &crowd, &mut sessions).await;
    let opened = begun.elapsed();
    undisturbed(&mut sessions, WARM_UP).await;
    crowd.latencies.lock().unwrap().clear();
    let (cpu, events) = (coordinator.cpu(), coordinator.metric("muster_events_total").await);
    let begun = Instant::now();
    undisturbed(&mut sessions, MEASURED).await;
    let seconds = begun.elapsed().as_secs_f64();
    let mut latencies = std::mem::take(&mut *crowd.latencies.lock().unwrap());
    let cpu = (coordinator.cpu() - cpu) / seconds;
    let events = (coordinator.metric("muster_events_total").await - events) / seconds;
    assert_eq!(coordinator.metric("muster_sessions").await as usize, workers, "sessions were lost");
    latencies.sort_unstable();
    let latency = [0.5, 0.99, 1.0].map(|share| latencies[((latencies.len() - 1) as f64 * share) as usize]);
    let victims = (&victim, oldest);
    let generations = change(&coordinator, &target, workers - 1, &crowd.seen, victims).await;
    let memory_mib = coordinator.memory();
    sessions.shutdown().await;
    coordinator.end();
    Row { workers, opened, latency, cpu, memory_mib, events, generations }
}

/// Opens all sessions and lets them run; the worker that is known for longest, which gets a rank of any job.
async fn open_all(workers: usize, target: &Target, crowd: &Crowd, sessions: &mut JoinSet<()>) -> WorkerId {
    let mut oldest = WorkerId(u64::MAX);
    let mut opening = JoinSet::new();
    let mut numbers = 0..workers;
    loop {
        let room = OPENED_AT_ONCE - opening.len();
        numbers.by_ref().take(room).for_each(|number| drop(opening.spawn(open(number, target.clone()))));
        let Some(session) = opening.join_next().await else { return oldest };
        let session: Session = session.unwrap();
        oldest = oldest.min(session.registration.worker);
        sessions.spawn(run(sessions.len(), session, crowd.clone()));
    }
}

/// Lets the sessions run; none may end.
async fn undisturbed(sessions: &mut JoinSet<()>, time: Duration) {
    let ended = timeout(time, sessions.join_next()).await;
    assert!(ended.is_err(), "a session ended: {ended:?}");
}
