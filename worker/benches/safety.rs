//! What copies in memory and checkpoints cost in throughput, without any failure: `cargo bench -p muster-worker --bench
//! safety -- sparse|full [--repetitions N] [--steps N] [--every N] [--items N]`.
//!
//! Two ranks of one thread each train a job without either, with copies, with copies and increments, and with copies and
//! full checkpoints, in turn, so that what else the machine does meets all four. `sparse` has a table of a million items
//! by 64 under a sampled loss with row-wise Adagrad, `full` a softmax over 20,000 items with Adam. Half of the events are
//! of items drawn evenly, which touches more rows than a real log does. Prints one JSON line a run, and a last one with
//! the median ratios. Without arguments (as CI calls it) it does nothing.

#![allow(clippy::print_stdout, reason = "a benchmark prints its figures")]

use std::collections::BTreeMap;
use std::io::{BufWriter, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use muster_collective::{AbortHandle, Collective, Config, Transport, connect};
use muster_data::{PrepareArgs, prepare};
use muster_proto::checkpoint::Writer;
use muster_proto::config;
use muster_proto::ids::Rank;
use muster_proto::job::JobSpec;
use muster_worker::checkpoint::Location;
use muster_worker::copies::Copies;
use muster_worker::train::{End, Finished, Hooks, Kept, Place, Progress, Setup, train};

const WORLD: usize = 2;
const MODES: [&str; 4] = ["neither", "copies", "copies_and_increments", "copies_and_full"];

struct Options {
    sparse: bool,
    repetitions: usize,
    steps: u64,
    every: u64,
    items: u64,
}

fn main() -> anyhow::Result<()> {
    let args: Vec<String> = std::env::args().skip(1).filter(|a| a != "--bench").collect();
    let [kind, rest @ ..] = args.as_slice() else { return Ok(()) };
    let sparse = kind == "sparse";
    let items = if sparse { 1_000_000 } else { 20_000 };
    let mut options = Options { sparse, repetitions: 3, steps: 60, every: 20, items };
    for pair in rest.chunks_exact(2) {
        match pair[0].as_str() {
            "--repetitions" => options.repetitions = pair[1].parse()?,
            "--steps" => options.steps = pair[1].parse()?,
            "--every" => options.every = pair[1].parse()?,
            "--items" => options.items = pair[1].parse()?,
            other => anyhow::bail!("unknown option {other}"),
        }
    }
    let folder = tempfile::tempdir()?;
    log_of(options.items, folder.path())?;
    let mut ratios: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
    for _ in 0..options.repetitions {
        let mut alone = 0.0;
        for mode in MODES {
            let pace = one_run(mode, &options, folder.path())?;
            if mode == "neither" {
                alone = pace;
            }
            ratios.entry(mode).or_default().push(pace / alone);
        }
    }
    let median = |values: &mut Vec<f64>| {
        values.sort_by(f64::total_cmp);
        values[values.len() / 2]
    };
    let medians: BTreeMap<_, _> =
        ratios.iter_mut().map(|(mode, of)| (*mode, (median(of), of[0], of[of.len() - 1]))).collect();
    println!("{}", serde_json::json!({ "throughput_to_neither": { "median_least_most": medians } }));
    Ok(())
}

/// Trains in one mode; prints what it took and returns steps a second.
fn one_run(mode: &str, options: &Options, folder: &Path) -> anyhow::Result<f64> {
    let job: JobSpec = config::parse(&job_of(mode, options), "job.toml", &[])?;
    let run = tempfile::tempdir_in(folder)?;
    let place = Place {
        run: mode.starts_with("copies_and").then(|| Location::of(run.path())).transpose()?,
        writer: Writer { generation: 1, incarnation: 1 },
        keep: 2,
    };
    let listeners: Vec<TcpListener> =
        (0..WORLD).map(|_| TcpListener::bind("127.0.0.1:0")).collect::<Result<_, _>>()?;
    let peers: Vec<SocketAddr> = listeners.iter().map(TcpListener::local_addr).collect::<Result<_, _>>()?;
    let results = std::thread::scope(|scope| {
        let rank = |rank: usize| {
            let (job, place, listener, peers) = (&job, &place, &listeners[rank], &peers);
            scope.spawn(move || rank_of(rank, listener, peers, job, place, (options, folder)))
        };
        let ranks: Vec<_> = (0..WORLD).map(rank).collect();
        ranks.into_iter().map(|rank| rank.join().expect("a rank returns its error")).collect::<Vec<_>>()
    });
    let (finished, clock) = results.into_iter().next().expect("there are ranks")?;
    let seconds = clock.end.duration_since(clock.begin).as_secs_f64();
    let pace = options.steps as f64 / seconds;
    let spent = |spent: muster_worker::copies::Spent| serde_json::json!({ "count": spent.count, "bytes": spent.bytes, "seconds": spent.time.as_secs_f64() });
    println!(
        "{}",
        serde_json::json!({
            "mode": mode, "steps_per_second": pace, "window_seconds": seconds, "copies": spent(finished.copies),
            "checkpoints": spent(finished.checkpoints), "bytes_of_checkpoints": clock.saved,
        })
    );
    Ok(pace)
}

fn rank_of(
    rank: usize,
    listener: &TcpListener,
    peers: &[SocketAddr],
    job: &JobSpec,
    place: &Place,
    (options, folder): (&Options, &Path),
) -> anyhow::Result<(Finished, Clock)> {
    let mut collective: Box<dyn Collective> = connect(Config {
        rank,
        world_size: WORLD,
        job: "bench".into(),
        generation: 1,
        secret: [0; 16],
        listener,
        peers: peers.to_vec(),
        timeout: Duration::from_secs(120),
        silence: Duration::from_secs(60),
        max_message: Config::DEFAULT_MAX_MESSAGE,
        transport: Transport::Auto,
        abort: AbortHandle::new()?,
    })?;
    let setup = Setup::open(job.clone(), &folder.join("data"), None, WORLD as u32, 1)?;
    let mut trainer = setup.build(&mut *collective)?;
    // The first copy and the first checkpoint, which are of the whole model in every mode, come before the window.
    let first = options.every + 2;
    let now = Instant::now();
    let mut clock =
        Clock { steps: 0, first, last: first + options.steps, begin: now, end: now, saved: Vec::new() };
    let mut copies = Copies::default();
    let kept = Kept { copies: &mut copies, memory: Default::default() };
    match train(&mut trainer, place, kept, &mut clock, &mut *collective)? {
        End::Finished(finished) => Ok((*finished, clock)),
        End::Yielded { step } => anyhow::bail!("yielded at step {step}, which nobody asked for"),
    }
}

/// Times the steps between two of them and ends the run after the later.
struct Clock {
    steps: u64,
    first: u64,
    last: u64,
    begin: Instant,
    end: Instant,
    saved: Vec<u64>,
}

impl Hooks for Clock {
    fn progress(&mut self, _: &Progress) {}
    fn validated(&mut self, _: u32, _: u64, _: &BTreeMap<String, f64>) {}
    fn saved(&mut self, _: u64, _: usize, bytes: u64, _: Option<&PathBuf>) {
        self.saved.push(bytes);
    }
    fn drain(&mut self) -> bool {
        if self.steps == self.first {
            self.begin = Instant::now();
        }
        if self.steps == self.last {
            self.end = Instant::now();
        }
        self.steps += 1;
        self.steps > self.last
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

fn job_of(mode: &str, options: &Options) -> String {
    let (head, optimizer) = match options.sparse {
        true => ("sampled_softmax]\nnegatives = 64", "row_wise_adagrad"),
        false => ("softmax]", "adam"),
    };
    let copies = mode != "neither";
    let below = if mode == "copies_and_full" { "0.0" } else { "0.5" };
    let every = match mode.starts_with("copies_and") {
        true => format!("every_steps = {}", options.every),
        false => String::new(),
    };
    format!(
        "name = \"bench\"\n[batch]\nsequences = 128\nmax_len = 40\n[model]\nembedding_dim = 64\nhidden_size = 256\nprojection = 64\n\
         [model.head.{head}\n[table_optimizer]\nkind = \"{optimizer}\"\nlr = 0.01\n[training]\nepochs = 1000\n\
         validate_every = 1000\nlog_every = 1000\n[checkpoint]\nevery_epochs = 100000\nmemory_copies = {copies}\n\
         incremental_below = {below}\n{every}\n"
    )
}

/// A log in which each item occurs, and as many events again go to popular ones, prepared under `data`.
fn log_of(items: u64, folder: &Path) -> anyhow::Result<()> {
    let mut log = BufWriter::new(std::fs::File::create(folder.join("log.csv"))?);
    writeln!(log, "user,item,time")?;
    // Odd, so that each user has both kinds of events.
    let users = (items / 20).max(4_000) | 1;
    let mut state = 7_u64;
    for event in 0..items.max(users * 20) * 2 {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let draw = (state >> 11) as f64 / (1_u64 << 53) as f64;
        // Log-uniform ranks have frequencies that fall as Zipf's do.
        let popular = (items as f64).powf(draw) as u64;
        let item = if event % 2 == 0 { event / 2 * 7_919 % items } else { popular.min(items - 1) };
        writeln!(log, "u{},i{item},{}", event % users, 1_400_000_000 + event)?;
    }
    log.flush()?;
    drop(log);
    let spec = "name = \"bench\"\ninput = \"log.csv\"\nformat = \"csv\"\npartitions = 8\n[columns]\nuser = \"user\"\n\
                item = \"item\"\ntime = \"time\"\n";
    let spec = config::parse(spec, "dataset.toml", &[])?;
    let out = folder.join("data");
    prepare(&PrepareArgs { spec: &spec, base: folder, out: &out, threads: 2, variables: &|_| None })?;
    Ok(())
}
