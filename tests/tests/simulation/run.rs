//! One run of a simulated cluster, from its seed to the laws that it broke.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use muster_cli::lineage::{self, Entry};
use muster_coordinator::store::MemoryStore;
use muster_coordinator::{Config, Settings, serve_on};
use muster_proto::control::{DeviceKind, JobPhase, Queueing, Submission};
use muster_proto::ids::WorldSize;
use muster_proto::rpc::{JobClient, Target};
use muster_proto::sharding::{Placement, TableDecl};
use muster_worker::agent::{self, AgentConfig};
use turmoil::{Builder, Sim};

use super::faults::Faults;
use super::mesh::{self, Door};
use super::net;
use super::trainer::Trainer;
use super::world::{MICRO_BATCHES, Planted, SHARDS, STEPS, TABLE, World, pass, undisturbed};

const WORKERS: u64 = 4;
const FAILURE_DETECTION: Duration = Duration::from_secs(1);

/// Of simulated time, after which a run that has not ended never will.
const PATIENCE: Duration = Duration::from_secs(90);

/// What came of a run.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// The laws that were broken, in words.
    pub(crate) breaches: Vec<String>,
    /// What rank 0 of each generation wrote down.
    pub(crate) log: Vec<Entry>,
}

impl Outcome {
    /// How many generations trained.
    pub(crate) fn generations(&self) -> usize {
        self.log.iter().filter(|entry| matches!(entry, Entry::Began { .. })).count()
    }
}

pub(crate) fn run_quietly() -> Outcome {
    run_with(0, None, Faults::none())
}

pub(crate) fn run(seed: u64, planted: Option<Planted>) -> Outcome {
    run_with(seed, planted, Faults::of(seed, WORKERS))
}

fn run_with(seed: u64, planted: Option<Planted>, mut faults: Faults) -> Outcome {
    let world = World { planted, ..World::default() };
    let mut sim = Builder::new()
        .rng_seed(seed)
        .tick_duration(Duration::from_millis(2))
        .simulation_duration(PATIENCE * 2)
        .min_message_latency(Duration::from_micros(200))
        .max_message_latency(Duration::from_millis(3))
        .build();
    add_coordinator(&mut sim, &world);
    (0..WORKERS).for_each(|number| add_worker(&mut sim, &world, number));
    let told = world.clone();
    sim.client("user", async move {
        let phase = use_cluster().await;
        if phase != JobPhase::Finished {
            told.breaches.lock().unwrap().push(format!("the job ended as {phase:?}"));
        }
        Ok(())
    });
    loop {
        faults.carry_out(&mut sim);
        match sim.step() {
            Ok(true) => break,
            Ok(false) if sim.elapsed() < PATIENCE => {}
            Ok(false) => {
                world.breaches.lock().unwrap().push("the job did not end".to_owned());
                break;
            }
            Err(error) => {
                world.breaches.lock().unwrap().push(format!("a process failed: {error}"));
                break;
            }
        }
    }
    drop(sim);
    judge(&world)
}

/// Holds what happened against the laws.
fn judge(world: &World) -> Outcome {
    let mut breaches = std::mem::take(&mut *world.breaches.lock().unwrap());
    let log = world.log.lock().unwrap().clone();
    breaches.extend(lineage::check(&log).iter().map(ToString::to_string));
    let expected = undisturbed();
    for model in world.ended.lock().unwrap().iter().filter(|model| **model != expected) {
        let (step, samples, digest) = (model.step, model.samples, model.digest());
        breaches.push(format!(
            "the model of step {step} after {samples} samples has digest {digest:016x}, not {:016x} after {}",
            expected.digest(),
            expected.samples
        ));
    }
    Outcome { breaches, log }
}

fn add_coordinator(sim: &mut Sim<'_>, world: &World) {
    let store = Arc::new(std::sync::Mutex::new(MemoryStore::default()));
    let forgets = world.has(Planted::StoreForgets);
    sim.host("coordinator", move || {
        let store = if forgets { MemoryStore::default() } else { store.lock().unwrap().clone() };
        async move {
            let failure_detection_seconds = Some(FAILURE_DETECTION.as_secs_f64());
            let settings = Settings { failure_detection_seconds, ..Settings::default() };
            let config: Config = settings.check()?;
            let address = SocketAddr::from(([127, 0, 0, 1], net::PORT));
            let incoming = net::incoming(net::listen(net::PORT).await?);
            serve_on(&config, store, address, incoming, std::future::pending()).await?;
            Ok(())
        }
    });
}

fn add_worker(sim: &mut Sim<'_>, world: &World, number: u64) {
    let world = world.clone();
    let name = format!("worker-{number}");
    sim.host(name.clone(), move || {
        let (world, name) = (world.clone(), name.clone());
        async move {
            let door = Door::open().await?;
            // A process that ends is started again, as a supervisor would.
            loop {
                let runner = Trainer {
                    name: name.clone(),
                    world: world.clone(),
                    door: door.clone(),
                    copies: std::sync::Mutex::default(),
                };
                // Why it ended does not matter: if it was wrong to, the job does not come to its end.
                let _ = agent::run(config(&name)?, Arc::new(runner), std::future::pending()).await;
                pass(FAILURE_DETECTION / 5).await;
            }
        }
    });
}

fn config(name: &str) -> std::io::Result<AgentConfig> {
    Ok(AgentConfig {
        coordinator: net::coordinator(),
        token: None,
        name: name.to_owned(),
        host: name.to_owned(),
        // Of no use here, but for the type: peers meet at the door.
        listener: std::net::TcpListener::bind("127.0.0.1:0")?,
        advertise: Some(format!("{name}:{}", mesh::PORT)),
        threads: 1,
        memory_bytes: 1 << 30,
        device: DeviceKind::Cpu,
        gpu: None,
        numerics: "played".into(),
        register_deadline: FAILURE_DETECTION * 10,
    })
}

/// Submits a job and follows it to its end.
async fn use_cluster() -> JobPhase {
    let target = Target { url: net::coordinator(), token: None, deadline: FAILURE_DETECTION * 2 };
    let client = loop {
        if let Ok(client) = JobClient::connect(target.clone()).await {
            break client;
        }
        pass(Duration::from_millis(50)).await;
    };
    let job = client.submit(&submission()).await.expect("nothing is broken yet");
    loop {
        pass(Duration::from_millis(200)).await;
        let client = JobClient::connect(target.clone()).await;
        let Ok(client) = client else { continue };
        let Ok(jobs) = client.jobs().await else { continue };
        match jobs.iter().find(|known| known.job == job) {
            Some(job) if job.phase.is_ended() => return job.phase,
            Some(_) => {}
            None => return JobPhase::Failed,
        }
    }
}

fn submission() -> Submission {
    Submission {
        name: "played".into(),
        spec_toml: format!("steps = {STEPS}"),
        dataset_dir: "data".into(),
        run_dir: "run".into(),
        world_size: WorldSize(3),
        micro_batches: MICRO_BATCHES,
        tables: vec![TableDecl {
            name: TABLE.into(),
            rows: 64,
            dim: 4,
            row_blocks: SHARDS,
            bias: false,
            placement: Some(Placement::RowWise),
            columns: None,
        }],
        reproducible: true,
        device: None,
        numerics: None,
        min_workers: 1,
        queueing: Queueing::default(),
        forecast: None,
    }
}
