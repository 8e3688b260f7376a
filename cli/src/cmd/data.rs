//! `muster data`: looks at a prepared dataset.

use std::path::PathBuf;

use clap::Subcommand;
use muster_data::{Dataset, Stats, stats};
use serde_json::{Value, json};

use crate::context::Context;
use crate::error::Error;
use crate::output::Report;
use crate::table::{Table, grouped};

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
    /// Users, items, events, lengths, popularity, partitions
    #[command(after_help = "Example:\n  muster data stats prepared --output json")]
    Stats(StatsArgs),
}

/// Flags of `data stats`.
#[derive(Debug, clap::Args)]
pub struct StatsArgs {
    /// The prepared dataset
    #[arg(value_name = "DATASET")]
    pub dataset: PathBuf,
}

/// Does what the flags ask.
///
/// # Errors
/// Where the dataset is none, or damaged.
pub fn run(context: &Context, args: &Args) -> Result<(), Error> {
    let Action::Stats(args) = &args.action;
    let dataset = Dataset::open(&args.dataset)?;
    context.output.report(&Numbers(stats(&dataset)?))
}

struct Numbers(Stats);

impl Report for Numbers {
    fn text(&self) -> String {
        let stats = &self.0;
        let lengths = &stats.lengths;
        let mut table = Table::new(["dataset".to_owned(), stats.name.clone()]);
        let counts = [
            ("users", u64::from(stats.users)),
            ("items", u64::from(stats.items)),
            ("events", stats.events),
            ("training events", stats.splits.train),
            ("held out for validation", stats.splits.valid),
            ("held out for test", stats.splits.test),
            ("partitions", u64::from(stats.partitions)),
            ("bytes", stats.bytes),
        ];
        for (name, count) in counts {
            table.row([name.to_owned(), grouped(count)]);
        }
        table.row(["density".to_owned(), format!("{:.6}", stats.density)]);
        table.row(["share of the top tenth of items".to_owned(), format!("{:.3}", stats.top_tenth_share)]);
        table.row(["largest partition over the mean".to_owned(), format!("{:.2}", stats.partition_skew)]);
        let quantiles =
            [lengths.min, lengths.p25, lengths.median, lengths.p75, lengths.p95, lengths.p99, lengths.max];
        let quantiles: Vec<String> = quantiles.iter().map(ToString::to_string).collect();
        format!(
            "{}\n\n  events of a user, min p25 median p75 p95 p99 max: {}",
            table.render(),
            quantiles.join(" ")
        )
    }

    fn json(&self) -> Value {
        json!(self.0)
    }
}
