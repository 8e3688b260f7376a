//! A coordinator and workers on ports of their own, whose jobs do what a test tells them.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use muster_coordinator::{Config, Error as ServeError, Settings, serve};
use muster_proto::auth::Token;
use muster_proto::control::{DeviceKind, EventKind, JobEvent, Queueing, Submission, WorkerStatus};
use muster_proto::ids::WorldSize;
use muster_proto::rpc::{JobClient, Target, Watch};
use muster_worker::agent::{self, AgentConfig, JobRunner};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// Long enough for a busy machine; only failing tests wait for it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Short, so that tests of failures end soon; long enough for a busy machine not to lose workers by itself.
pub(crate) const FAILURE_DETECTION: Duration = Duration::from_secs(2);

/// What is told to end by dropping or by [`Running::stop`].
pub(crate) struct Running<E> {
    stop: oneshot::Sender<()>,
    task: JoinHandle<Result<(), E>>,
}

impl<E: std::fmt::Debug> Running<E> {
    /// Ends in order.
    pub(crate) async fn stop(self) -> Result<(), E> {
        // It may have ended by itself.
        let _ = self.stop.send(());
        within(self.task).await.unwrap()
    }

    /// Waits for an end that comes by itself.
    pub(crate) async fn ended(self) -> Result<(), E> {
        within(self.task).await.unwrap()
    }

    /// Cuts it off where it is, as a crash would.
    pub(crate) async fn crash(self) {
        self.task.abort();
        assert!(within(self.task).await.unwrap_err().is_cancelled());
    }
}

/// A coordinator and how to reach it.
pub(crate) struct Coordinator {
    pub(crate) url: String,
    pub(crate) address: SocketAddr,
    pub(crate) running: Running<ServeError>,
}

pub(crate) fn settings() -> Settings {
    let failure_detection_seconds = Some(FAILURE_DETECTION.as_secs_f64());
    Settings { failure_detection_seconds, ..Settings::default() }
}

pub(crate) async fn coordinator(settings: Settings) -> Coordinator {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    coordinator_on(settings.check().unwrap(), listener)
}

pub(crate) fn coordinator_on(config: Config, listener: TcpListener) -> Coordinator {
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = oneshot::channel();
    let task = tokio::spawn(serve(config, listener, async { drop(stopped.await) }));
    Coordinator { url: format!("http://{address}"), address, running: Running { stop, task } }
}

pub(crate) fn target(url: &str, token: Option<Token>) -> Target {
    Target { url: url.into(), token, deadline: PATIENCE }
}

pub(crate) async fn client(url: &str) -> JobClient {
    JobClient::connect(target(url, None)).await.unwrap()
}

pub(crate) fn agent_config(url: &str, name: &str) -> AgentConfig {
    AgentConfig {
        coordinator: url.into(),
        token: None,
        name: name.to_owned(),
        host: "localhost".into(),
        listener: std::net::TcpListener::bind("127.0.0.1:0").unwrap(),
        advertise: None,
        threads: 1,
        memory_bytes: 1 << 30,
        device: DeviceKind::Cpu,
        gpu: None,
        numerics: "test".into(),
        register_deadline: PATIENCE,
    }
}

pub(crate) fn worker(url: &str, name: &str, runner: Arc<dyn JobRunner>) -> Running<agent::Error> {
    worker_with(agent_config(url, name), runner)
}

pub(crate) fn worker_with(config: AgentConfig, runner: Arc<dyn JobRunner>) -> Running<agent::Error> {
    let (stop, stopped) = oneshot::channel();
    let task = tokio::spawn(agent::run(config, runner, async { drop(stopped.await) }));
    Running { stop, task }
}

pub(crate) fn submission(name: &str, world_size: u32) -> Submission {
    Submission {
        name: name.to_owned(),
        spec_toml: "seed = 1".into(),
        dataset_dir: "data".into(),
        run_dir: "run".into(),
        world_size: WorldSize(world_size),
        micro_batches: 8,
        tables: Vec::new(),
        reproducible: true,
        device: None,
        numerics: None,
        min_workers: 1,
        queueing: Queueing::default(),
        forecast: None,
    }
}

/// Waits for an event that `found` takes; every event before it.
pub(crate) async fn until<T>(
    watch: &mut Watch,
    found: impl Fn(&EventKind) -> Option<T>,
) -> (Vec<JobEvent>, T) {
    let mut before = Vec::new();
    loop {
        let event = within(watch.next()).await;
        let event = event.unwrap_or_else(|| panic!("the job ended first: {before:?}")).unwrap();
        if let Some(found) = found(&event.kind) {
            return (before, found);
        }
        before.push(event);
    }
}

/// Waits until the workers are as `wanted`.
pub(crate) async fn workers_are(
    client: &JobClient,
    wanted: impl Fn(&[WorkerStatus]) -> bool,
) -> Vec<WorkerStatus> {
    let waiting = async {
        loop {
            let workers = client.workers().await.unwrap();
            if wanted(&workers) {
                return workers;
            }
            tokio::task::yield_now().await;
        }
    };
    within(waiting).await
}

/// Fails a test that would hang.
pub(crate) async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.expect("the test hangs")
}
