//! A job over all workers, and what a change of its generation costs.

use std::sync::Mutex;
use std::time::Duration;

use muster_proto::control::{Directive, Queueing, Submission};
use muster_proto::ids::{WorkerId, WorldSize};
use muster_proto::rpc::{JobClient, Target};
use muster_proto::sharding::TableDecl;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, timeout};

use crate::coordinator::Coordinator;

/// Longest that a generation may take to begin.
const PATIENCE: Duration = Duration::from_secs(120);

/// Tables of the job, each cut into as many blocks as most jobs do.
const TABLES: u32 = 26;
const ROW_BLOCKS: u32 = 64;

/// What ranks were told so far, in the generation at hand.
#[derive(Default)]
pub(crate) struct Seen {
    told: Mutex<Told>,
    changed: Notify,
}

#[derive(Debug, Clone, Copy, Default)]
struct Told {
    generation: u64,
    /// Ranks that were told of the generation, and that all are ready.
    prepared: usize,
    started: usize,
    last_prepared: Option<Instant>,
    last_started: Option<Instant>,
    /// All that the generation's ranks were told, aborts of the one before among it.
    bytes: usize,
}

impl Seen {
    pub(crate) fn note(&self, directive: &Directive, bytes: usize) {
        let mut told = self.told.lock().unwrap();
        told.bytes += bytes;
        match directive {
            Directive::Prepare(prepare) => {
                if prepare.fence.generation.0 > told.generation {
                    *told =
                        Told { generation: prepare.fence.generation.0, bytes: told.bytes, ..Told::default() };
                }
                told.prepared += 1;
                told.last_prepared = Some(Instant::now());
            }
            Directive::Start { fence } if fence.generation.0 == told.generation => {
                told.started += 1;
                told.last_started = Some(Instant::now());
            }
            _ => {}
        }
        self.changed.notify_one();
    }

    /// Waits until all `ranks` of `generation` have begun.
    async fn begun(&self, generation: u64, ranks: usize) -> Told {
        let all = async {
            loop {
                let told = *self.told.lock().unwrap();
                if told.generation == generation && told.started == ranks {
                    return told;
                }
                self.changed.notified().await;
            }
        };
        match timeout(PATIENCE, all).await {
            Ok(told) => told,
            Err(_) => panic!("generation {generation} did not begin: {:?}", self.told.lock().unwrap()),
        }
    }
}

/// What a generation took.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Took {
    /// Until the last rank was told of it.
    pub(crate) announced: Duration,
    /// Until the last rank was told that all are ready.
    pub(crate) begun: Duration,
    /// Of the coordinator.
    pub(crate) cpu: Duration,
    /// All that ranks were told.
    pub(crate) bytes: usize,
}

/// Begins a job on `ranks` of the workers and kills the worker `victim`, which has one: what both generations took.
pub(crate) async fn change(
    coordinator: &Coordinator,
    target: &Target,
    ranks: usize,
    seen: &Seen,
    victims: (&watch::Sender<Option<WorkerId>>, WorkerId),
) -> [Took; 2] {
    let client = JobClient::connect(target.clone()).await.unwrap();
    let (cpu, begun) = (coordinator.cpu(), Instant::now());
    client.submit(&submission(ranks)).await.unwrap();
    let told = seen.begun(1, ranks).await;
    let first = took(told, begun, coordinator.cpu() - cpu);
    seen.told.lock().unwrap().bytes = 0;
    let (cpu, begun) = (coordinator.cpu(), Instant::now());
    victims.0.send(Some(victims.1)).unwrap();
    let told = seen.begun(2, ranks).await;
    [first, took(told, begun, coordinator.cpu() - cpu)]
}

fn took(told: Told, begun: Instant, cpu: f64) -> Took {
    let since = |moment: Option<Instant>| moment.unwrap().duration_since(begun);
    Took {
        announced: since(told.last_prepared),
        begun: since(told.last_started),
        cpu: Duration::from_secs_f64(cpu),
        bytes: told.bytes,
    }
}

fn submission(ranks: usize) -> Submission {
    let table = |number: u32| TableDecl {
        name: format!("table-{number:02}"),
        rows: 1_000_000,
        dim: 64,
        row_blocks: ROW_BLOCKS,
        bias: false,
        placement: None,
        columns: None,
    };
    Submission {
        name: "bench".into(),
        spec_toml: "seed = 1\n".repeat(100),
        dataset_dir: "/data".into(),
        run_dir: "/run".into(),
        world_size: WorldSize(ranks as u32),
        micro_batches: ROW_BLOCKS,
        tables: (0..TABLES).map(table).collect(),
        reproducible: true,
        device: None,
        numerics: None,
        min_workers: 1,
        queueing: Queueing::default(),
        forecast: None,
    }
}
