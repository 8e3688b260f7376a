//! `muster generate`: deterministic shopping logs, shops of any size with dirt, and series for the regression example.

use std::path::PathBuf;

use muster_data::generate::{DATASET_FILE, GenerateReport, SeriesArgs, Truth, generate_series};
use muster_data::{GenerateArgs, ShopArgs, generate, generate_shop};
use muster_proto::config;
use muster_proto::dataset::ShopSpec;
use serde_json::{Value, json};

use crate::context::Context;
use crate::error::Error;
use crate::local::threads_each;
use crate::output::Report;
use crate::table::{Table, grouped};

const EXAMPLES: &str = "\
Examples:
  muster generate --users 2000 --items 500 --events 60000 --seed 1 --out logs.csv
  muster generate --out logs.csv --output json
  muster generate --kind series --sequences 2048 --out series.parquet
  muster generate --kind shop --events 10000000 --users 500000 --items 50000 --set dirt.rate=0.02 --out shop
  muster generate --kind shop --spec shop.toml --set format=parquet --set files=12 --out shop";

/// What is generated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Kind {
    /// A log of views, carts and purchases, one user after the other, in one CSV file
    Events,
    /// A shop of any size: a log in the order of time, with dirt, the truth about it, and a dataset file
    Shop,
    /// Sequences of 50 rows of 128 numbers with a target each, for a regression
    Series,
}

/// Writes a log of views, carts and purchases, one event a line, with Zipf popularity, tastes over categories
/// and sessions. The same flags give the same bytes. A shop is a folder: the log in CSV, JSON lines or Parquet, `dataset.toml`
/// for `muster prepare`, and `truth.json`, which says how many rows of each kind of dirt are in it.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// What to generate
    #[arg(long, value_enum, default_value_t = Kind::Events)]
    pub kind: Kind,
    /// Number of sequences of a series
    #[arg(long, value_name = "N", allow_negative_numbers = true, default_value_t = 2_048, value_parser = clap::value_parser!(u32).range(1..))]
    pub sequences: u32,
    /// Number of users [default: 2000, of a shop 20000]
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = clap::value_parser!(u32).range(1..))]
    pub users: Option<u32>,
    /// Number of items [default: 500, of a shop 5000]
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = clap::value_parser!(u32).range(1..))]
    pub items: Option<u32>,
    /// Number of events, of a shop without its dirt [default: 60000, of a shop 1000000]
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = clap::value_parser!(u64).range(1..))]
    pub events: Option<u64>,
    /// Seed of everything random [default: 1]
    #[arg(long, value_name = "S", allow_negative_numbers = true)]
    pub seed: Option<u64>,
    /// File with the keys of a shop; see docs/reference/shop.md
    #[arg(long, value_name = "SHOP.toml")]
    pub spec: Option<PathBuf>,
    /// Override a key of a shop
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub sets: Vec<String>,
    /// File to write, of a shop the folder
    #[arg(long, value_name = "FILE")]
    pub out: PathBuf,
}

/// Writes the log; where it cannot be written whole there is none.
///
/// # Errors
/// Where the numbers do not fit each other, or the file cannot be written.
pub fn run(context: &Context, args: &Args) -> Result<(), Error> {
    let seed = args.seed.unwrap_or(1);
    if args.kind == Kind::Shop {
        return run_shop(context, args);
    }
    if args.spec.is_some() || !args.sets.is_empty() {
        let flag = if args.spec.is_some() { "--spec" } else { "--set" };
        return Err(Error::bad_input(format!("{flag} is about a shop: add --kind shop")).with_field(flag));
    }
    let mut progress = context.progress();
    progress.start("generate", 0);
    if args.kind == Kind::Series {
        let series = SeriesArgs { sequences: args.sequences, seed, ..SeriesArgs::default() };
        let bytes = generate_series(&series, &args.out)?;
        progress.finish(&format!("{} sequences", grouped(u64::from(args.sequences))));
        return context.output.report(&GeneratedSeries { args, series, bytes });
    }
    let numbers = GenerateArgs {
        users: args.users.unwrap_or(2_000),
        items: args.items.unwrap_or(500),
        events: args.events.unwrap_or(60_000),
        seed,
    };
    let report = generate(&numbers, &args.out)?;
    progress.finish(&format!("{} events", grouped(report.events)));
    context.output.report(&Generated { args, seed, report })
}

fn run_shop(context: &Context, args: &Args) -> Result<(), Error> {
    let numbers = [
        ("users", args.users.map(u64::from)),
        ("items", args.items.map(u64::from)),
        ("events", args.events),
        ("seed", args.seed),
    ];
    let flags =
        numbers.into_iter().filter_map(|(key, number)| number.map(|number| format!("{key}={number}")));
    let sets: Vec<String> = flags.chain(args.sets.iter().cloned()).collect();
    let spec: ShopSpec = match &args.spec {
        Some(path) => config::load(path, &sets)?,
        None => config::parse("", "--set", &sets)?,
    };
    let mut progress = context.progress();
    progress.start("generate", 0);
    let truth = generate_shop(&ShopArgs { spec: &spec, out: &args.out, threads: threads_each(1) as usize })?;
    progress.finish(&format!("{} rows", grouped(truth.rows)));
    context.output.report(&GeneratedShop { args, seed: spec.seed, truth })
}

struct GeneratedShop<'a> {
    args: &'a Args,
    seed: u64,
    truth: Truth,
}

impl Report for GeneratedShop<'_> {
    fn text(&self) -> String {
        let Truth { events, rows, dropped, files, bytes, .. } = &self.truth;
        let mut table = Table::new(["in the log", "rows"]);
        table.row(["clean events".to_owned(), grouped(*events)]);
        for (rule, count) in dropped {
            table.row([format!("dirt for: {rule}"), grouped(*count)]);
        }
        table.row(["all".to_owned(), grouped(*rows)]);
        let out = self.args.out.display();
        format!(
            "{}\n\n  {} bytes in {} files\n  next: muster prepare {out}/{DATASET_FILE} --out prepared",
            table.render(),
            grouped(*bytes),
            files.len()
        )
    }

    fn json(&self) -> Value {
        let Truth { events, rows, planted, dropped, files, bytes } = &self.truth;
        json!({
            "out": self.args.out.display().to_string(),
            "events": events,
            "rows": rows,
            "planted": planted,
            "dropped": dropped,
            "files": files,
            "bytes": bytes,
            "seed": self.seed,
        })
    }
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
            "seed": self.series.seed,
        })
    }
}

struct Generated<'a> {
    args: &'a Args,
    seed: u64,
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
            "seed": self.seed,
        })
    }
}
