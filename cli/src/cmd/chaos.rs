//! `muster chaos`: trains a job twice on a local cluster, once disturbed, and compares.

use std::path::PathBuf;
use std::time::Duration;

use muster_worker::checkpoint;
use muster_worker::run_record::address;

use super::train::{self, Device};
use crate::Verdict;
use crate::chaos::{Fault, Faults, Pace, Rhythm, Verdict as Found};
use crate::context::Context;
use crate::error::Error;
use crate::run_dir;
use crate::run_record::open_dataset;
use crate::summary::Summary;
use crate::{history, lineage};

const EXAMPLES: &str = "\
Examples:
  muster chaos job.toml --dataset prepared --workers 4 --kills 5
  muster chaos job.toml --dataset prepared --workers 4 --spares 1 --kills 5 --pairs 2 --pauses 1 --pause-seconds 20
  muster chaos job.toml --dataset prepared --workers 4 --mtbf 10 --output json";

/// Trains a job on a local cluster, first undisturbed, then while workers are killed and stopped, and checks that both
/// give the same model, bit for bit, and that each sample counted once. Exit code 1 where something does not hold.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// The job file; see docs/reference/job.md
    #[arg(value_name = "JOB.toml")]
    pub job: PathBuf,
    /// The prepared dataset
    #[arg(long, value_name = "DIR")]
    pub dataset: PathBuf,
    /// Number of workers
    #[arg(long, value_name = "N", allow_negative_numbers = true, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub workers: u32,
    /// Workers to start besides, without work
    #[arg(long, value_name = "N", allow_negative_numbers = true, default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=1024))]
    pub spares: u32,
    /// Threads of each worker; the cores of this machine over the workers where absent
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub threads: Option<u32>,
    /// How often one worker is killed
    #[arg(long, value_name = "N", allow_negative_numbers = true, default_value_t = 3, value_parser = clap::value_parser!(u32).range(0..=1000))]
    pub kills: u32,
    /// How often two workers are killed at once
    #[arg(long, value_name = "N", allow_negative_numbers = true, default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=1000))]
    pub pairs: u32,
    /// How often one worker is stopped, and goes on later
    #[arg(long, value_name = "N", allow_negative_numbers = true, default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=1000))]
    pub pauses: u32,
    /// For how long it is stopped
    #[arg(long, value_name = "SECONDS", allow_negative_numbers = true, default_value_t = 20.0, value_parser = seconds)]
    pub pause_seconds: f64,
    /// From the end of one fault to the next one
    #[arg(long, value_name = "SECONDS", allow_negative_numbers = true, default_value_t = 2.0, value_parser = seconds)]
    pub every_seconds: f64,
    /// Kill one worker at any time, this long apart on average, for as long as the job trains: for measuring goodput
    #[arg(long, value_name = "SECONDS", allow_negative_numbers = true, value_parser = mean_seconds, conflicts_with_all = ["kills", "pairs", "pauses", "every_seconds"])]
    pub mtbf: Option<f64>,
    /// Seed of order and victims of the faults
    #[arg(long, value_name = "S", allow_negative_numbers = true, default_value_t = 1)]
    pub fault_seed: u64,
    /// Folder to write both runs to, new or empty; runs/NAME-N where absent
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Override a key of the job file
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub sets: Vec<String>,
}

fn seconds(text: &str) -> Result<f64, String> {
    let value: f64 = text.parse().map_err(|_| "must be a number of seconds".to_owned())?;
    if (0.0..=86_400.0).contains(&value) { Ok(value) } else { Err("must be between 0 and 86400".to_owned()) }
}

fn mean_seconds(text: &str) -> Result<f64, String> {
    let value = seconds(text)?;
    if value >= 0.1 { Ok(value) } else { Err("must be at least 0.1".to_owned()) }
}

/// Trains twice and compares.
///
/// # Errors
/// Where job or dataset are refused, or a run fails.
pub fn run(context: &Context, args: &Args) -> Result<Verdict, Error> {
    let folder = run_dir::claim(args.out.as_deref(), "chaos")?;
    let run = |name: &str, spares| train::Args {
        job: args.job.clone(),
        dataset: Some(args.dataset.clone()),
        workers: args.workers,
        min_workers: 1,
        spares,
        coordinator: None,
        token_file: None,
        threads: args.threads,
        device: Device::Cpu,
        seed: None,
        resume: None,
        from: None,
        out: Some(folder.join(name)),
        sets: args.sets.clone(),
        calibration: None,
    };
    let quiet = train::train(context, &run("undisturbed", 0), None)?;
    let pace = match args.mtbf {
        Some(mean) => Pace::Mean(Duration::from_secs_f64(mean)),
        None => Pace::After(Duration::from_secs_f64(args.every_seconds)),
    };
    let kinds = [(Fault::Kill, args.kills), (Fault::KillTwo, args.pairs), (Fault::Pause, args.pauses)];
    let faults = kinds.iter().flat_map(|(fault, times)| vec![*fault; *times as usize]).collect();
    let rhythm = Rhythm { pace, pause: Duration::from_secs_f64(args.pause_seconds), seed: args.fault_seed };
    let mut faults = Faults::new(faults, rhythm);
    let disturbed = train::train(context, &run("disturbed", args.spares), Some(&mut faults))?;
    let found = judge(&folder, [&quiet, &disturbed], faults)?;
    context.output.report(&found)?;
    Ok(if found.problems.is_empty() { Verdict::Good } else { Verdict::Bad })
}

fn judge(folder: &std::path::Path, runs: [&Summary; 2], mut faults: Faults) -> Result<Found, Error> {
    let digests = runs.map(Summary::digest);
    let disturbed = folder.join("disturbed");
    let dataset = open_dataset(None, &disturbed)?;
    let verified = checkpoint::verify(&address(&disturbed)?, Some(&dataset))?;
    let mut problems = verified.problems;
    let history = history::entries(&disturbed.join("history.jsonl"))?;
    problems.extend(lineage::check(&history).iter().map(ToString::to_string));
    if digests[0] != digests[1] {
        problems.push(format!("the digest is {} with faults and {} without", digests[1], digests[0]));
    }
    if faults.left() > 0 {
        let (left, all) = (faults.left(), faults.left() + faults.overcome.len());
        problems.push(format!(
            "the run ended before {left} of {all} faults were over: train for longer, or lower --every-seconds"
        ));
    }
    Ok(Found {
        problems,
        digests,
        overcome: std::mem::take(&mut faults.overcome),
        samples: verified.samples,
        spent: runs.map(Summary::spent),
    })
}
