//! `muster generate`: deterministic shopping logs.

use std::path::PathBuf;

use muster_data::generate::GenerateReport;
use muster_data::{GenerateArgs, generate};
use serde_json::{Value, json};

use crate::context::Context;
use crate::error::Error;
use crate::output::Report;
use crate::table::grouped;

const EXAMPLES: &str = "\
Examples:
  muster generate --users 2000 --items 500 --events 60000 --seed 1 --out logs.csv
  muster generate --out logs.csv --output json";

/// Writes a log of views, carts and purchases, one event a line, with Zipf popularity, tastes over categories
/// and sessions. The same flags give the same bytes.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Number of users
    #[arg(long, value_name = "N", allow_negative_numbers = true, default_value_t = 2_000, value_parser = clap::value_parser!(u32).range(1..))]
    pub users: u32,
    /// Number of items
    #[arg(long, value_name = "N", allow_negative_numbers = true, default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..))]
    pub items: u32,
    /// Number of events
    #[arg(long, value_name = "N", allow_negative_numbers = true, default_value_t = 60_000, value_parser = clap::value_parser!(u64).range(1..))]
    pub events: u64,
    /// Seed of everything random
    #[arg(long, value_name = "S", allow_negative_numbers = true, default_value_t = 1)]
    pub seed: u64,
    /// File to write
    #[arg(long, value_name = "FILE")]
    pub out: PathBuf,
}

/// Writes the log; where it cannot be written whole there is none.
///
/// # Errors
/// Where the numbers do not fit each other, or the file cannot be written.
pub fn run(context: &Context, args: &Args) -> Result<(), Error> {
    let mut progress = context.progress();
    progress.start("generate", 0);
    let numbers = GenerateArgs { users: args.users, items: args.items, events: args.events, seed: args.seed };
    let report = generate(&numbers, &args.out)?;
    progress.finish(&format!("{} events", grouped(report.events)));
    context.output.report(&Generated { args, report })
}

struct Generated<'a> {
    args: &'a Args,
    report: GenerateReport,
}

impl Report for Generated<'_> {
    fn text(&self) -> String {
        let report = &self.report;
        format!(
            "{}: {} events ({} views) of {} users with {} items, {} bytes",
            self.args.out.display(),
            grouped(report.events),
            grouped(report.views),
            grouped(u64::from(report.users)),
            grouped(u64::from(report.items)),
            grouped(report.bytes)
        )
    }

    fn json(&self) -> Value {
        let report = &self.report;
        json!({
            "out": self.args.out.display().to_string(),
            "users": report.users,
            "items": report.items,
            "events": report.events,
            "views": report.views,
            "bytes": report.bytes,
            "seed": self.args.seed,
        })
    }
}
