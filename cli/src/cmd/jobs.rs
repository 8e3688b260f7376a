//! `muster jobs`: the jobs of a cluster.

use std::path::PathBuf;

use clap::Subcommand;
use muster_proto::control::{CancelMode, Class, JobPhase, JobStatus, Queueing};
use muster_proto::ids::JobId;
use serde_json::{Value, json};

use crate::args::ClusterArgs;
use crate::cluster::{block_on, connect};
use crate::context::Context;
use crate::error::Error;
use crate::forecast;
use crate::incidents;
use crate::output::{Report, Told};
use crate::parent;
use crate::scored::Scored;
use crate::submission::{self, JobFile, Placement};
use crate::table::Table;

const EXAMPLES: &str = "\
Examples:
  muster jobs submit job.toml --dataset /shared/prepared --workers 8 --out /shared/run
  muster jobs submit nightly.toml --dataset /shared/prepared --workers 8 --class scheduled --team ads --out /shared/nightly
  muster jobs list
  muster jobs show 3 --output json
  muster jobs explain 3
  muster jobs scale 3 --workers 4
  muster jobs cancel 3";

/// Submits, lists, shows, explains, scales and cancels jobs.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// What to do
    #[command(subcommand)]
    pub action: Action,
}

/// What to do with jobs.
#[derive(Debug, Subcommand)]
pub enum Action {
    /// Queue a job and return at once
    #[command(
        after_help = "Example:\n  muster jobs submit job.toml --dataset /shared/prepared --workers 8 --out /shared/run"
    )]
    Submit(SubmitArgs),
    /// List all jobs
    #[command(after_help = "Example:\n  muster jobs list --coordinator http://10.0.0.1:7400")]
    List(ListArgs),
    /// Change how many workers a job uses; one that trains changes between two steps
    #[command(after_help = "Example:\n  muster jobs scale 3 --workers 4")]
    Scale(ScaleArgs),
    /// Say where a job stands and why, and what changes of its workers have cost
    #[command(after_help = "Example:\n  muster jobs explain 3")]
    Explain(JobArgs),
    /// Show one job
    #[command(after_help = "Example:\n  muster jobs show 3 --output json")]
    Show(JobArgs),
    /// End a job early
    #[command(after_help = "Example:\n  muster jobs cancel 3")]
    Cancel(JobArgs),
}

/// Flags of `jobs submit`.
#[derive(Debug, clap::Args)]
pub struct SubmitArgs {
    /// The job file; see docs/reference/job.md
    #[arg(value_name = "JOB.toml")]
    pub job: PathBuf,
    /// The prepared dataset, as workers see it
    #[arg(long, value_name = "DIR")]
    pub dataset: PathBuf,
    /// Number of workers
    #[arg(long, value_name = "N", allow_negative_numbers = true, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub workers: u32,
    /// Fewest workers to go on with when some are lost; with fewer the job waits for others
    #[arg(long, value_name = "N", allow_negative_numbers = true, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub min_workers: u32,
    /// Fewest workers to start with, and to be shrunk to while other jobs wait; as many as --workers where absent
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub start_workers: Option<u32>,
    /// What it is for: manual, scheduled or backfill. Those that come first are served first, and may have later ones stopped at
    /// a checkpoint
    #[arg(long, value_name = "CLASS", default_value_t = Class::Manual)]
    pub class: Class,
    /// The team that it counts for, in the coordinator's rules of the pool
    #[arg(long, value_name = "TEAM", default_value = "", hide_default_value = true)]
    pub team: String,
    /// Run directory to write, as workers see it
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// Seed, instead of the job file's
    #[arg(long, value_name = "S", allow_negative_numbers = true)]
    pub seed: Option<u64>,
    /// Override a key of the job file
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub sets: Vec<String>,
    /// What muster calibrate wrote on a machine like the workers', for a forecast to score the run against
    #[arg(long, value_name = "FILE.toml")]
    pub calibration: Option<PathBuf>,
    /// Threads of each worker that the forecast takes
    #[arg(long, value_name = "N", requires = "calibration", value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub threads: Option<u32>,
    /// How to reach the coordinator
    #[command(flatten)]
    pub cluster: ClusterArgs,
}

/// Flags of `jobs list`.
#[derive(Debug, clap::Args)]
pub struct ListArgs {
    /// How to reach the coordinator
    #[command(flatten)]
    pub cluster: ClusterArgs,
}

/// Flags of `jobs scale`.
#[derive(Debug, clap::Args)]
pub struct ScaleArgs {
    /// The job's number
    #[arg(value_name = "JOB")]
    pub job: u64,
    /// Number of workers that it should have
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub workers: u32,
    /// How to reach the coordinator
    #[command(flatten)]
    pub cluster: ClusterArgs,
}

/// Flags of a command on one job.
#[derive(Debug, clap::Args)]
pub struct JobArgs {
    /// The job's number
    #[arg(value_name = "JOB")]
    pub job: u64,
    /// How to reach the coordinator
    #[command(flatten)]
    pub cluster: ClusterArgs,
}

/// Does what the flags ask.
///
/// # Errors
/// Where the coordinator cannot be reached, refuses, or does not know the job.
pub fn run(context: &Context, args: &Args) -> Result<(), Error> {
    match &args.action {
        Action::Submit(args) => submit(context, args),
        Action::List(args) => block_on(async {
            let jobs = connect(&args.cluster).await?.jobs().await?;
            context.output.report(&Jobs(&jobs))
        }),
        Action::Show(args) => context.output.report(&Job(&block_on(one(args))?)),
        Action::Explain(args) => context.output.report(&Explained(&block_on(one(args))?)),
        Action::Scale(args) => block_on(async {
            let client = connect(&args.cluster).await?;
            let scaled = client.scale(JobId(args.job), args.workers).await;
            scaled.map_err(|error| Error::from(error).with_field("JOB"))?;
            context.output.report(&Told { thing: "job", number: args.job, what: "scaled" })
        }),
        Action::Cancel(args) => block_on(async {
            let client = connect(&args.cluster).await?;
            client
                .cancel(JobId(args.job), CancelMode::Abort)
                .await
                .map_err(|error| Error::from(error).with_field("JOB"))?;
            context.output.report(&Told { thing: "job", number: args.job, what: "cancelled" })
        }),
    }
}

/// The job that the flags name.
async fn one(args: &JobArgs) -> Result<JobStatus, Error> {
    let jobs = connect(&args.cluster).await?.jobs().await?;
    jobs.into_iter().find(|status| status.job.0 == args.job).ok_or_else(|| {
        let message = format!("the coordinator knows no job {}; `muster jobs list` shows all", args.job);
        Error::bad_input(message).with_field("JOB")
    })
}

fn submit(context: &Context, args: &SubmitArgs) -> Result<(), Error> {
    let mut job = JobFile { path: &args.job, sets: &args.sets, seed: args.seed }.load()?;
    parent::pin(&mut job, &args.job)?;
    let placement = Placement {
        dataset: args.dataset.clone(),
        workers: args.workers,
        min_workers: args.min_workers,
        device: None,
        queueing: Queueing { class: args.class, team: args.team.clone(), start_workers: args.start_workers },
    };
    let mut submission = submission::plan(&job, &args.job, &placement)?;
    submission.run_dir = submission::absolute(&args.out)?;
    // The workers' machine is not this one, unless somebody says whose calibration it is.
    if let Some(calibration) = &args.calibration {
        submission.forecast =
            forecast::if_known(&job, &submission, (args.workers, args.threads), Some(calibration))?;
    }
    block_on(async {
        let job = connect(&args.cluster).await?.submit(&submission).await?;
        context.output.report(&Told { thing: "job", number: job.0, what: "submitted" })
    })
}

/// Where a job stands among those that want workers, in words.
fn queue(job: &JobStatus) -> String {
    let Queueing { class, team, start_workers } = &job.queueing;
    let mut words = vec![class.to_string()];
    if !team.is_empty() {
        words.push(format!("team {team}"));
    }
    words.extend(start_workers.map(|start| format!("starts with {start} workers")));
    words.extend(job.place.map(|place| format!("number {place} in line")));
    match job.stops {
        0 => {}
        1 => words.push("stopped once for others".to_owned()),
        stops => words.push(format!("stopped {stops} times for others")),
    }
    words.join(", ")
}

struct Jobs<'a>(&'a [JobStatus]);

impl Report for Jobs<'_> {
    fn text(&self) -> String {
        if self.0.is_empty() {
            return "no jobs".to_owned();
        }
        let mut table = Table::new([
            "job",
            "name",
            "class",
            "team",
            "phase",
            "place",
            "workers",
            "generation",
            "step",
            "why",
        ]);
        for job in self.0 {
            table.row([
                job.job.0.to_string(),
                job.name.clone(),
                job.queueing.class.to_string(),
                job.queueing.team.clone(),
                job.phase.to_string(),
                job.place.map_or_else(String::new, |place| place.to_string()),
                job.world_size.0.to_string(),
                job.generation.0.to_string(),
                job.progress.as_ref().map_or_else(String::new, |progress| progress.step.0.to_string()),
                job.reason.clone(),
            ]);
        }
        table.render()
    }

    fn json(&self) -> Value {
        json!({"jobs": self.0})
    }
}

struct Job<'a>(&'a JobStatus);

impl Report for Job<'_> {
    fn text(&self) -> String {
        let job = self.0;
        let mut lines = vec![
            format!("job {} ({})", job.job.0, job.name),
            format!("  phase       {}  {}", job.phase, job.reason).trim_end().to_owned(),
            format!("  generation  {}", job.generation.0),
            format!("  queue       {}", queue(job)),
            format!("  workers     {} wanted, {} assigned", job.world_size.0, job.workers.len()),
            format!("  run         {}", job.run_dir),
        ];
        if let Some(progress) = &job.progress {
            let epochs = format!("epoch {}/{}", progress.epoch + 1, progress.epochs);
            let rate = format!("loss {:.4}, {:.0} tokens/s", progress.loss, progress.tokens_per_second);
            lines.push(format!("  progress    {epochs}, step {}, {rate}", progress.step.0));
        }
        lines.extend(incidents::spent(&job.spent).map(|spent| format!("  time        {spent}")));
        lines.extend(job.straggler.map(|slow| format!("  straggler   {}", incidents::straggler(&slow))));
        let scored = Scored { forecast: job.forecast.as_ref(), measured: &job.measured };
        if !scored.is_empty() {
            lines.push(format!("  a step\n{}", scored.text()));
        }
        if !job.incidents.is_empty() {
            lines.push(incidents::table(&job.incidents));
        }
        lines.join("\n")
    }

    fn json(&self) -> Value {
        let job = self.0;
        let scored = Scored { forecast: job.forecast.as_ref(), measured: &job.measured };
        let mut json = json!(job);
        if let Value::Object(fields) = &mut json {
            fields.insert("scored".to_owned(), scored.json());
        }
        json
    }
}

struct Explained<'a>(&'a JobStatus);

impl Explained<'_> {
    /// Where the job stands, in a sentence.
    fn standing(&self) -> String {
        let job = self.0;
        let (held, wanted) = (job.workers.len(), job.world_size.0);
        let why = if job.reason.is_empty() { String::new() } else { format!(": {}", job.reason) };
        match job.phase {
            JobPhase::Training if (held as u32) < wanted => format!(
                "job {} trains on {held} workers and should have {wanted}: it takes others in as soon as some fit \
                 that are idle and not cordoned",
                job.job.0
            ),
            JobPhase::Training => format!("job {} trains on {held} workers", job.job.0),
            JobPhase::Gathering => format!("job {} waits for workers{why}", job.job.0),
            JobPhase::Loading | JobPhase::Planning => format!("job {} gets ready{why}", job.job.0),
            JobPhase::Recovering => format!("job {} stops its ranks to go on with others{why}", job.job.0),
            JobPhase::Draining => format!("job {} stops its ranks to end{why}", job.job.0),
            JobPhase::Finished | JobPhase::Failed | JobPhase::Cancelled => {
                format!("job {} is {}{why}", job.job.0, job.phase)
            }
        }
    }
}

impl Report for Explained<'_> {
    fn text(&self) -> String {
        let mut lines = vec![self.standing()];
        if self.0.incidents.is_empty() {
            lines.push("its workers have not changed".to_owned());
        } else {
            lines.push(incidents::table(&self.0.incidents));
        }
        lines.extend(
            self.0.straggler.map(|slow| format!("the others wait for {}", incidents::straggler(&slow))),
        );
        lines.join("\n")
    }

    fn json(&self) -> Value {
        json!({"job": self.0.job, "phase": self.0.phase, "why": self.standing(), "incidents": self.0.incidents})
    }
}
