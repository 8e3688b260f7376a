//! Work that a command spreads over workers: its units become tasks of a coordinator, and what they came to comes back.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::hash::{BuildHasher as _, RandomState};
use std::path::Path;
use std::time::Duration;

use muster_data::prepare::Dealer;
use muster_proto::auth::Token;
use muster_proto::control::{PrepareUnit, TaskStage, TaskWork, Unit};
use muster_proto::ids::TaskOwner;
use muster_proto::rpc::{self, Target, TaskClient};
use serde_json::Value;
use tokio::runtime::Runtime;
use tokio::time::{Instant, sleep};

use crate::cluster::{self, CALL_DEADLINE, StopRequests, connect_to};
use crate::error::{Error, chain};
use crate::local::{self, LocalCluster};
use crate::progress::Progress;

/// How long a coordinator may be away before the work is given up; its successor needs a moment to take over.
const PATIENCE: Duration = Duration::from_secs(60);
/// Between two looks at tasks: at first, when one just ended, and at the most.
const PAUSES: (Duration, Duration) = (Duration::from_millis(5), Duration::from_millis(250));

/// Whose workers do the work.
#[derive(Debug)]
pub enum Workers {
    /// Those of a cluster.
    Of(String, Option<Token>),
    /// Processes of this machine, which end with the command.
    Local(local::Plan),
}

/// Workers that units of a preparation are dealt to.
pub struct Cluster<'p> {
    runtime: Runtime,
    workers: usize,
    state: RefCell<State<'p>>,
}

struct State<'p> {
    client: TaskClient,
    local: Option<LocalCluster>,
    stop: StopRequests,
    progress: &'p mut dyn Progress,
    /// What is being done.
    stage: Option<String>,
    /// The number of the next task; none is used twice.
    next: u32,
    stopped: bool,
}

impl<'p> Cluster<'p> {
    /// Reaches the workers, or starts them.
    ///
    /// # Errors
    /// Where nobody answers, or no worker can be started.
    pub fn reach(workers: Workers, progress: &'p mut dyn Progress) -> Result<Self, Error> {
        let runtime = cluster::runtime()?;
        let reached = runtime.block_on(async {
            // Before a process is started: a request to stop finds somebody who listens.
            let stop = StopRequests::listen()?;
            let (url, token, number, local) = match workers {
                Workers::Of(url, token) => {
                    let client = connect_to(&url, token.clone()).await?;
                    let usable = client.workers().await?;
                    let usable = usable.iter().filter(|worker| worker.connected && !worker.cordoned).count();
                    (url, token, usable, None)
                }
                Workers::Local(plan) => {
                    let number = plan.workers as usize;
                    let cluster = LocalCluster::start(plan).await?;
                    (cluster.url.clone(), None, number, Some(cluster))
                }
            };
            let target = Target { url: url.as_str().into(), token, deadline: CALL_DEADLINE };
            // A number that no other command draws.
            let owner = TaskOwner(RandomState::new().hash_one(std::process::id()));
            let client = TaskClient::connect(target, owner).await?;
            let state = State { client, local, stop, progress, stage: None, next: 0, stopped: false };
            Ok::<_, Error>((number.max(1), RefCell::new(state)))
        });
        let (workers, state) = reached?;
        Ok(Self { runtime, workers, state })
    }

    /// Ends the processes that were started for this.
    ///
    /// # Errors
    /// Where the coordinator among them ended badly.
    pub fn end(self) -> Result<(), Error> {
        let Self { runtime, state, .. } = self;
        let mut state = state.into_inner();
        state.leave();
        match state.local {
            Some(local) => runtime.block_on(local.stop()),
            None => Ok(()),
        }
    }
}

impl Dealer for Cluster<'_> {
    fn workers(&self) -> usize {
        self.workers
    }

    fn deal(&self, stage: &str, folder: &Path, units: Vec<Unit>) -> Result<Vec<Value>, String> {
        let folder = folder.to_str().ok_or_else(|| format!("the path {} is not UTF-8", folder.display()))?;
        let work = |unit| TaskWork::Prepare(PrepareUnit { folder: folder.to_owned(), unit });
        let mut state = self.state.borrow_mut();
        state.enter(stage, units.len() as u64);
        let first = state.next;
        let tasks: Vec<(u32, TaskWork)> = (first..).zip(units.into_iter().map(work)).collect();
        state.next += tasks.len() as u32;
        let dealt = self.runtime.block_on(state.work(tasks));
        // Where it does not get through, they are forgotten when nobody asks for them.
        let released = self.runtime.block_on(state.client.release());
        if let Err(error) = released {
            tracing::debug!(%error, "tasks could not be released");
        }
        dealt
    }

    fn is_stopped(&self) -> bool {
        self.state.borrow().stopped
    }
}

impl State<'_> {
    /// Shows a stage; the rounds of one are not shown one by one.
    fn enter(&mut self, stage: &str, units: u64) {
        if self.stage.as_deref() != Some(stage) {
            self.leave();
            self.progress.start(stage, units);
            self.stage = Some(stage.to_owned());
        }
    }

    fn leave(&mut self) {
        if self.stage.take().is_some() {
            self.progress.finish("done");
        }
    }

    /// Has tasks done; their results, in order.
    async fn work(&mut self, tasks: Vec<(u32, TaskWork)>) -> Result<Vec<Value>, String> {
        let mut open: BTreeSet<u32> = tasks.iter().map(|(number, _)| *number).collect();
        let first = open.first().copied().unwrap_or_default();
        let mut results = vec![Value::Null; tasks.len()];
        self.client.create(tasks).await.map_err(|error| chain(&error))?;
        let mut pause = PAUSES.0;
        while !open.is_empty() {
            tokio::select! {
                () = sleep(pause) => {}
                () = self.stop.next() => {
                    self.stopped = true;
                    return Err("it was stopped on request".to_owned());
                }
                lost = worker_lost(&mut self.local) => {
                    self.progress.say(&lost.text);
                    if !lost.can_go_on {
                        return Err(lost.text);
                    }
                }
            }
            let (told, before) = (self.tell(&open).await?, open.len());
            let mut given = 0;
            for task in told {
                match task.stage {
                    TaskStage::Waiting => {}
                    TaskStage::Given { .. } => given += 1,
                    TaskStage::Done { result } => {
                        open.remove(&task.number);
                        results[(task.number - first) as usize] = result;
                    }
                    TaskStage::Failed { error } => return Err(error),
                }
            }
            let done = results.len() - open.len();
            self.progress.update(done as u64, &format!("{given} at work"));
            pause = if open.len() < before { PAUSES.0 } else { (pause * 2).min(PAUSES.1) };
        }
        Ok(results)
    }

    /// How tasks stand, from whichever coordinator leads.
    async fn tell(&self, open: &BTreeSet<u32>) -> Result<Vec<muster_proto::control::TaskStatus>, String> {
        let open: Vec<u32> = open.iter().copied().collect();
        let (mut told, begun) = (Vec::new(), Instant::now());
        for some in open.chunks(TaskClient::AT_A_TIME) {
            loop {
                match self.client.tell(some).await {
                    Ok(statuses) => {
                        told.extend(statuses);
                        break;
                    }
                    Err(error) if error.is_retryable() && begun.elapsed() < PATIENCE => {
                        tracing::warn!(%error, "the coordinator is away, the work goes on");
                        sleep(PAUSES.1).await;
                    }
                    Err(error) => return Err(text(&error)),
                }
            }
        }
        Ok(told)
    }
}

fn text(error: &rpc::Error) -> String {
    chain(error)
}

/// A local worker that ended by itself.
struct Lost {
    text: String,
    can_go_on: bool,
}

/// The next local worker that ends by itself; pending for ever without a local cluster.
async fn worker_lost(local: &mut Option<LocalCluster>) -> Lost {
    let Some(local) = local else { return std::future::pending().await };
    let ended = local.ended_worker().await;
    let can_go_on = local.can_go_on();
    let mut text = format!("worker {} ended: {}", ended.number, ended.status);
    if !can_go_on {
        text = format!("{text}, and none is left; it said last:\n{}", local.log_tail(ended.number));
    }
    Lost { text, can_go_on }
}
