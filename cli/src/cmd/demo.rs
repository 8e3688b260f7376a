//! `muster demo`: the whole of it in one command, on logs it makes itself.

use std::fs;
use std::path::{Path, PathBuf};

use muster_data::generate::OracleReport;
use muster_data::{Dataset, GenerateArgs, Split, generate, oracle};
use muster_worker::evaluate::Report as Judged;
use serde_json::{Value, json};

use super::evaluate::Evaluated;
use super::prepare::{self, Prepared};
use super::recommend::Recommended;
use super::train::{self, Device};
use crate::context::Context;
use crate::drifting;
use crate::error::Error;
use crate::local::threads_each;
use crate::model::{Model, Options};
use crate::output::Report;
use crate::run_dir;
use crate::summary::Summary;
use crate::table::Table;

const EXAMPLES: &str = "\
Examples:
  muster demo
  muster demo --workers 4 --seed 7 --out runs/my-demo
  muster demo --loop";

/// Generates shopping logs, prepares them, trains on a local cluster, evaluates beside the baselines, recommends
/// with reasons, and says what to try next. Less than a minute on two cores.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Number of worker processes
    #[arg(long, value_name = "N", allow_negative_numbers = true, default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=64))]
    pub workers: u32,
    /// Seed of the logs and of training
    #[arg(long, value_name = "S", allow_negative_numbers = true, default_value_t = 1)]
    pub seed: u64,
    /// A month of a shop whose customers change, with a model that is trained again every night: gates, promotions, a roll-back, and
    /// a chart beside a model that is trained anew each night and one that never is again. Some minutes
    #[arg(long = "loop")]
    pub is_loop: bool,
    /// Days of the loop
    #[arg(long, value_name = "N", requires = "is_loop", default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..=365))]
    pub days: u32,
    /// Folder for logs, dataset and run, new or empty; runs/demo-N or runs/loop-N where absent
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
}

const DATASET: &str = include_str!("../../../deploy/examples/demo/dataset.toml");
const JOB: &str = include_str!("../../../deploy/examples/demo/job.toml");

/// How many recommendations are shown.
const SHOWN: usize = 10;

/// Runs the demo.
///
/// # Errors
/// Where the folder is refused or a part of it fails.
pub fn run(context: &Context, args: &Args) -> Result<(), Error> {
    if args.is_loop {
        let Args { workers, days, seed, out, .. } = args.clone();
        return drifting::run(context, &drifting::Args { workers, days, seed, out });
    }
    let folder = run_dir::claim(args.out.as_deref(), "demo")?;
    let numbers = GenerateArgs { users: 3_000, items: 600, events: 90_000, seed: args.seed };
    let say = |text: &str| context.output.say(text);
    say(&format!("1. generate {} events of {} users", numbers.events, numbers.users))?;
    generate(&numbers, &folder.join("logs.csv"))?;
    say("2. prepare: clean, split, partition")?;
    let prepared = prepare(context, &folder)?;
    say(&prepared.text())?;
    say(&format!("3. train on {} worker processes", args.workers))?;
    let summary = train(context, args, &folder)?;
    say(&summary.text())?;
    say("4. evaluate beside the baselines")?;
    let dataset = Dataset::open(&prepared.out)?;
    let mut model =
        Model::open(&folder.join("run"), &dataset, Options { threads: threads_each(1), filter_seen: None })?;
    let judged = model.evaluate(&dataset, Split::Test)?;
    let oracle = oracle(&numbers, SHOWN, numbers.users)?;
    let user = someone(&dataset)?;
    let recommended = Recommended::new(&mut model, &dataset, &user, SHOWN)?;
    context.output.report(&Shown { folder, prepared, summary, judged, oracle, recommended, user })
}

fn prepare(context: &Context, folder: &Path) -> Result<Prepared, Error> {
    let dataset = write(folder, "dataset.toml", DATASET)?;
    let out = Some(folder.join("dataset"));
    let args = prepare::Args { out, ..prepare::Args::of(dataset) };
    prepare::prepare_dataset(context, &args)
}

fn train(context: &Context, args: &Args, folder: &Path) -> Result<Summary, Error> {
    let job = write(folder, "job.toml", &format!("seed = {}\n{JOB}", args.seed))?;
    let args = train::Args {
        job,
        dataset: Some(folder.join("dataset")),
        min_workers: 1,
        spares: 0,
        workers: args.workers,
        coordinator: None,
        token_file: None,
        threads: None,
        device: Device::Auto,
        seed: None,
        resume: None,
        from: None,
        out: Some(folder.join("run")),
        sets: Vec::new(),
        calibration: None,
    };
    train::train(context, &args, None)
}

/// Writes a file of a demo.
///
/// # Errors
/// Where it cannot be written.
pub(crate) fn write(folder: &Path, name: &str, text: &str) -> Result<PathBuf, Error> {
    let path = folder.join(name);
    fs::write(&path, text).map_err(|error| {
        Error::failed(format!("cannot write {}: {error}", path.display())).with_file(&path)
    })?;
    Ok(path)
}

/// The first user with a history long enough to give reasons from.
fn someone(dataset: &Dataset) -> Result<String, Error> {
    for index in 0..dataset.manifest().partitions.len() as u32 {
        let partition = dataset.load(index)?;
        if let Some(user) =
            (0..partition.users()).find(|user| (6..=12).contains(&partition.range(*user).len()))
        {
            return Ok(partition.user_key(user).to_owned());
        }
    }
    Err(Error::failed("the generated log has no user with 6 to 12 events"))
}

struct Shown {
    folder: PathBuf,
    prepared: Prepared,
    summary: Summary,
    judged: Judged,
    oracle: OracleReport,
    recommended: Recommended,
    user: String,
}

impl Shown {
    fn hit_rate(&self, baseline: Option<&str>) -> f64 {
        let metrics = match baseline {
            Some(name) => self.judged.baselines.get(name),
            None => Some(&self.judged.model.metrics),
        };
        metrics.and_then(|metrics| metrics.get("HR@10")).copied().unwrap_or_default()
    }

    fn table(&self) -> Table {
        let mut table = Table::new(["ranking 600 items for 3000 users", "HR@10", "NDCG@10"]);
        let mut row = |name: &str, hit_rate: f64, ndcg: f64| {
            table.row([name.to_owned(), format!("{hit_rate:.4}"), format!("{ndcg:.4}")]);
        };
        let ndcg =
            |metrics: &muster_worker::evaluate::Metrics| metrics.get("NDCG@10").copied().unwrap_or_default();
        row("the model", self.hit_rate(None), ndcg(&self.judged.model.metrics));
        for (name, metrics) in &self.judged.baselines {
            row(name, self.hit_rate(Some(name)), ndcg(metrics));
        }
        row("the generator itself (oracle)", self.oracle.hit_rate, self.oracle.ndcg);
        table
    }

    fn next_steps(&self) -> [String; 5] {
        let folder = self.folder.display();
        [
            format!(
                "muster train {folder}/job.toml --dataset {folder}/dataset --workers 4   # the same model_digest"
            ),
            format!("muster recommend {folder}/run --user {} -k 5", self.user),
            format!("muster verify {folder}/run"),
            format!("open {folder}/run/curves.svg"),
            format!(
                "edit {folder}/dataset.toml for a log of your own; keys are in docs/reference/dataset.md"
            ),
        ]
    }
}

impl Report for Shown {
    fn text(&self) -> String {
        let ratio = |over: f64| if over > 0.0 { self.hit_rate(None) / over } else { 0.0 };
        let verdict = format!(
            "  HR@10 is {:.1} x popularity's, {:.2} x the Markov chain's, and {:.0} % of what the generator itself reaches",
            ratio(self.hit_rate(Some("popularity"))),
            ratio(self.hit_rate(Some("markov"))),
            100.0 * ratio(self.oracle.hit_rate)
        );
        format!(
            "{}\n\n{verdict}\n\n5. recommend\n{}\n\nTry next:\n  {}",
            self.table().render(),
            self.recommended.text(),
            self.next_steps().join("\n  ")
        )
    }

    fn json(&self) -> Value {
        json!({
            "folder": self.folder.display().to_string(),
            "prepare": self.prepared.json(),
            "train": self.summary.json(),
            "evaluate": Evaluated(&self.judged).json(),
            "oracle": {"HR@10": self.oracle.hit_rate, "NDCG@10": self.oracle.ndcg, "users": self.oracle.users},
            "recommend": self.recommended.json(),
            "next": self.next_steps(),
        })
    }
}
