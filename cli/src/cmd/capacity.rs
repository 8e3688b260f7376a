//! `muster capacity`: what a model costs on which devices, and when it is done.

use std::path::PathBuf;

use crate::capacity::{load, page, question, sweep, validation};
use crate::context::Context;
use crate::error::Error;

/// Forecasts steps, time, cost and memory, from a spec alone.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  muster capacity deploy/examples/capacity/shop.toml
  muster capacity shop.toml --sweep run.batch=16384,32768,65536 --sweep pools.0.nodes=1,2,4 --csv sweep.csv
  muster capacity shop.toml --html report.html
  muster capacity shop.toml --job job.toml --dataset prepared
  muster capacity --validate mlperf_dlrm_dcnv2_measured.csv measured_nv_synth_a100.json")]
pub struct Args {
    /// The question: pools, tables, dense part, run
    #[arg(value_name = "SPEC.toml", required_unless_present = "validate")]
    pub spec: Option<PathBuf>,
    /// Replace a value of the file
    #[arg(long, value_name = "KEY.PATH=VALUE")]
    pub set: Vec<String>,
    /// Ask for each of some values; several make a grid
    #[arg(long, value_name = "KEY.PATH=VALUE,..", conflicts_with = "validate")]
    pub sweep: Vec<String>,
    /// Take tables, dense part and run from a job over --dataset
    #[arg(long, value_name = "JOB.toml", requires = "dataset")]
    pub job: Option<PathBuf>,
    /// The prepared dataset of --job
    #[arg(long, value_name = "DIR", requires = "job")]
    pub dataset: Option<PathBuf>,
    /// Write the rows of the sweep as CSV
    #[arg(long, value_name = "FILE", requires = "sweep")]
    pub csv: Option<PathBuf>,
    /// Write a report with charts, one file that any browser opens
    #[arg(long, value_name = "FILE", conflicts_with = "validate")]
    pub html: Option<PathBuf>,
    /// Forecast measured steps and tell the errors
    #[arg(long, value_name = "FILE", num_args = 1.., conflicts_with_all = ["spec", "job"])]
    pub validate: Vec<PathBuf>,
}

/// Does what the flags ask.
///
/// # Errors
/// A file that cannot be read or written, a spec that is refused, a model that fits nowhere.
pub fn run(context: &Context, args: &Args) -> Result<(), Error> {
    let Some(spec) = &args.spec else {
        return context.output.report(&validation::validate(&args.validate)?);
    };
    let source =
        load::Source { spec, sets: &args.set, job: args.job.as_deref().zip(args.dataset.as_deref()) };
    if !args.sweep.is_empty() {
        let swept = sweep::sweep(&source, &args.sweep)?;
        if let Some(path) = &args.csv {
            load::write(path, &swept.csv())?;
        }
        if let Some(path) = &args.html {
            load::write(path, &page::of_sweep(&swept))?;
        }
        return context.output.report(&swept);
    }
    let answered = question::ask(&source.load(&[])?, spec)?;
    if let Some(path) = &args.html {
        load::write(path, &page::of_question(&answered))?;
    }
    context.output.report(&answered)
}
