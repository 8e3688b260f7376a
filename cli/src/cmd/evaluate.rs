//! `muster evaluate`: a model against held-out events, with every item ranked.

use std::fs;
use std::path::PathBuf;

use muster_worker::evaluate::{Report as Judged, to_csv};
use serde_json::{Value, json};

use crate::context::Context;
use crate::error::Error;
use crate::export;
use crate::local::threads_each;
use crate::metrics;
use crate::model::{Model, Options};
use crate::output::Report;
use crate::run_record::open_dataset;
use crate::table::{Table, grouped};

const EXAMPLES: &str = "\
Examples:
  muster evaluate runs/first --dataset prepared
  muster evaluate runs/first --dataset prepared --split valid --output json
  muster evaluate runs/first/checkpoints/step-400 --dataset prepared --csv report.csv";

/// Ranks all items for every user and compares with the held-out event. Popularity stands beside the model in
/// every report.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// The model: a run directory, a checkpoint, or what `muster models export --with-histories` wrote
    #[arg(value_name = "MODEL")]
    pub model: PathBuf,
    /// The prepared dataset; the one the model was trained on where absent
    #[arg(long, value_name = "DIR")]
    pub dataset: Option<PathBuf>,
    /// Which held-out events to rank
    #[arg(long, value_enum, default_value_t = Split::Test)]
    pub split: Split,
    /// Rank seen items too
    #[arg(long)]
    pub keep_seen: bool,
    /// Threads to use; all cores where absent
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub threads: Option<u32>,
    /// Also write the report as CSV
    #[arg(long, value_name = "FILE")]
    pub csv: Option<PathBuf>,
}

/// A part of a dataset that is held out of training.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Split {
    /// Each user's last event but one
    Valid,
    /// Each user's last event
    Test,
}

impl From<Split> for muster_data::Split {
    fn from(split: Split) -> Self {
        match split {
            Split::Valid => Self::Valid,
            Split::Test => Self::Test,
        }
    }
}

/// Evaluates the model and reports it beside the baselines.
///
/// # Errors
/// Where model and dataset do not fit, are damaged, or the CSV cannot be written.
pub fn run(context: &Context, args: &Args) -> Result<(), Error> {
    let dataset = open_dataset(args.dataset.as_deref(), &args.model)?;
    export::check_histories(&args.model, args.dataset.as_deref(), "--dataset DIR names the whole dataset")?;
    let mut progress = context.progress();
    progress.start("evaluate", 0);
    let options = Options {
        threads: args.threads.unwrap_or_else(|| threads_each(1)),
        filter_seen: args.keep_seen.then_some(false),
    };
    let report = Model::open(&args.model, &dataset, options)?.evaluate(&dataset, args.split.into())?;
    progress.finish(&format!("{} users", grouped(report.model.users)));
    if let Some(csv) = &args.csv {
        fs::write(csv, to_csv(&report)).map_err(|error| {
            Error::failed(format!("cannot write {}: {error}", csv.display())).with_file(csv)
        })?;
    }
    context.output.report(&Evaluated(&report))
}

/// A model beside its baselines.
#[derive(Debug, Clone, Copy)]
pub struct Evaluated<'a>(pub &'a Judged);

impl Report for Evaluated<'_> {
    fn text(&self) -> String {
        let judged = self.0;
        let names = judged.baselines.keys().cloned();
        let mut table = Table::new(["metric", "model"].into_iter().map(str::to_owned).chain(names));
        for metric in metrics::ordered(judged.model.metrics.keys().map(String::as_str)) {
            let shown = |value: Option<&f64>| value.map_or_else(String::new, |value| format!("{value:.4}"));
            let beside = judged.baselines.values().map(|baseline| shown(baseline.get(metric)));
            let model = shown(judged.model.metrics.get(metric));
            table.row([metric.to_owned(), model].into_iter().chain(beside));
        }
        let model = &judged.model;
        let seen = if model.seen_filtered { "seen items left out" } else { "seen items ranked too" };
        let who = format!(
            "  {} users of split {}, {seen}, {} with ties",
            grouped(model.users),
            judged.split,
            grouped(model.ties)
        );
        format!("{}\n\n{who}", table.render())
    }

    fn json(&self) -> Value {
        json!(self.0)
    }
}
