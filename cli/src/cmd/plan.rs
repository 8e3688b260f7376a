//! `muster plan`: which tables lie on which ranks, what a step costs then, and how far that is from the least.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use muster_core::capacity::Wish;
use muster_core::planner::{
    Effort, Error as PlanError, Layout, Plan, Problem, loads, options_file, plan, verify,
};
use serde_json::{Map, Value, json};

use crate::capacity::{job_plan, load, planned, rank_chart};
use crate::context::Context;
use crate::error::{Error, Kind, chain};
use crate::output::Report;
use crate::submission::JobFile;
use crate::table::{Table, runs};

const EXAMPLES: &str = "\
Examples:
  muster plan deploy/examples/capacity/shop.toml
  muster plan shop.toml --pool h100 --chart ranks.svg
  muster plan shop.toml --output json > plan.json
  muster plan shop.toml --set pools.0.nodes=3 --from plan.json --tolerance 0.05
  muster plan shop.toml --job job.toml --dataset prepared
  muster plan --job job.toml --dataset prepared --workers 2 --calibration machine.toml
  muster plan --options options.json
  muster plan --options options.json --output json --threads 4
  muster plan --options options.json --effort 10";

/// Places tables on ranks so that a step costs least, and proves how far from the least the plan may be.
/// The same input gives the same plan on any machine and any number of threads.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// A capacity question: the planner's costs follow from its pools, tables, dense part and run
    #[arg(value_name = "SPEC.toml", required_unless_present_any = ["options", "job"], conflicts_with = "options")]
    pub spec: Option<PathBuf>,
    /// Ready-made sharding options per table, as JSON
    #[arg(long, value_name = "FILE.json")]
    pub options: Option<PathBuf>,
    /// What goes with a spec
    #[command(flatten)]
    pub question: Question,
    /// Threads to search with, all cores where absent; with --job alone, threads of each worker
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub threads: Option<u32>,
    /// Multiplies the work of the search; it is counted, not timed, so the plan does not depend on the machine
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub effort: u32,
}

/// What goes with a spec.
#[derive(Debug, clap::Args)]
pub struct Question {
    /// Replace a value of the spec; with --job alone, of the job
    #[arg(long, value_name = "KEY.PATH=VALUE", conflicts_with = "options")]
    pub set: Vec<String>,
    /// The pool of the spec to plan for; its first where absent
    #[arg(long, value_name = "NAME", requires = "spec")]
    pub pool: Option<String>,
    /// Take tables, dense part and run from a job over --dataset; without a spec, forecast the job on workers of this machine
    #[arg(long, value_name = "JOB.toml", requires = "dataset", conflicts_with = "options")]
    pub job: Option<PathBuf>,
    /// Local workers to forecast --job on
    #[arg(long, value_name = "N", requires = "job", conflicts_with = "spec", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub workers: u32,
    /// What muster calibrate wrote; this machine's, or else the catalogue, where absent
    #[arg(long, value_name = "FILE.toml", requires = "job", conflicts_with = "spec")]
    pub calibration: Option<PathBuf>,
    /// The prepared dataset of --job
    #[arg(long, value_name = "DIR", requires = "job")]
    pub dataset: Option<PathBuf>,
    /// Move little from this plan, which `--output json` wrote
    #[arg(long, value_name = "PLAN.json", requires = "spec")]
    pub from: Option<PathBuf>,
    /// How much more than a fresh plan's a plan may cost that moves less, as a share
    #[arg(long, value_name = "SHARE", requires = "from", default_value_t = 0.05, value_parser = share)]
    pub tolerance: f64,
    /// Write what each rank does as a chart
    #[arg(long, value_name = "FILE.svg", requires = "spec")]
    pub chart: Option<PathBuf>,
}

fn share(text: &str) -> Result<f64, String> {
    let number: f64 = text.parse().map_err(|_| format!("`{text}` is no number"))?;
    let fits = (0.0..=10.0).contains(&number);
    fits.then_some(number).ok_or_else(|| format!("{number} is no share between 0 and 10"))
}

/// Plans a spec, or ready-made options, checks the plan and reports it.
///
/// # Errors
/// Where the file is refused, or no plan fits.
pub fn run(context: &Context, args: &Args) -> Result<(), Error> {
    let question = &args.question;
    if let (None, Some(job), Some(dataset)) = (&args.spec, &question.job, &question.dataset) {
        return context.output.report(&job_plan::of(&job_plan::Question {
            job: JobFile { path: job, sets: &question.set, seed: None },
            dataset,
            workers: question.workers,
            threads: args.threads,
            calibration: question.calibration.as_deref(),
        })?);
    }
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(args.threads.unwrap_or(0) as usize)
        .build()
        .map_err(|error| Error::failed(format!("cannot start threads: {error}")).with_field("--threads"))?;
    pool.install(|| match (&args.spec, &args.options) {
        (Some(spec), _) => of_spec(context, args, spec),
        (None, Some(options)) => of_options(context, args, options),
        (None, None) => Err(Error::bad_input("give a SPEC.toml, --job JOB.toml, or --options FILE.json")),
    })
}

fn of_spec(context: &Context, args: &Args, spec: &Path) -> Result<(), Error> {
    let question = &args.question;
    let job = question.job.as_deref().zip(question.dataset.as_deref());
    let source = load::Source { spec, sets: &question.set, job };
    let loaded = source.load(&[])?;
    let present = match &question.from {
        None => BTreeMap::new(),
        Some(path) => planned::present(&load::read(path)?).map_err(|what| {
            let message = format!("{}: {what}", path.display());
            Error::bad_input(message).with_file(path).with_field("--from")
        })?,
    };
    let effort = Effort { factor: args.effort, divisor: 5, ..Effort::default() };
    let wish = Wish { effort, present, tolerance: question.tolerance };
    let start = Instant::now();
    let mut found = planned::plan(&loaded, spec, question.pool.as_deref(), &wish)?;
    found.time = start.elapsed();
    if let Some(path) = &question.chart {
        load::write(path, &rank_chart::render(&found))?;
    }
    context.output.report(&found)
}

fn of_options(context: &Context, args: &Args, path: &Path) -> Result<(), Error> {
    let text = std::fs::read_to_string(path).map_err(|error| {
        Error::bad_input(format!("cannot read {}: {error}; give a file of options", path.display()))
            .with_file(path)
            .with_field("--options")
    })?;
    let start = Instant::now();
    let problem = options_file::parse(&text).map_err(|error| refused(&error, path))?;
    let effort = Effort { factor: args.effort, ..Effort::default() };
    let found = plan(&problem, effort).map_err(|error| unsolved(error, path))?;
    let seconds = start.elapsed();
    verify(&problem, &found).map_err(|fault| {
        Error::failed(format!("the plan does not hold, which is a fault of the planner: {fault}"))
    })?;
    context.output.report(&Planned { problem: &problem, plan: &found, seconds })
}

fn refused(error: &options_file::FileError, path: &Path) -> Error {
    let message = format!("{}: {}", path.display(), chain(error));
    let mapped = Error::bad_input(message).with_file(path);
    match error.field() {
        Some(field) => mapped.with_field(field),
        None => mapped,
    }
}

fn unsolved(error: PlanError, path: &Path) -> Error {
    let kind = if matches!(error, PlanError::NotFound { .. }) { Kind::Failed } else { Kind::BadInput };
    let error = options_file::FileError::from(error);
    Error { kind, ..refused(&error, path) }
}

struct Planned<'a> {
    problem: &'a Problem,
    plan: &'a Plan,
    seconds: Duration,
}

impl Planned<'_> {
    fn option(&self, table: usize) -> &str {
        &self.problem.tables()[table].options[self.plan.placements[table].option].name
    }

    /// `all`, or the ranks with runs of consecutive ones drawn together.
    fn ranks_text(&self, table: usize) -> String {
        let placement = &self.plan.placements[table];
        if self.problem.tables()[table].options[placement.option].layout == Layout::EveryRank {
            return "all".to_owned();
        }
        runs(&placement.ranks.iter().map(|rank| *rank as usize).collect::<Vec<_>>())
    }
}

impl Report for Planned<'_> {
    fn text(&self) -> String {
        let mut table = Table::new(["table", "option", "ranks"]);
        for (idx, entry) in self.problem.tables().iter().enumerate() {
            table.row([entry.name.as_str(), self.option(idx), &self.ranks_text(idx)]);
        }
        let loads = loads(self.problem, &self.plan.placements);
        let rank_load =
            |rank: usize| loads[rank * self.problem.phases()..][..self.problem.phases()].iter().sum();
        let ranks: Vec<f64> = (0..self.problem.world_size()).map(rank_load).collect();
        let worst =
            (0..ranks.len()).max_by(|a, b| ranks[*a].total_cmp(&ranks[*b]).then(b.cmp(a))).unwrap_or(0);
        let mean = ranks.iter().sum::<f64>() / ranks.len() as f64;
        format!(
            "{}\n\ncost {:.6} ms; bottleneck rank {worst} with {:.6} ms, ranks have {mean:.6} ms on average\n\
             no plan costs less than {:.6} ms ({}): gap {:.3} %\n{} tables on {} ranks planned and verified in {:.3} s",
            table.render(),
            self.plan.cost,
            ranks[worst],
            self.plan.bound,
            self.plan.proof.as_str(),
            100.0 * self.plan.gap(),
            self.problem.tables().len(),
            self.problem.world_size(),
            self.seconds.as_secs_f64(),
        )
    }

    fn json(&self) -> Value {
        let assignment: Map<String, Value> = self
            .problem
            .tables()
            .iter()
            .enumerate()
            .map(|(idx, table)| {
                let ranks = self.plan.ranks(self.problem, idx);
                (table.name.clone(), json!({"option": self.option(idx), "index": self.plan.placements[idx].option, "ranks": ranks}))
            })
            .collect();
        json!({
            "cost": self.plan.cost,
            "bound": self.plan.bound,
            "gap": self.plan.gap(),
            "proof": self.plan.proof.as_str(),
            "seconds": self.seconds.as_secs_f64(),
            "assignment": assignment,
        })
    }
}
