//! A cluster on this machine: a coordinator inside this process and worker processes beside it.
//!
//! The same code and the same sockets as on a real cluster. A worker ends with this process: each holds the read
//! end of a pipe whose other end is here, and stops when it closes, also after a kill -9.

use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use muster_coordinator::{Clock, Hooks, Settings};
use muster_proto::control::DeviceKind;
use tokio::net::TcpListener;
use tokio::process::{Child, Command};
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::timeout;

use crate::error::{Error, Kind};
use crate::logging::Level;

/// What a local cluster is made of.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Number of worker processes.
    pub workers: u32,
    /// The fewest that a job can go on with.
    pub needed: u32,
    /// Threads of each.
    pub threads: u32,
    /// What each computes on.
    pub device: DeviceKind,
    /// GPUs of this machine; workers take them in turn.
    pub gpus: usize,
    /// Log level of each.
    pub log_level: Level,
    /// Where their logs go, `worker-N.log`.
    pub log_dir: PathBuf,
}

/// A worker process that ended while the cluster was up.
#[derive(Debug, Clone)]
pub struct EndedWorker {
    /// Its number, as in the name of its log.
    pub number: usize,
    /// How it ended, for people.
    pub status: String,
}

/// A running local cluster; dropping it stops the coordinator and kills the workers.
#[derive(Debug)]
pub struct LocalCluster {
    /// The coordinator's URL.
    pub url: String,
    plan: Plan,
    stop: watch::Sender<bool>,
    report: mpsc::Sender<EndedWorker>,
    ended: mpsc::Receiver<EndedWorker>,
    alive: u32,
    workers: JoinSet<()>,
    server: JoinHandle<Result<(), muster_coordinator::Error>>,
}

/// What schedules go by on a local cluster.
#[derive(Debug, Clone, Default)]
pub struct Retraining {
    /// Their time.
    pub clock: Clock,
    /// What puts models into service.
    pub hooks: Hooks,
}

impl LocalCluster {
    /// Starts the coordinator on a free port of loopback, then the workers.
    ///
    /// # Errors
    /// Where no port is free or a worker cannot be started.
    pub async fn start(plan: Plan) -> Result<Self, Error> {
        Self::start_with(plan, Retraining::default()).await
    }

    /// The same with a time and hooks for schedules.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub async fn start_with(plan: Plan, retraining: Retraining) -> Result<Self, Error> {
        let listener = TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))
            .await
            .map_err(|error| Error::failed(format!("cannot listen on loopback: {error}")))?;
        let address = listener
            .local_addr()
            .map_err(|error| Error::failed(format!("cannot tell the port of the coordinator: {error}")))?;
        let settings = Settings {
            listen: Some(address.to_string()),
            store: Some("memory".to_owned()),
            shutdown_workers: Some(true),
            ..Settings::default()
        };
        let mut config = settings.check().map_err(|error| Error::from_chain(Kind::Failed, &error))?;
        (config.clock, config.hooks) = (retraining.clock, Arc::new(retraining.hooks));
        let (stop, stopped) = watch::channel(false);
        let server = tokio::spawn(muster_coordinator::serve(config, listener, told(stopped.clone())));
        let url = format!("http://{address}");
        fs::create_dir_all(&plan.log_dir).map_err(|error| unwritable(&plan.log_dir, &error))?;
        let (report, ended) = mpsc::channel(plan.workers.max(1) as usize);
        let mut workers = JoinSet::new();
        for number in 0..plan.workers as usize {
            let child = start_worker(&plan, number, &url)?;
            workers.spawn(supervise(number, child, report.clone(), stopped.clone()));
        }
        let alive = plan.workers;
        Ok(Self { url, plan, stop, report, ended, alive, workers, server })
    }

    /// The next worker that ends by itself; pending for as long as all are up.
    pub async fn ended_worker(&mut self) -> EndedWorker {
        match self.ended.recv().await {
            Some(ended) => {
                self.alive = self.alive.saturating_sub(1);
                ended
            }
            None => std::future::pending().await,
        }
    }

    /// Whether enough workers are left for a job to go on.
    pub fn can_go_on(&self) -> bool {
        self.alive >= self.plan.needed.max(1)
    }

    /// Starts a worker that ended again, under its number; its log goes on.
    ///
    /// # Errors
    /// Where it cannot be started.
    pub fn restart(&mut self, number: usize) -> Result<(), Error> {
        let child = start_worker(&self.plan, number, &self.url)?;
        self.workers.spawn(supervise(number, child, self.report.clone(), self.stop.subscribe()));
        self.alive += 1;
        Ok(())
    }

    /// The last lines of a worker's log.
    pub fn log_tail(&self, worker: usize) -> String {
        let text = fs::read_to_string(log_path(&self.plan.log_dir, worker)).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(5)..].join("\n")
    }

    /// Stops coordinator and workers, and waits for all of them.
    ///
    /// # Errors
    /// Where the coordinator ended badly.
    pub async fn stop(mut self) -> Result<(), Error> {
        self.stop.send_replace(true);
        while self.workers.join_next().await.is_some() {}
        match self.server.await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(Error::from_chain(Kind::Failed, &error)),
            Err(error) => Err(Error::failed(format!("the coordinator ended badly: {error}"))),
        }
    }
}

/// How long a worker may take to end after it was told to.
const STOP_DEADLINE: Duration = Duration::from_secs(5);

/// Completes when the cluster is stopped or dropped.
async fn told(mut stopped: watch::Receiver<bool>) {
    // An error is a dropped sender, which means the same.
    let _ = stopped.wait_for(|stopped| *stopped).await;
}

async fn supervise(
    number: usize,
    mut child: Child,
    report: mpsc::Sender<EndedWorker>,
    stopped: watch::Receiver<bool>,
) {
    // Held here, since `wait` closes the pipe that keeps the worker alive.
    let stdin = child.stdin.take();
    let ended = tokio::select! {
        ended = child.wait() => Some(ended),
        () = told(stopped) => None,
    };
    if let Some(ended) = ended {
        let status = ended.map_or_else(|error| error.to_string(), |status| status.to_string());
        // The channel has room for each worker once, and one that is started again was read of; it is closed only where
        // nobody asks any more.
        let _ = report.try_send(EndedWorker { number, status });
        return;
    }
    drop(stdin);
    if timeout(STOP_DEADLINE, child.wait()).await.is_err() && child.kill().await.is_err() {
        tracing::warn!(number, "worker neither ended nor could be killed");
    }
}

fn start_worker(plan: &Plan, number: usize, url: &str) -> Result<Child, Error> {
    let program = std::env::current_exe()
        .map_err(|error| Error::failed(format!("cannot find this program to start workers with: {error}")))?;
    let path = log_path(&plan.log_dir, number);
    let log =
        File::options().create(true).append(true).open(&path).map_err(|error| unwritable(&path, &error))?;
    let log_copy = log.try_clone().map_err(|error| unwritable(&path, &error))?;
    let mut command = Command::new(&program);
    command.arg("worker");
    if plan.device == DeviceKind::Cuda {
        // All GPUs stay visible to each worker, so that it can tell which of them its own reaches directly.
        command.args(["--gpu", &(number % plan.gpus.max(1)).to_string()]);
    }
    command
        .args(["--stop-with-stdin", "--coordinator", url, "--device", &plan.device.to_string()])
        .args(["--threads", &plan.threads.to_string(), "--log-level", plan.log_level.as_str()])
        .env_remove("MUSTER_TOKEN_FILE")
        .stdin(Stdio::piped())
        .stdout(log)
        .stderr(log_copy)
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| Error::failed(format!("cannot start a worker, {}: {error}", program.display())))
}

fn log_path(log_dir: &Path, worker: usize) -> PathBuf {
    log_dir.join(format!("worker-{worker}.log"))
}

fn unwritable(path: &Path, error: &std::io::Error) -> Error {
    Error::failed(format!("cannot write {}: {error}", path.display())).with_file(path)
}

/// Threads for each of `workers` processes of this machine: the cores shared out, at least one.
pub fn threads_each(workers: u32) -> u32 {
    let cores = std::thread::available_parallelism().map_or(1, |cores| cores.get() as u32);
    (cores / workers.max(1)).max(1)
}
