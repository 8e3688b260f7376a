//! The flags of `muster schedules`.

use std::path::PathBuf;

use clap::{Subcommand, ValueEnum};
use muster_core::retrain;

use crate::args::ClusterArgs;
use crate::when::When;

const EXAMPLES: &str = "\
Examples:
  muster schedules apply nightly.toml
  muster schedules list
  muster schedules trigger nightly
  muster schedules backfill nightly --from 2026-01-01 --to 2026-02-01 --max-active 2 --dry-run
  muster schedules runs nightly
  muster schedules run 3f9a1c0b7d2e4a56
  muster schedules fleet --output json";

/// Trains models again by themselves: schedules, their runs, and how it all goes.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// What to do
    #[command(subcommand)]
    pub action: Action,
}

/// What to do with schedules and runs.
#[derive(Debug, Subcommand)]
pub enum Action {
    /// Make a schedule, or change it; runs that are at work go on as they began
    #[command(after_help = "Example:\n  muster schedules apply nightly.toml --set cron=\"0 3 * * *\"")]
    Apply(ApplyArgs),
    /// List all schedules
    #[command(after_help = "Example:\n  muster schedules list --output json")]
    List(ListArgs),
    /// Show a schedule: when it fires, what it waits for, and fires that did not run
    #[command(after_help = "Example:\n  muster schedules show nightly")]
    Show(ScheduleArgs),
    /// Have a schedule fire no more until it is resumed
    #[command(after_help = "Example:\n  muster schedules pause nightly")]
    Pause(ScheduleArgs),
    /// Have a schedule fire again; its misfire rule says what becomes of what it missed
    #[command(after_help = "Example:\n  muster schedules resume nightly")]
    Resume(ScheduleArgs),
    /// Start a run at once, whatever the rules say
    #[command(after_help = "Example:\n  muster schedules trigger nightly --at 2026-03-01T02:30")]
    Trigger(TriggerArgs),
    /// Run the times of the past at which a schedule would have fired
    #[command(
        after_help = "Example:\n  muster schedules backfill nightly --from 2026-01-01 --to 2026-02-01 --dry-run"
    )]
    Backfill(BackfillArgs),
    /// List runs, newest first
    #[command(after_help = "Example:\n  muster schedules runs nightly")]
    Runs(RunsArgs),
    /// Show a run: each stage with its time and reason, the data, the gates
    #[command(after_help = "Example:\n  muster schedules run 3f9a1c0b7d2e4a56")]
    Run(RunArgs),
    /// End a run; it is not tried again
    #[command(after_help = "Example:\n  muster schedules cancel 3f9a1c0b7d2e4a56")]
    Cancel(RunArgs),
    /// Run the time of an ended run again, with the files that it had
    #[command(after_help = "Example:\n  muster schedules rerun 3f9a1c0b7d2e4a56 --refresh")]
    Rerun(RerunArgs),
    /// Agree to the candidate of a run that waits for a person
    #[command(after_help = "Example:\n  muster schedules approve 3f9a1c0b7d2e4a56")]
    Approve(RunArgs),
    /// Remove a schedule and cancel its runs; the model's versions stay
    #[command(after_help = "Example:\n  muster schedules remove nightly")]
    Remove(ScheduleArgs),
    /// Show how all schedules go: next fires, freshness, gates, time to promotion, cost, fires that did not run
    #[command(after_help = "Example:\n  muster schedules fleet")]
    Fleet(ListArgs),
}

/// Flags of `schedules apply`.
#[derive(Debug, clap::Args)]
pub struct ApplyArgs {
    /// The schedule file; see docs/reference/schedule.md
    #[arg(value_name = "SCHEDULE.toml")]
    pub schedule: PathBuf,
    /// Override a key of the schedule file
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub sets: Vec<String>,
    /// How to reach the coordinator
    #[command(flatten)]
    pub cluster: ClusterArgs,
}

/// Flags of a command on all schedules.
#[derive(Debug, clap::Args)]
pub struct ListArgs {
    /// How to reach the coordinator
    #[command(flatten)]
    pub cluster: ClusterArgs,
}

/// Flags of a command on one schedule.
#[derive(Debug, clap::Args)]
pub struct ScheduleArgs {
    /// The schedule's name
    #[arg(value_name = "SCHEDULE")]
    pub schedule: String,
    /// How to reach the coordinator
    #[command(flatten)]
    pub cluster: ClusterArgs,
}

/// Flags of `schedules trigger`.
#[derive(Debug, clap::Args)]
pub struct TriggerArgs {
    /// The schedule's name
    #[arg(value_name = "SCHEDULE")]
    pub schedule: String,
    /// The time that the run is for, which its window follows from; now where absent. Without a zone, it is the schedule's
    #[arg(long, value_name = "TIME")]
    pub at: Option<When>,
    /// Count files that came since an earlier run for the same time
    #[arg(long)]
    pub refresh: bool,
    /// How to reach the coordinator
    #[command(flatten)]
    pub cluster: ClusterArgs,
}

/// Flags of `schedules backfill`.
#[derive(Debug, clap::Args)]
pub struct BackfillArgs {
    /// The schedule's name
    #[arg(value_name = "SCHEDULE")]
    pub schedule: String,
    /// Not before this time; without a zone, it is the schedule's
    #[arg(long, value_name = "TIME")]
    pub from: When,
    /// Before this time
    #[arg(long, value_name = "TIME")]
    pub to: When,
    /// Which times that have been run are run again
    #[arg(long, value_enum, value_name = "WHICH", default_value_t = Reprocess::None)]
    pub reprocess: Reprocess,
    /// Runs at a time, at most
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub max_active: u32,
    /// Run the latest first
    #[arg(long)]
    pub reverse: bool,
    /// Say what would run, and start nothing
    #[arg(long)]
    pub dry_run: bool,
    /// How to reach the coordinator
    #[command(flatten)]
    pub cluster: ClusterArgs,
}

/// Which times of a backfill are run again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Reprocess {
    /// None
    None,
    /// Those whose run failed or was cancelled
    Failed,
    /// All
    All,
}

impl From<Reprocess> for retrain::Reprocess {
    fn from(reprocess: Reprocess) -> Self {
        match reprocess {
            Reprocess::None => Self::None,
            Reprocess::Failed => Self::Failed,
            Reprocess::All => Self::All,
        }
    }
}

/// Flags of `schedules runs`.
#[derive(Debug, clap::Args)]
pub struct RunsArgs {
    /// The schedule's name; all schedules where absent
    #[arg(value_name = "SCHEDULE")]
    pub schedule: Option<String>,
    /// Show so many, the newest
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub limit: u32,
    /// How to reach the coordinator
    #[command(flatten)]
    pub cluster: ClusterArgs,
}

/// Flags of a command on one run.
#[derive(Debug, clap::Args)]
pub struct RunArgs {
    /// The run's id
    #[arg(value_name = "RUN")]
    pub run: String,
    /// How to reach the coordinator
    #[command(flatten)]
    pub cluster: ClusterArgs,
}

/// Flags of `schedules rerun`.
#[derive(Debug, clap::Args)]
pub struct RerunArgs {
    /// The run's id
    #[arg(value_name = "RUN")]
    pub run: String,
    /// Count files that came since
    #[arg(long)]
    pub refresh: bool,
    /// How to reach the coordinator
    #[command(flatten)]
    pub cluster: ClusterArgs,
}
