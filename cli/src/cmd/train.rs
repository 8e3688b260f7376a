//! `muster train`: one job to its end, on a cluster or on processes of this machine.

use std::path::{Path, PathBuf};

use muster_kernels::cuda::probe;
use muster_proto::control::{DeviceKind, Queueing, Submission};
use muster_proto::job::JobSpec;
use muster_worker::checkpoint;
use muster_worker::run_record::address;
use serde_json::Value;

use crate::chaos::Faults;
use crate::cluster::{self, StopRequests, block_on, connect_to};
use crate::context::Context;
use crate::curves;
use crate::error::Error;
use crate::forecast;
use crate::local::{self, LocalCluster, threads_each};
use crate::parent;
use crate::progress::Progress;
use crate::run_dir;
use crate::run_record::{self, RunRecord, open_dataset};
use crate::submission::{self, JobFile, Placement};
use crate::summary::Summary;
use crate::watch::{self, Around};

const EXAMPLES: &str = "\
Examples:
  muster train job.toml --dataset prepared --workers 2
  muster train job.toml --dataset prepared --set training.epochs=3 --set model.hidden=256 --seed 7
  muster train job.toml --resume runs/first --workers 4
  muster train job.toml --dataset this-week --from runs/last-week --set warm_start.evict_after=8
  muster train job.toml --dataset /shared/prepared --coordinator http://10.0.0.1:7400 --workers 8 --out /shared/run";

/// Trains the job. Without `--coordinator` an embedded coordinator and N worker processes are started on this
/// machine, the same code and the same sockets as on a cluster, and end with the command.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// The job file; see docs/reference/job.md
    #[arg(value_name = "JOB.toml")]
    pub job: PathBuf,
    /// The prepared dataset; with --resume, the resumed run's where absent
    #[arg(long, value_name = "DIR", required_unless_present = "resume")]
    pub dataset: Option<PathBuf>,
    /// Number of workers: processes to start here, or workers of the cluster to use
    #[arg(long, value_name = "N", allow_negative_numbers = true, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub workers: u32,
    /// Fewest workers to go on with when some are lost; with fewer the job waits for others
    #[arg(long, value_name = "N", allow_negative_numbers = true, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub min_workers: u32,
    /// Local workers to start besides, without work: one steps in when another is lost
    #[arg(long, value_name = "N", allow_negative_numbers = true, default_value_t = 0, conflicts_with = "coordinator", value_parser = clap::value_parser!(u32).range(0..=1024))]
    pub spares: u32,
    /// Train on this cluster instead of on local processes
    #[arg(long, value_name = "URL")]
    pub coordinator: Option<String>,
    /// File with the cluster's token, one line
    #[arg(long, value_name = "FILE", env = "MUSTER_TOKEN_FILE", hide_env_values = true)]
    pub token_file: Option<PathBuf>,
    /// Threads of each worker; the cores of this machine over the workers where absent
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub threads: Option<u32>,
    /// What to compute on
    #[arg(long, value_enum, default_value_t = Device::Auto)]
    pub device: Device,
    /// Seed, instead of the job file's
    #[arg(long, value_name = "S", allow_negative_numbers = true)]
    pub seed: Option<u64>,
    /// Go on from the last checkpoint of this run, in its directory, on any number of workers
    #[arg(long, value_name = "RUN_DIR", conflicts_with = "out")]
    pub resume: Option<PathBuf>,
    /// Begin from this model instead of from initial values: a run directory, a checkpoint, or the URL of one; as the key
    /// warm_start.parent of the job file
    #[arg(long, value_name = "MODEL", conflicts_with = "resume")]
    pub from: Option<PathBuf>,
    /// Run directory to write, new or empty; runs/NAME-N where absent
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Override a key of the job file
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub sets: Vec<String>,
    /// What muster calibrate wrote, for the forecast that the run is scored against; this machine's where absent
    #[arg(long, value_name = "FILE.toml")]
    pub calibration: Option<PathBuf>,
}

/// What a worker computes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Device {
    /// The best that is there
    Auto,
    /// The processor
    Cpu,
    /// NVIDIA GPUs, one a worker
    Cuda,
}

impl Device {
    /// What a process of this machine computes on: with `auto` a GPU where one can be used, else the processor; and
    /// with it how many GPUs there are and, where there is something to say about the choice, a line that says it.
    ///
    /// # Errors
    /// Where a GPU is asked for and cannot be used; one sentence says why.
    pub fn here(self) -> Result<Here, Error> {
        let cpu = |note| Here { kind: DeviceKind::Cpu, gpus: 0, note };
        if self == Self::Cpu {
            return Ok(cpu(None));
        }
        match (self, probe::devices()) {
            (_, Ok(gpus)) => {
                Ok(Here { kind: DeviceKind::Cuda, gpus, note: Some(format!("training on {gpus} GPUs")) })
            }
            (Self::Cuda, Err(error)) => Err(Error::bad_input(error.to_string()).with_field("--device")),
            (_, Err(error)) => Ok(cpu(Some(format!("training on the CPU: {error}")))),
        }
    }

    fn kind(self) -> Option<DeviceKind> {
        match self {
            Self::Auto => None,
            Self::Cpu => Some(DeviceKind::Cpu),
            Self::Cuda => Some(DeviceKind::Cuda),
        }
    }
}

/// What this machine computes on.
#[derive(Debug, Clone)]
pub struct Here {
    /// The kind of device.
    pub kind: DeviceKind,
    /// Number of GPUs to share out among workers.
    pub gpus: usize,
    /// What there is to say about the choice.
    pub note: Option<String>,
}

/// Trains the job and reports its summary.
///
/// # Errors
/// Where job, dataset or run directory are refused, or the run fails.
pub fn run(context: &Context, args: &Args) -> Result<(), Error> {
    let summary = train(context, args, None)?;
    context.output.report(&summary)
}

/// Trains the job: checks everything first, then makes the run directory, then starts processes; a local run may be
/// disturbed by `faults`.
///
/// # Errors
/// As [`run`].
pub fn train(context: &Context, args: &Args, faults: Option<&mut Faults>) -> Result<Summary, Error> {
    let mut sets = args.sets.clone();
    sets.extend(args.from.as_deref().map(parent::as_key).transpose()?);
    let mut job = JobFile { path: &args.job, sets: &sets, seed: args.seed }.load()?;
    match &args.resume {
        Some(run_dir) => parent::adopt(&mut job, run_dir)?,
        None => parent::pin(&mut job, &args.job)?,
    }
    let placement = Placement {
        dataset: dataset(args)?,
        workers: args.workers,
        min_workers: args.min_workers,
        device: args.device.kind(),
        queueing: Queueing::default(),
    };
    let mut submission = submission::plan(&job, &args.job, &placement)?;
    let token = cluster::token(args.token_file.as_deref())?;
    let mut progress = context.progress();
    let (run_dir, summary) = block_on(async {
        let mut stop = StopRequests::listen()?;
        if let Some(url) = &args.coordinator {
            // Before a folder is made: with nobody there, nothing is left behind.
            let client = connect_to(url, token).await?;
            // The workers' machine is not this one, unless somebody says whose calibration it is.
            if args.calibration.is_some() {
                foresee(args, &job, &mut submission)?;
            }
            let run_dir = claim(args, &job, &mut submission)?;
            let job = client.submit(&submission).await?;
            return Ok((
                run_dir,
                watch::follow(
                    &client,
                    job,
                    progress.as_mut(),
                    Around { local: None, faults: None, stop: &mut stop },
                )
                .await?,
            ));
        }
        // A job that is for the processor is not tried on GPUs that are here.
        let device = if submission.device == Some(DeviceKind::Cpu) { Device::Cpu } else { args.device };
        let here = device.here()?;
        here.note.iter().for_each(|note| progress.say(note));
        if here.kind == DeviceKind::Cpu {
            foresee(args, &job, &mut submission)?;
        }
        let run_dir = claim(args, &job, &mut submission)?;
        let plan = local::Plan {
            workers: args.workers + args.spares,
            needed: args.min_workers,
            threads: args.threads.unwrap_or_else(|| threads_each(args.workers)),
            device: here.kind,
            gpus: here.gpus,
            log_level: context.log_level,
            log_dir: run_dir.join("logs"),
        };
        let summary = on_local_cluster(plan, &submission, progress.as_mut(), (faults, &mut stop)).await?;
        Ok((run_dir, summary))
    })?;
    let curves = curves::draw(&run_dir)?;
    let summary = Summary::new(summary, &run_dir, &curves).scored(submission.forecast.as_ref());
    run_record::save_steps(&run_dir, &summary.steps())?;
    Ok(summary)
}

/// Adds what the steps of the job are forecast to take.
fn foresee(args: &Args, job: &JobSpec, submission: &mut Submission) -> Result<(), Error> {
    let workers = (args.workers, args.threads);
    submission.forecast = forecast::if_known(job, submission, workers, args.calibration.as_deref())?;
    Ok(())
}

/// Makes the run directory, or takes the one to resume, and writes what the run is made of into it.
fn claim(args: &Args, job: &JobSpec, submission: &mut Submission) -> Result<PathBuf, Error> {
    let run_dir = match &args.resume {
        Some(run_dir) => resumable(run_dir)?,
        None => run_dir::claim(args.out.as_deref(), &job.name)?,
    };
    submission.run_dir = submission::absolute(&run_dir)?;
    let record = RunRecord {
        name: job.name.clone(),
        dataset: PathBuf::from(&submission.dataset_dir),
        workers: Some(args.workers),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        checkpoints: job
            .checkpoint
            .location
            .as_deref()
            .map(|url| checkpoint::run_address(&run_dir, Some(url))),
    };
    if let (Some(address), None) = (&record.checkpoints, &args.resume) {
        unused(address)?;
    }
    record.save(&run_dir)?;
    Ok(run_dir)
}

/// A new run must not find the checkpoints of another: it would go on from them.
fn unused(address: &Path) -> Result<(), Error> {
    match checkpoint::find(address, false) {
        Err(checkpoint::Error::NotFound { .. }) => Ok(()),
        Err(error) => Err(error.into()),
        Ok(_) => {
            let message = format!(
                "{} holds checkpoints of another run; name another folder with --out, or go on with --resume",
                address.display()
            );
            Err(Error::bad_input(message).with_file(address).with_field("--out"))
        }
    }
}

/// The dataset that is named, or with `--resume` the one of the resumed run.
fn dataset(args: &Args) -> Result<PathBuf, Error> {
    match (&args.dataset, &args.resume) {
        (Some(dataset), _) => Ok(dataset.clone()),
        (None, Some(run_dir)) => Ok(open_dataset(None, run_dir)?.dir().to_path_buf()),
        (None, None) => Err(Error::bad_input("name the prepared dataset").with_field("--dataset")),
    }
}

/// The directory of a run that has a checkpoint to go on from.
fn resumable(run_dir: &Path) -> Result<PathBuf, Error> {
    checkpoint::find(&address(run_dir)?, false).map_err(|error| Error::from(error).with_field("--resume"))?;
    Ok(run_dir.to_path_buf())
}

async fn on_local_cluster(
    plan: local::Plan,
    submission: &Submission,
    progress: &mut dyn Progress,
    (faults, stop): (Option<&mut Faults>, &mut StopRequests),
) -> Result<Value, Error> {
    let started = async {
        let cluster = LocalCluster::start(plan).await?;
        let client = connect_to(&cluster.url, None).await?;
        Ok::<_, Error>((cluster, client))
    };
    let (mut cluster, client) = tokio::select! {
        started = started => started?,
        () = stop.next() => return Err(Error::failed("stopped on request, before the job was submitted")),
    };
    // A request to stop that comes now is kept: the job may train already when the answer is read.
    let job = client.submit(submission).await?;
    let around = Around { local: Some(&mut cluster), faults, stop };
    let followed = watch::follow(&client, job, progress, around).await;
    let stopped = cluster.stop().await;
    let summary = followed?;
    stopped?;
    Ok(summary)
}
