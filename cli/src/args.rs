//! The raw flags of the program: what every command shares, and the list of commands.
//!
//! Each command's own flags are in its file in `cmd/`, next to the code that checks and uses them.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::cmd;
use crate::logging::Level;
use crate::output::Format;

const LONG_ABOUT: &str = "\
Muster trains sequence recommenders on a cluster. One binary is the coordinator, the worker and the command line; \
without a cluster, `muster train` starts one on this machine.

Start with `muster demo`.";

const AFTER_HELP: &str = "\
Exit codes:
  0  success
  1  the run failed: a machine, a disk, a network, a problem in the data found on the way
  2  bad input: a flag, a file or a value has to change; the message names it
  75 a worker ended itself since NCCL did not let go of its GPU; start it anew

Environment:
  MUSTER_DATA  folder of public logs that the examples read
  MUSTER_LOG   filter for logs, such as `muster_worker=debug`; wins over --log-level";

/// The whole command line.
#[derive(Debug, Parser)]
#[command(
    name = "muster",
    version,
    about = "Train sequence recommenders on a cluster",
    long_about = LONG_ABOUT,
    after_long_help = AFTER_HELP,
    propagate_version = true,
    max_term_width = 110
)]
pub struct Cli {
    /// Flags of every command.
    #[command(flatten)]
    pub global: Global,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Flags that every command takes.
#[derive(Debug, Clone, Copy, Args)]
pub struct Global {
    /// Form of the result on standard output: text for people, or one JSON object
    #[arg(long, global = true, value_enum, default_value_t = Format::Text, help_heading = "Global options")]
    pub output: Format,
    /// Least severe log lines to show on standard error
    #[arg(long, global = true, value_enum, default_value_t = Level::Warn, help_heading = "Global options")]
    pub log_level: Level,
    /// Show the result only: no progress, no text on the way
    #[arg(long, global = true, help_heading = "Global options")]
    pub quiet: bool,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Generate logs, prepare, train on a local cluster, evaluate, recommend
    Demo(cmd::demo::Args),
    /// Write deterministic shopping logs
    Generate(cmd::generate::Args),
    /// Clean raw logs and turn them into a dataset
    Prepare(cmd::prepare::Args),
    /// Train a job, on a cluster or on this machine
    Train(cmd::train::Args),
    /// Measure a model on a dataset's held-out events
    Evaluate(cmd::evaluate::Args),
    /// Rank items for a user
    Recommend(cmd::recommend::Args),
    /// Place tables on ranks, with a proof of how good the plan is
    Plan(cmd::plan::Args),
    /// Check a run: every digest, every sample once, every shard covered once
    Verify(cmd::verify::Args),
    /// Run the coordinator of a cluster
    Coordinator(cmd::coordinator::Args),
    /// Run a worker of a cluster
    Worker(cmd::worker::Args),
    /// Submit, list, show and cancel jobs of a cluster
    Jobs(cmd::jobs::Args),
    /// List the workers of a cluster
    Workers(cmd::workers::Args),
    /// Train models again by themselves
    Schedules(cmd::schedules::Args),
    /// List, show, compare, promote and export the versions of models
    Models(cmd::models::Args),
    /// Kill and stop workers of a local cluster, and check that the model is the same
    Chaos(cmd::chaos::Args),
    /// Move the state of a cluster to another store
    Store(cmd::store::Args),
    /// Forecast steps, time, cost and memory before renting
    Capacity(cmd::capacity::Args),
    /// Measure this machine, for forecasts of steps on it
    Calibrate(cmd::calibrate::Args),
    /// Take events over gRPC and HTTP, and keep them in files for `prepare`
    Collect(cmd::collect::Args),
    /// Look at a prepared dataset
    Data(cmd::data::Args),
}

/// How to reach a cluster.
#[derive(Debug, Clone, Args)]
pub struct ClusterArgs {
    /// URL of the coordinator; where several stand in for each other, all of them with commas between
    #[arg(long, value_name = "URL,..", env = "MUSTER_COORDINATOR", hide_env_values = true, default_value = DEFAULT_COORDINATOR)]
    pub coordinator: String,
    /// File with the cluster's token, one line
    #[arg(long, value_name = "FILE", env = "MUSTER_TOKEN_FILE", hide_env_values = true)]
    pub token_file: Option<PathBuf>,
}

/// Where a coordinator listens unless it is told otherwise.
pub const DEFAULT_COORDINATOR: &str = "http://127.0.0.1:7400";
