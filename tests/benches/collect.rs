//! `muster collect` under load and under kills: `cargo bench --workspace --bench collect -- [rate SECONDS EVENTS_PER_SECOND |
//! kills N]`. Prints one JSON line a run. Without arguments (as CI calls it) it does nothing.
//!
//! `rate`: an open load from this process, beside the collector on the same cores: each request has its moment, and its time is
//! counted from that moment on, also where the request before it was late (no coordinated omission). Over HTTP one event a
//! request, then a hundred; then as one stream of batches over gRPC as fast as it goes. `kills`: `kill -9` in the midst of
//! requests, again and again, and the files held against what was answered.

#![allow(clippy::print_stdout, reason = "a benchmark prints its figures")]

use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use muster_proto::wire;
use muster_proto::wire::collect_service_client::CollectServiceClient;
use muster_proto::wire::field_value::Value;
use muster_tests::collecting::{Collecting, Http, event, ids};
use muster_tests::folder::Folder;
use muster_tests::killing::survive;
use serde_json::json;

const MUSTER: &str = env!("CARGO_BIN_EXE_muster-under-test");

/// An open load.
#[derive(Debug, Clone, Copy)]
struct Load {
    name: &'static str,
    connections: u64,
    batch: u64,
    events_per_second: u64,
    length: Duration,
}

fn main() -> anyhow::Result<()> {
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    match words[..] {
        ["rate", seconds, events] => rate(Duration::from_secs(seconds.parse()?), events.parse()?),
        ["kills", kills] => {
            let folder = Folder::new(MUSTER);
            let started = Instant::now();
            let survived = survive(MUSTER, folder.path(), kills.parse()?, &["files.max_size=64 KiB"]);
            println!(
                "{}",
                json!({"kills": survived.kills, "acknowledged": survived.acknowledged, "written": survived.written,
                    "missing": 0, "twice": 0, "files": survived.files, "seconds": started.elapsed().as_secs_f64()})
            );
            Ok(())
        }
        [] => Ok(()),
        _ => anyhow::bail!("say `rate SECONDS EVENTS_PER_SECOND` or `kills N`"),
    }
}

fn rate(length: Duration, events_per_second: u64) -> anyhow::Result<()> {
    let single =
        Load { name: "http, one event a request", connections: 192, batch: 1, events_per_second, length };
    let hundred = Load { name: "http, 100 events a request", connections: 16, batch: 100, ..single };
    for load in [hundred, single] {
        run(load)?;
    }
    stream(length, events_per_second)
}

fn run(load: Load) -> anyhow::Result<()> {
    let folder = Folder::new(MUSTER);
    let collecting = Collecting::start(&mut Command::new(MUSTER), folder.path(), &[]);
    let shared = Shared::default();
    let started = Instant::now() + Duration::from_millis(200);
    let mut times: Vec<Duration> = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..load.connections)
            .map(|_| {
                let (shared, address) = (&shared, &collecting.address);
                scope.spawn(move || client(load, address, started, shared))
            })
            .collect();
        let all: anyhow::Result<Vec<Vec<Duration>>> = clients
            .into_iter()
            .map(|client| client.join().map_err(|_| anyhow::anyhow!("a client panicked"))?)
            .collect();
        all.map(|all| all.into_iter().flatten().collect())
    })?;
    let took = started.elapsed();
    let cpu = cpu_seconds(collecting.id());
    ensure!(collecting.end().0 == Some(0), "it did not end by itself");
    let found = ids(folder.path());
    let sent = load.requests() * load.batch;
    ensure!(found.len() as u64 == sent, "{} of {sent} events are in the files", found.len());
    ensure!(found.values().all(|times| *times == 1), "an event is there twice");
    times.sort_unstable();
    let at =
        |share: f64| times[((times.len() as f64 * share) as usize).min(times.len() - 1)].as_secs_f64() * 1e3;
    println!(
        "{}",
        json!({"load": load.name, "asked": load.events_per_second, "events_per_second": sent as f64 / took.as_secs_f64(),
            "ms": {"p50": at(0.5), "p90": at(0.9), "p99": at(0.99), "p999": at(0.999), "max": at(1.0)},
            "turned_away": shared.turned_away.load(Ordering::Relaxed), "events": sent, "collector_cpu_seconds": cpu})
    );
    Ok(())
}

/// What clients share.
#[derive(Debug, Default)]
struct Shared {
    next: AtomicU64,
    turned_away: AtomicU64,
}

impl Load {
    fn requests(self) -> u64 {
        self.length.as_secs() * self.events_per_second / self.batch
    }

    /// The time between two requests.
    fn gap(self) -> Duration {
        Duration::from_secs_f64(self.batch as f64 / self.events_per_second as f64)
    }
}

/// Sends requests at their moments until there are no more; gives what each took.
fn client(load: Load, address: &str, started: Instant, shared: &Shared) -> anyhow::Result<Vec<Duration>> {
    let (requests, gap) = (load.requests(), load.gap());
    let mut http = Http::connect(address).context("cannot connect")?;
    let mut times = Vec::new();
    loop {
        let number = shared.next.fetch_add(1, Ordering::Relaxed);
        if number >= requests {
            return Ok(times);
        }
        let body: String = (0..load.batch)
            .map(|at| number * load.batch + at)
            .map(|id| event(&id.to_string(), id % 5000, id % 997))
            .collect();
        let moment = started + gap.mul_f64(number as f64);
        std::thread::park_timeout(moment.saturating_duration_since(Instant::now()));
        loop {
            let answer = http.lines(&body)?;
            match answer.status {
                200 => break,
                429 | 503 => shared.turned_away.fetch_add(1, Ordering::Relaxed),
                other => anyhow::bail!("{other}: {}", answer.body),
            };
            std::thread::park_timeout(Duration::from_millis(100));
        }
        times.push(moment.elapsed());
    }
}

fn stream(length: Duration, events_per_second: u64) -> anyhow::Result<()> {
    let folder = Folder::new(MUSTER);
    let collecting = Collecting::start(&mut Command::new(MUSTER), folder.path(), &[]);
    let batches = length.as_secs() * events_per_second / 100;
    let url = format!("http://{}", collecting.address);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let started = Instant::now();
    let answer = runtime.block_on(async {
        let mut client = CollectServiceClient::connect(url).await?;
        let requests = (0..batches).map(|batch| wire::CollectRequest {
            events: (0..100).map(|number| message(batch * 100 + number)).collect(),
        });
        anyhow::Ok(client.collect_stream(tokio_stream::iter(requests)).await?.into_inner())
    })?;
    let took = started.elapsed();
    ensure!(answer.accepted == batches * 100, "{} of {} were taken", answer.accepted, batches * 100);
    let cpu = cpu_seconds(collecting.id());
    ensure!(collecting.end().0 == Some(0), "it did not end by itself");
    println!(
        "{}",
        json!({"load": "grpc, one stream of batches of 100", "events_per_second": answer.accepted as f64 / took.as_secs_f64(),
            "events": answer.accepted, "collector_cpu_seconds": cpu})
    );
    Ok(())
}

fn message(id: u64) -> wire::Event {
    let field = |name: &str, value: Value| (name.to_owned(), wire::FieldValue { value: Some(value) });
    let fields = [
        field("id", Value::Text(id.to_string())),
        field("user", Value::Text(format!("u{}", id % 5000))),
        field("item", Value::Integer((id % 997) as i64)),
        field("time", Value::Integer(1_700_000_000)),
        field("event", Value::Text("view".to_owned())),
    ];
    wire::Event { fields: fields.into_iter().collect() }
}

/// User and system time of a process, of clocks of 100 Hz as Linux tells them.
fn cpu_seconds(process: u32) -> f64 {
    let status = std::fs::read_to_string(Path::new("/proc").join(process.to_string()).join("stat"));
    let status = status.unwrap_or_default();
    let fields: Vec<&str> =
        status.rsplit_once(") ").map(|(_, rest)| rest.split(' ').collect()).unwrap_or_default();
    let ticks = |at: usize| fields.get(at).and_then(|ticks| ticks.parse::<f64>().ok()).unwrap_or(0.0);
    (ticks(11) + ticks(12)) / 100.0
}
