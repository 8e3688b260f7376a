//! `muster data`: looks at a prepared dataset.

use std::path::PathBuf;

use clap::Subcommand;
use muster_data::{Dataset, drift, stats};

use crate::capacity::load::write;
use crate::context::Context;
use crate::dataset::{Numbers, page};
use crate::error::Error;

/// Looks at a prepared dataset.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  muster data stats prepared")]
pub struct Args {
    /// What to do
    #[command(subcommand)]
    pub action: Action,
}

/// What to do with a dataset.
#[derive(Debug, Subcommand)]
pub enum Action {
    /// Counts, time span, popularity, lengths, event types, new items by week; drift against another dataset
    #[command(after_help = "\
Examples:
  muster data stats prepared
  muster data stats prepared --output json
  muster data stats this-week --against last-week --html drift.html")]
    Stats(StatsArgs),
}

/// Flags of `data stats`.
#[derive(Debug, clap::Args)]
pub struct StatsArgs {
    /// The prepared dataset
    #[arg(value_name = "DATASET")]
    pub dataset: PathBuf,
    /// Another prepared dataset, such as the one that a model was trained on: how far both are apart, and what the other lacks
    #[arg(long, value_name = "OTHER")]
    pub against: Option<PathBuf>,
    /// Write a report with charts, one file that any browser opens
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
}

/// Does what the flags ask.
///
/// # Errors
/// Where a dataset is none, or damaged, or the report cannot be written.
pub fn run(context: &Context, args: &Args) -> Result<(), Error> {
    let Action::Stats(args) = &args.action;
    let dataset = Dataset::open(&args.dataset)?;
    let against = args.against.as_deref().map(Dataset::open).transpose()?;
    let drift = against.map(|against| drift(&dataset, &against)).transpose()?;
    let numbers = Numbers { stats: stats(&dataset)?, drift };
    if let Some(path) = &args.html {
        write(path, &page(&numbers))?;
    }
    context.output.report(&numbers)
}
