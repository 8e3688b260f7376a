//! `muster generate`: deterministic shopping logs, and series for the regression example.

use std::path::PathBuf;

use muster_data::generate::{GenerateReport, SeriesArgs, generate_series};
use muster_data::{GenerateArgs, generate};
use serde_json::{Value, json};

use crate::context::Context;
use crate::error::Error;
use crate::output::Report;
use crate::table::grouped;

const EXAMPLES: &str = "\
Examples:
  muster generate --users 2000 --items 500 --events 60000 --seed 1 --out logs.csv
  muster generate --out logs.csv --output json
  muster generate --kind series --sequences 2048 --out series.parquet";

/// What is generated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Kind {
    /// A log of views, carts and purchases
    Events,
    /// Sequences of 50 rows of 128 numbers with a target each, for a regression
    Series,
}

/// Writes a log of views, carts and purchases, one event a line, with Zipf popularity, tastes over categories
/// and sessions. The same flags give the same bytes.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// What to generate
    #[arg(long, value_enum, default_value_t = Kind::Events)]
    pub kind: Kind,
    /// Number of sequences of a series
    #[arg(long, value_name = "N", allow_negative_numbers = true, default_value_t = 2_048, value_parser = clap::value_parser!(u32).range(1..))]
    pub sequences: u32,
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
    if args.kind == Kind::Series {
        let series = SeriesArgs { sequences: args.sequences, seed: args.seed, ..SeriesArgs::default() };
        let bytes = generate_series(&series, &args.out)?;
        progress.finish(&format!("{} sequences", grouped(u64::from(args.sequences))));
        return context.output.report(&GeneratedSeries { args, series, bytes });
    }
    let numbers = GenerateArgs { users: args.users, items: args.items, events: args.events, seed: args.seed };
    let report = generate(&numbers, &args.out)?;
    progress.finish(&format!("{} events", grouped(report.events)));
    context.output.report(&Generated { args, report })
}

struct GeneratedSeries<'a> {
    args: &'a Args,
    series: SeriesArgs,
    bytes: u64,
}

impl Report for GeneratedSeries<'_> {
    fn text(&self) -> String {
        let SeriesArgs { sequences, steps, width, .. } = self.series;
        let (out, sequences) = (self.args.out.display(), grouped(u64::from(sequences)));
        format!(
            "{out}: {sequences} sequences of {steps} rows of {width} numbers, {} bytes",
            grouped(self.bytes)
        )
    }

    fn json(&self) -> Value {
        json!({
            "out": self.args.out.display().to_string(),
            "sequences": self.series.sequences,
            "steps": self.series.steps,
            "width": self.series.width,
            "bytes": self.bytes,
            "seed": self.args.seed,
        })
    }
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
