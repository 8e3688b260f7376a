//! Goodput under failures, forecast and measured: `cargo bench --workspace --bench goodput -- JOB.toml DATASET_DIR
//! [--workers N] [--repetitions N] [--mtbf SECONDS,SECONDS,...] [--set KEY=VALUE]...`.
//!
//! First a job is killed in a steady rhythm: what these losses took is all that the forecast knows (a restart's seconds, to go on with
//! fewer workers and to take another one in, and the work done again, half of the time between two copies). Then the same job suffers a Poisson process of kills at
//! each of the mean times, and its share of time in steps that count is held against the closed form's, which is an expectation:
//! a run has more or fewer losses than it has on average, so the means over runs are compared. Prints one JSON line a run and
//! one a mean time, and a last one with the largest difference in points. Without arguments (as CI calls it) it does nothing.

#![allow(clippy::print_stdout, reason = "a benchmark prints its figures")]

use std::path::PathBuf;

use anyhow::{Context as _, ensure};
use muster_core::capacity::goodput::Failures;
use muster_tests::folder::Folder;
use serde_json::{Value, json};

struct Options {
    job: PathBuf,
    dataset: PathBuf,
    workers: String,
    repetitions: u64,
    means: Vec<f64>,
    sets: Vec<String>,
}

fn main() -> anyhow::Result<()> {
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    let [job, dataset, rest @ ..] = args.as_slice() else { return Ok(()) };
    let (job, dataset) = (PathBuf::from(job).canonicalize()?, PathBuf::from(dataset).canonicalize()?);
    let (means, sets) = (vec![4.0, 8.0, 16.0], Vec::new());
    let mut options = Options { job, dataset, workers: "4".into(), repetitions: 2, means, sets };
    for pair in rest.chunks_exact(2) {
        match pair[0].as_str() {
            "--workers" => options.workers.clone_from(&pair[1]),
            "--repetitions" => options.repetitions = pair[1].parse()?,
            "--mtbf" => options.means = pair[1].split(',').map(str::parse).collect::<Result<_, _>>()?,
            "--set" => options.sets.push(pair[1].clone()),
            other => anyhow::bail!("unknown option {other}"),
        }
    }
    let folder = Folder::new(env!("CARGO_BIN_EXE_muster-under-test"));
    let learned =
        Learned::of(&chaos(&options, &folder, "learned", &["--kills", "8", "--every-seconds", "2"])?)?;
    println!("{}", json!({ "restart": learned.restart, "copies_every": learned.interval }));
    let mut worst: f64 = 0.0;
    for mean in &options.means {
        let runs = (1..=options.repetitions).map(|seed| run(&options, &folder, &learned, (*mean, seed)));
        let runs = runs.collect::<anyhow::Result<Vec<Run>>>()?;
        let of = |value: fn(&Run) -> f64| runs.iter().map(value).sum::<f64>() / runs.len().max(1) as f64;
        let (measured, forecast) = (of(|run| run.measured), of(|run| run.forecast));
        let points = (forecast - measured) * 100.0;
        worst = worst.max(points.abs());
        println!(
            "{}",
            json!({"mtbf": mean, "mean_measured": measured, "mean_forecast": forecast, "points": points})
        );
    }
    println!("{}", json!({ "largest_difference_of_means_in_points": worst }));
    Ok(())
}

/// The shares of a run's time in steps that count.
struct Run {
    measured: f64,
    forecast: f64,
}

fn run(
    options: &Options,
    folder: &Folder,
    learned: &Learned,
    (mean, seed): (f64, u64),
) -> anyhow::Result<Run> {
    let (mtbf, seed) = (mean.to_string(), seed.to_string());
    let faults = ["--mtbf", &mtbf, "--fault-seed", &seed];
    let found = chaos(options, folder, &format!("{mtbf}-{seed}"), &faults)?;
    let measured = found["goodput"].as_f64().context("a run says its goodput")?;
    let forecast = learned.goodput(mean, &found["undisturbed_spent"]);
    let incidents = found["incidents"].as_array().map_or(0, Vec::len);
    let points = (forecast - measured) * 100.0;
    let told = json!({
        "mtbf": mean, "seed": seed, "incidents": incidents, "measured": measured, "forecast": forecast, "points": points,
    });
    println!("{told}");
    Ok(Run { measured, forecast })
}

/// What a steady rhythm of losses showed.
struct Learned {
    /// Seconds of a loss in which no step is made.
    restart: f64,
    /// Seconds between two copies of the model's state: twice of what was done again on average.
    interval: f64,
}

impl Learned {
    fn of(found: &Value) -> anyhow::Result<Self> {
        let losses = found["incidents"].as_array().context("incidents")?.len() as f64;
        ensure!(losses > 0.0, "nothing was lost, so nothing is learned");
        let each = |causes: &[&str]| {
            let spent = causes.iter().filter_map(|cause| found["spent"][*cause].as_f64());
            spent.sum::<f64>() / losses
        };
        let restart = each(&["detect", "abort", "decide", "rendezvous", "reload"]);
        Ok(Self { restart, interval: 2.0 * each(&["recompute"]) })
    }

    /// The share of a run's time in steps that count, which has its start and end once.
    fn goodput(&self, mtbf: f64, undisturbed: &Value) -> f64 {
        let spent = |cause: &str| undisturbed[cause].as_f64().unwrap_or_default();
        let failures = Failures { mtbf, checkpoint: 0.0, restart: self.restart };
        let training = spent("training");
        let once = spent("start") + spent("drain");
        training / (once + failures.expected(training, self.interval))
    }
}

fn chaos(options: &Options, folder: &Folder, name: &str, faults: &[&str]) -> anyhow::Result<Value> {
    let (job, dataset) = (options.job.to_string_lossy(), options.dataset.to_string_lossy());
    let mut args = vec!["chaos", &*job, "--dataset", &*dataset, "--workers", &options.workers];
    args.extend(["--threads", "1", "--quiet", "--out", name]);
    args.extend(faults);
    options.sets.iter().for_each(|set| args.extend(["--set", set.as_str()]));
    let found = folder.result(&args);
    ensure!(found["ok"] == json!(true), "the run does not hold: {}", found["problems"]);
    Ok(found)
}
