//! Training throughput of one process, without a coordinator: `cargo bench -p muster-worker --bench train -- DATASET_DIR
//! JOB.toml [--threads N] [--steps N] [--set key=value]`. Prints one JSON line a window of steps and a last one with
//! the median. Without arguments (as CI calls it) it does nothing.

#![allow(clippy::print_stdout, reason = "a benchmark prints its figures")]

use std::path::PathBuf;
use std::time::Instant;

use muster_collective::{AbortHandle, Collective, Config, Transport, connect};
use muster_proto::config;
use muster_proto::job::JobSpec;
use muster_worker::train::Setup;

fn main() -> anyhow::Result<()> {
    let args: Vec<String> = std::env::args().skip(1).filter(|a| a != "--bench").collect();
    let [dataset, job, rest @ ..] = args.as_slice() else {
        return Ok(());
    };
    let (mut threads, mut steps, mut sets) = (2, 100, Vec::new());
    for pair in rest.chunks_exact(2) {
        match pair[0].as_str() {
            "--threads" => threads = pair[1].parse()?,
            "--steps" => steps = pair[1].parse()?,
            "--set" => sets.push(pair[1].clone()),
            other => anyhow::bail!("unknown option {other}"),
        }
    }
    let job: JobSpec = config::load(&PathBuf::from(job), &sets)?;
    let mut solo = solo()?;
    let mut trainer = Setup::open(job, &PathBuf::from(dataset), None, 1, threads)?.build(&mut *solo)?;
    let (mut rates, mut paces) = (Vec::new(), Vec::new());
    // The first steps warm buffers and caches and do not count.
    for _ in 0..5 {
        trainer.step(0, &mut *solo)?;
    }
    while (rates.len() as u64) * 10 < steps {
        let (started, mut targets, mut loss) = (Instant::now(), 0, 0.0);
        for _ in 0..10 {
            let report = trainer.step(0, &mut *solo)?;
            targets += report.targets;
            loss += report.loss / 10.0;
        }
        let seconds = started.elapsed().as_secs_f64();
        let (rate, pace) = (targets as f64 / seconds, 10.0 / seconds);
        println!(
            "{}",
            serde_json::json!({ "step": trainer.step, "loss": loss, "tokens_per_second": rate, "steps_per_second": pace })
        );
        rates.push(rate);
        paces.push(pace);
    }
    rates.sort_by(f64::total_cmp);
    paces.sort_by(f64::total_cmp);
    println!(
        "{}",
        serde_json::json!({
            "threads": threads,
            "median_tokens_per_second": rates[rates.len() / 2],
            "best": rates[rates.len() - 1],
            "median_steps_per_second": paces[paces.len() / 2],
            "best_steps_per_second": paces[paces.len() - 1],
        })
    );
    Ok(())
}

fn solo() -> anyhow::Result<Box<dyn Collective>> {
    let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    let here = listener.local_addr()?;
    Ok(connect(Config {
        rank: 0,
        world_size: 1,
        job: "bench".into(),
        generation: 1,
        secret: [0; 16],
        listener: &listener,
        peers: vec![here],
        timeout: std::time::Duration::from_secs(60),
        silence: std::time::Duration::from_secs(60),
        max_message: Config::DEFAULT_MAX_MESSAGE,
        transport: Transport::Auto,
        abort: AbortHandle::new()?,
    })?)
}
