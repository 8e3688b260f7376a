//! A small dataset, a small job, and ranks on threads with real collectives between them.

#![allow(clippy::unwrap_used, reason = "a failed helper fails its test")]
#![allow(dead_code, reason = "each test file uses its part of the support")]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::time::Duration;

use muster_collective::{AbortHandle, Collective, Config, Transport, connect};
use muster_data::{PrepareArgs, prepare};
use muster_kernels::cuda::{Device, Settings};
use muster_proto::checkpoint::Writer;
use muster_proto::config;
use muster_proto::dataset::DatasetSpec;
use muster_proto::ids::Rank;
use muster_proto::job::JobSpec;
use muster_proto::sharding::{ShardingPlan, TableDecl};
use muster_worker::checkpoint::Location;
use muster_worker::train::{End, Finished, Hooks, Kept, Place, Progress, Setup, Trainer, train};
use tempfile::TempDir;

const DATASET: &str = "name = \"small\"\ninput = \"log.csv\"\nformat = \"csv\"\npartitions = 16\n\
    [columns]\nuser = \"user\"\nitem = \"item\"\ntime = \"time\"\ncategory = \"category\"\nrating = \"rating\"\n\
    numeric = [\"clicked\"]\n";

const JOB: &str = "name = \"small\"\n[batch]\nsequences = 12\nscore_block = 7\nmax_len = 6\n[model]\nembedding_dim = 8\n\
    hidden_size = 8\n[training]\nepochs = 2\nlog_every = 3\n[evaluation]\nks = [1, 5]\n";

/// A dataset of 60 users and 37 items with ties in popularity, short and long histories.
pub(crate) fn dataset() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let mut log = String::from("user,item,time,category,rating,clicked\n");
    let mut state = 7_u64;
    let mut next = |below: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % below
    };
    for user in 0..60 {
        for event in 0..(1 + next(14)) {
            let item = (next(6) * next(7) + next(3)).min(36);
            let (category, rating, clicked) = (item % 5, 1 + next(5), next(2));
            let time = 1_400_000_000 + user * 1000 + event * 60;
            writeln!(log, "u{user},i{item},{time},c{category},{rating},{clicked}").unwrap();
        }
    }
    prepare_text(folder.path(), DATASET, &[("log.csv", &log)]);
    folder
}

/// A dataset of 40 users and 900 items, of which a small batch touches few.
pub(crate) fn wide_dataset() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let mut log = String::from("user,item,time,category,rating,clicked\n");
    for event in 0..900_u64 {
        let (user, item, time) = (event % 40, event * 7 % 900, 1_400_000_000 + event * 60);
        let (category, rating, clicked) = (item % 5, 1 + item % 4, event % 2);
        writeln!(log, "u{user},i{item},{time},c{category},{rating},{clicked}").unwrap();
    }
    prepare_text(folder.path(), DATASET, &[("log.csv", &log)]);
    folder
}

/// A job over the wide dataset that touches few rows a step, with `text` laid over it.
pub(crate) fn wide_job(text: &str) -> JobSpec {
    let mut base: toml::Table = WIDE_JOB.parse().unwrap();
    merge(&mut base, text.parse().unwrap());
    job(&toml::to_string(&base).unwrap())
}

const WIDE_JOB: &str = "[batch]\nsequences = 4\nmicro_batches = 4\nmax_len = 3\n[training]\nmax_steps = 8\n\
    [model.head.sampled_softmax]\nnegatives = 3\n[table_optimizer]\nkind = \"lazy_adam\"\nlr = 0.01\n";

/// Prepares files and a dataset spec in `folder`; the dataset is in `folder` itself under `data`.
pub(crate) fn prepare_text(folder: &Path, spec: &str, files: &[(&str, &str)]) {
    for (name, text) in files {
        std::fs::write(folder.join(name), text).unwrap();
    }
    let spec: DatasetSpec = config::parse(spec, "dataset.toml", &[]).unwrap();
    let out = folder.join("data");
    let args = PrepareArgs { spec: &spec, base: folder, out: &out, threads: 2, variables: &|_| None };
    prepare(&args).unwrap();
}

/// The small job with `text` laid over it.
pub(crate) fn job(text: &str) -> JobSpec {
    let mut base: toml::Table = JOB.parse().unwrap();
    merge(&mut base, text.parse().unwrap());
    config::parse(&toml::to_string(&base).unwrap(), "job.toml", &[]).unwrap()
}

fn merge(base: &mut toml::Table, over: toml::Table) {
    for (key, value) in over {
        match (base.get_mut(&key), value) {
            (Some(toml::Value::Table(base)), toml::Value::Table(over)) => merge(base, over),
            (_, value) => drop(base.insert(key, value)),
        }
    }
}

/// Ranks on threads.
#[derive(Debug, Clone)]
pub(crate) struct Cluster {
    pub(crate) world: usize,
    pub(crate) threads: usize,
    pub(crate) transport: Transport,
    pub(crate) generation: u64,
    /// Whether all ranks train on the first GPU.
    pub(crate) on_gpu: bool,
    /// The plan for a job's tables, its micro-batches and a number of ranks.
    pub(crate) plan: fn(&[TableDecl], u32, u32) -> ShardingPlan,
}

impl Cluster {
    pub(crate) fn new(world: usize) -> Self {
        let plan = |tables: &[TableDecl], m, world| ShardingPlan::simple(tables, m, world).unwrap();
        Self { world, threads: 1, transport: Transport::Auto, generation: 1, on_gpu: false, plan }
    }

    /// Trains the job on all ranks and returns rank 0's result.
    pub(crate) fn train(&self, folder: &Path, job: &JobSpec, run_dir: Option<&Path>) -> Finished {
        self.run(folder, job, run_dir, &Drain(None))
    }

    /// As `train`, with every rank asked to drain after `steps` of its own steps.
    pub(crate) fn train_until(&self, folder: &Path, job: &JobSpec, run_dir: &Path, steps: u64) -> Finished {
        self.run(folder, job, Some(run_dir), &Drain(Some(steps)))
    }

    fn run(&self, folder: &Path, job: &JobSpec, run_dir: Option<&Path>, drain: &Drain) -> Finished {
        let place = Place {
            run: run_dir.map(|dir| Location::of(dir).unwrap()),
            writer: Writer { generation: self.generation, incarnation: 1 },
            keep: 2,
        };
        self.run_at(folder, job, (&place, run_dir), drain)
    }

    /// Trains the job on all ranks from its beginning, with checkpoints at `place`.
    pub(crate) fn train_at(&self, folder: &Path, job: &JobSpec, place: &Place) -> Finished {
        self.run_at(folder, job, (place, None), &Drain(None))
    }

    fn run_at(
        &self,
        folder: &Path,
        job: &JobSpec,
        (place, resumed): (&Place, Option<&Path>),
        drain: &Drain,
    ) -> Finished {
        let mut results = self.on_ranks(|mut collective| {
            let mut trainer = self.trainer(folder, job, &mut *collective);
            match resumed.and_then(|run_dir| muster_worker::checkpoint::find(run_dir, false).ok()) {
                Some(reader) => trainer.resume(&reader).unwrap(),
                None => drop(muster_worker::warm_start::begin(&mut trainer, &mut *collective).unwrap()),
            }
            if self.on_gpu {
                trainer.move_to(Device::open(Settings::of(0)).unwrap()).unwrap();
            }
            collective.barrier().unwrap();
            let (mut copies, memory) = Default::default();
            let kept = Kept { copies: &mut copies, memory };
            let mut hooks = Quiet { steps: 0, drain: drain.0 };
            match train(&mut trainer, place, kept, &mut hooks, &mut *collective).unwrap() {
                End::Finished(finished) => *finished,
                End::Yielded { step } => panic!("nobody asked to yield, at step {step}"),
            }
        });
        results.remove(0)
    }

    pub(crate) fn trainer(&self, folder: &Path, job: &JobSpec, collective: &mut dyn Collective) -> Trainer {
        let world = self.world as u32;
        let mut setup = Setup::open(job.clone(), &folder.join("data"), None, world, self.threads).unwrap();
        setup.plan = (self.plan)(&setup.tables, job.batch.micro_batches, world);
        setup.plan.check(&setup.tables).unwrap();
        setup.build(collective).unwrap()
    }

    /// Runs `f` on each rank with its collective.
    pub(crate) fn on_ranks<T: Send>(&self, f: impl Fn(Box<dyn Collective>) -> T + Sync) -> Vec<T> {
        let listeners: Vec<TcpListener> =
            (0..self.world).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
        let peers: Vec<SocketAddr> = listeners.iter().map(|l| l.local_addr().unwrap()).collect();
        let one = |rank: usize, listener: &TcpListener| {
            let collective = connect(Config {
                rank,
                world_size: self.world,
                job: "test".into(),
                generation: self.generation,
                secret: [7; 16],
                listener,
                peers: peers.clone(),
                timeout: Duration::from_secs(60),
                silence: Duration::from_secs(60),
                max_message: Config::DEFAULT_MAX_MESSAGE,
                transport: self.transport,
                abort: AbortHandle::new().unwrap(),
            });
            f(collective.unwrap())
        };
        std::thread::scope(|scope| {
            let one = &one;
            let ranks: Vec<_> =
                listeners.iter().enumerate().map(|(rank, l)| scope.spawn(move || one(rank, l))).collect();
            ranks.into_iter().map(|rank| rank.join().unwrap()).collect()
        })
    }
}

struct Drain(Option<u64>);

struct Quiet {
    steps: u64,
    drain: Option<u64>,
}

impl Hooks for Quiet {
    fn progress(&mut self, _: &Progress) {}
    fn validated(&mut self, _: u32, _: u64, _: &BTreeMap<String, f64>) {}
    fn saved(&mut self, _: u64, _: usize, _: u64, _: Option<&PathBuf>) {}
    fn drain(&mut self) -> bool {
        self.steps += 1;
        self.drain.is_some_and(|after| self.steps >= after)
    }
    fn checkpoint(&mut self) -> bool {
        false
    }
    fn yields(&mut self) -> Option<Vec<Rank>> {
        None
    }
    fn stepped(&mut self, _: u64, _: Duration) {}
    fn caught_up(&mut self, _: u64, _: Duration) {}
    fn aborted(&mut self) -> Option<String> {
        None
    }
}
