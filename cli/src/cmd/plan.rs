//! `muster plan`: which tables lie on which ranks, what a step costs then, and how far that is from the least.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use muster_core::planner::{
    Effort, Error as PlanError, Layout, Plan, Problem, loads, options_file, plan, verify,
};
use serde_json::{Map, Value, json};

use crate::context::Context;
use crate::error::{Error, Kind, chain};
use crate::output::Report;
use crate::table::Table;

const EXAMPLES: &str = "\
Examples:
  muster plan --options options.json
  muster plan --options options.json --output json --threads 4
  muster plan --options options.json --effort 10";

/// Places tables on ranks so that a step costs least, and proves how far from the least the plan may be.
/// The same input gives the same plan on any machine and any number of threads.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Ready-made sharding options per table, as JSON
    #[arg(long, value_name = "FILE.json")]
    pub options: PathBuf,
    /// Threads to search with; all cores where absent
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub threads: Option<u32>,
    /// Multiplies the work of the search; it is counted, not timed, so the plan does not depend on the machine
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub effort: u32,
}

/// Reads the options, plans, checks the plan and reports it.
///
/// # Errors
/// Where the file is refused, or no plan fits.
pub fn run(context: &Context, args: &Args) -> Result<(), Error> {
    let text = std::fs::read_to_string(&args.options).map_err(|error| {
        Error::bad_input(format!("cannot read {}: {error}; give a file of options", args.options.display()))
            .with_file(&args.options)
            .with_field("--options")
    })?;
    let start = Instant::now();
    let problem = options_file::parse(&text).map_err(|error| refused(&error, args))?;
    let effort = Effort { factor: args.effort, ..Effort::default() };
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(args.threads.unwrap_or(0) as usize)
        .build()
        .map_err(|error| Error::failed(format!("cannot start threads: {error}")).with_field("--threads"))?;
    let found = pool.install(|| plan(&problem, effort)).map_err(|error| unsolved(error, args))?;
    let seconds = start.elapsed();
    verify(&problem, &found).map_err(|fault| {
        Error::failed(format!("the plan does not hold, which is a fault of the planner: {fault}"))
    })?;
    context.output.report(&Planned { problem: &problem, plan: &found, seconds })
}

fn refused(error: &options_file::FileError, args: &Args) -> Error {
    let message = format!("{}: {}", args.options.display(), chain(error));
    let mapped = Error::bad_input(message).with_file(&args.options);
    match error.field() {
        Some(field) => mapped.with_field(field),
        None => mapped,
    }
}

fn unsolved(error: PlanError, args: &Args) -> Error {
    let kind = if matches!(error, PlanError::NotFound { .. }) { Kind::Failed } else { Kind::BadInput };
    let error = options_file::FileError::from(error);
    Error { kind, ..refused(&error, args) }
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
        let runs = placement.ranks.chunk_by(|a, b| a + 1 == *b);
        let text = |run: &[u32]| match run {
            [one] => one.to_string(),
            _ => format!("{}-{}", run[0], run[run.len() - 1]),
        };
        runs.map(text).collect::<Vec<_>>().join(", ")
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
                (table.name.clone(), json!({"option": self.option(idx), "ranks": ranks}))
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
