//! `muster verify`: proves a run from its own files.

use std::path::PathBuf;

use muster_worker::checkpoint;
use muster_worker::run_record::address;
use serde_json::{Value, json};

use crate::Verdict;
use crate::context::Context;
use crate::error::Error;
use crate::output::Report;
use crate::run_record::open_dataset;
use crate::table::grouped;

const EXAMPLES: &str = "\
Examples:
  muster verify runs/first
  muster verify runs/first --dataset /elsewhere/prepared --output json";

/// Checks every digest, that each sample counted exactly once, and that each shard is covered exactly once.
/// Exit code 1 where something does not hold.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// The run directory, or the URL of a run in an object store
    #[arg(value_name = "RUN_DIR")]
    pub run_dir: PathBuf,
    /// The prepared dataset; the one the run was trained on where absent
    #[arg(long, value_name = "DIR")]
    pub dataset: Option<PathBuf>,
}

/// Checks the run; the verdict is bad where something does not hold.
///
/// # Errors
/// Where there is no run or no dataset to check it against.
pub fn run(context: &Context, args: &Args) -> Result<Verdict, Error> {
    let dataset = open_dataset(args.dataset.as_deref(), &args.run_dir)?;
    let found = checkpoint::verify(&address(&args.run_dir)?, Some(&dataset))?;
    context.output.report(&Found(&found))?;
    Ok(if found.problems.is_empty() { Verdict::Good } else { Verdict::Bad })
}

struct Found<'a>(&'a checkpoint::Verdict);

impl Report for Found<'_> {
    fn text(&self) -> String {
        let found = self.0;
        let increments = match found.increments {
            0 => String::new(),
            increments => format!(" ({increments} of them increments)"),
        };
        let looked_at = format!(
            "{} checkpoints{increments}, {} pieces, {} samples",
            found.checkpoints,
            grouped(found.pieces as u64),
            grouped(found.samples)
        );
        if found.problems.is_empty() {
            return format!("all holds: {looked_at}");
        }
        let problems: Vec<String> = found.problems.iter().map(|problem| format!("  {problem}")).collect();
        format!("{} problems in {looked_at}\n{}", found.problems.len(), problems.join("\n"))
    }

    fn json(&self) -> Value {
        let found = self.0;
        json!({
            "ok": found.problems.is_empty(),
            "problems": found.problems,
            "checkpoints": found.checkpoints,
            "increments": found.increments,
            "pieces": found.pieces,
            "samples": found.samples,
        })
    }
}
