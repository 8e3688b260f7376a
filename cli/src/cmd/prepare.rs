//! `muster prepare`: raw logs in, a clean and provable dataset out.

use std::path::{Component, Path, PathBuf};

use muster_data::prepare::{
    AddArgs, Added, Cut, CutArgs, PrepareArgs, QUARANTINE_FILE, SpreadArgs, Window, add, cut, prepare,
    prepare_spread,
};
use muster_proto::config;
use muster_proto::control::DeviceKind;
use muster_proto::dataset::time::parse_iso8601;
use muster_proto::dataset::{CleaningReport, DatasetManifest, DatasetSpec};
use serde_json::{Value, json};

use crate::cluster;
use crate::context::Context;
use crate::error::Error;
use crate::local::{self, threads_each};
use crate::output::Report;
use crate::progress::Progress;
use crate::spread::{Cluster, Workers};
use crate::table::{Table, grouped};

const EXAMPLES: &str = "\
Examples:
  muster prepare dataset.toml --out prepared
  MUSTER_DATA=~/logs muster prepare deploy/examples/beauty/dataset.toml --out beauty
  muster prepare dataset.toml --set input=day-2.csv --set cleaning.min_user_events=3 --out prepared
  muster prepare /shared/dataset.toml --out /shared/prepared --coordinator http://10.0.0.1:7400
  muster prepare dataset.toml --into base                          add new files to a base, however old ones are
  muster prepare dataset.toml --from base --out tuesday --parent monday   cut a dataset from it, ids of monday kept
  muster prepare dataset.toml --from base --out june --window 2026-06-01..2026-07-01   of that time only";

/// Cleans, featurizes and partitions the logs that a dataset file declares, and says how many rows each rule
/// dropped. The same input and file give the same bytes. A log that grows is kept in a base: `--into` adds the files that it does not
/// have yet, `--from` cuts the dataset that a preparation of all files would give, or with `--window` one of files that have no rows
/// of other times. With `--workers` or `--coordinator` the work is spread
/// over workers, whose number leaves no trace in the dataset.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// The dataset file; see docs/reference/dataset.md
    #[arg(value_name = "DATASET.toml")]
    pub dataset: PathBuf,
    /// Folder to write; a dataset that is there already is replaced once the new one is whole
    #[arg(long, value_name = "DIR", required_unless_present = "into")]
    pub out: Option<PathBuf>,
    /// Add the input files to the base in this folder, but for those that it has; no dataset is made
    #[arg(long, value_name = "BASE", conflicts_with_all = ["out", "from", "parent"])]
    pub into: Option<PathBuf>,
    /// Make the dataset of the base in this folder; the input files are not read
    #[arg(long, value_name = "BASE")]
    pub from: Option<PathBuf>,
    /// A dataset whose ids of items and categories are kept; what is new gets ids after them
    #[arg(long, value_name = "DIR", requires = "from")]
    pub parent: Option<PathBuf>,
    /// Only rows of this time count, the second end not included; dates or times, either may be left out
    #[arg(long, value_name = "FROM..UNTIL", requires = "from", value_parser = window)]
    pub window: Option<Window>,
    /// Only the files count that the base had after so many additions
    #[arg(long, value_name = "N", requires = "from")]
    pub increments: Option<u64>,
    /// Worker processes to start here and to spread the work over; without them this process does it all
    #[arg(long, value_name = "N", allow_negative_numbers = true, conflicts_with_all = ["into", "from"], value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub workers: Option<u32>,
    /// Spread the work over idle workers of this cluster: input and output lie on a file system that they share with this
    /// machine, under the same paths, or the input in an object store; `memory` bounds each of them
    #[arg(long, value_name = "URL,..", conflicts_with_all = ["into", "from", "workers", "threads"])]
    pub coordinator: Option<String>,
    /// File with the cluster's token, one line
    #[arg(long, value_name = "FILE", env = "MUSTER_TOKEN_FILE", hide_env_values = true)]
    pub token_file: Option<PathBuf>,
    /// Number of threads, of each worker where there are some; the cores of this machine without it, shared out
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub threads: Option<u32>,
    /// Override a key of the dataset file
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub sets: Vec<String>,
}

/// Prepares the dataset and reports what was dropped.
///
/// # Errors
/// Where the file, the input or the folder is refused.
pub fn run(context: &Context, args: &Args) -> Result<(), Error> {
    match &args.into {
        Some(base) => context.output.report(&add_files(context, args, base)?),
        None => context.output.report(&prepare_dataset(context, args)?),
    }
}

/// Prepares the dataset. Without a manifest in the folder there is no dataset, so a run that fails leaves none.
///
/// # Errors
/// As [`run`].
pub fn prepare_dataset(context: &Context, args: &Args) -> Result<Prepared, Error> {
    let spec = load(args)?;
    let out = args.out.clone().unwrap_or_default();
    let mut progress = context.progress();
    progress.start(&format!("prepare {}", spec.name), 0);
    let (base, threads) = (args.folder(), args.threads());
    let variables = &|name: &str| std::env::var(name).ok();
    let all = |manifest| Cut { manifest, outside: 0 };
    let made = match (&args.from, workers(context, args)?) {
        (None, Some(workers)) => spread(args, &spec, &out, workers, progress.as_mut()).map(all),
        (None, None) => {
            let made = prepare(&PrepareArgs { spec: &spec, base, out: &out, threads, variables });
            made.map(all).map_err(Error::from)
        }
        (Some(store), _) => {
            let (parent, out, increments, pulse) = (args.parent.as_deref(), &out, args.increments, &|| true);
            let window = args.window.unwrap_or_default();
            let spec = &spec;
            cut(&CutArgs { spec, base, store, parent, out, threads, variables, window, increments, pulse })
                .map_err(|error| in_flag(error.into()))
        }
    };
    let Cut { manifest, outside } = made.map_err(|error| in_dataset_file(error, &args.dataset))?;
    progress.start(&format!("prepare {}", spec.name), 0);
    progress.finish(&format!(
        "{} events of {} users",
        grouped(manifest.events),
        grouped(u64::from(manifest.users))
    ));
    Ok(Prepared { out, manifest, outside })
}

/// Whose workers do the work, where it is not this process.
fn workers(context: &Context, args: &Args) -> Result<Option<Workers>, Error> {
    if let Some(url) = &args.coordinator {
        return Ok(Some(Workers::Of(url.clone(), cluster::token(args.token_file.as_deref())?)));
    }
    let plan = |workers| local::Plan {
        workers,
        needed: 1,
        threads: args.threads.unwrap_or_else(|| threads_each(workers)),
        device: DeviceKind::Cpu,
        gpus: 0,
        log_level: context.log_level,
        log_dir: std::env::temp_dir().join(format!("muster-prepare-{}", std::process::id())),
    };
    Ok(args.workers.map(|workers| Workers::Local(plan(workers))))
}

/// Prepares the dataset with workers.
fn spread(
    args: &Args,
    spec: &DatasetSpec,
    out: &Path,
    workers: Workers,
    progress: &mut dyn Progress,
) -> Result<DatasetManifest, Error> {
    let logs = match &workers {
        Workers::Local(plan) => Some(plan.log_dir.clone()),
        Workers::Of(..) => None,
    };
    let cluster = Cluster::reach(workers, progress)?;
    let variables = &|name: &str| std::env::var(name).ok();
    let made = prepare_spread(&SpreadArgs { spec, base: args.folder(), out, variables, dealer: &cluster });
    let ended = cluster.end();
    let manifest = made?;
    ended?;
    if let Some(logs) = logs {
        // Nobody looks for the logs of workers that did all they had to.
        let _ = std::fs::remove_dir_all(logs);
    }
    Ok(manifest)
}

fn add_files(context: &Context, args: &Args, store: &Path) -> Result<AddedFiles, Error> {
    let spec = load(args)?;
    let mut progress = context.progress();
    progress.start(&format!("add to {}", store.display()), 0);
    let variables = &|name: &str| std::env::var(name).ok();
    let (base, threads) = (args.folder(), args.threads());
    let (by, pulse) = (None, &|| true);
    let added = add(&AddArgs { spec: &spec, base, store, threads, variables, by, pulse })
        .map_err(|error| in_dataset_file(error.into(), &args.dataset))?;
    progress.finish(&format!("{} new files", added.files));
    Ok(AddedFiles { store: store.to_owned(), added })
}

fn load(args: &Args) -> Result<DatasetSpec, Error> {
    let sets: Vec<String> = args.sets.iter().map(|set| from_here(set)).collect();
    Ok(config::load(&args.dataset, &sets)?)
}

impl Args {
    /// The flags that name a dataset file and nothing else.
    pub fn of(dataset: PathBuf) -> Self {
        Self {
            dataset,
            out: None,
            into: None,
            from: None,
            parent: None,
            window: None,
            increments: None,
            workers: None,
            coordinator: None,
            token_file: None,
            threads: None,
            sets: Vec::new(),
        }
    }

    fn folder(&self) -> &Path {
        self.dataset.parent().unwrap_or(Path::new(""))
    }

    fn threads(&self) -> usize {
        self.threads.unwrap_or_else(|| threads_each(1)) as usize
    }
}

/// Names the dataset file where the error is about one of its keys.
fn in_dataset_file(error: Error, dataset: &Path) -> Error {
    if error.file.is_none() { error.with_file(dataset) } else { error }
}

/// What a cut says of its window and its increments is said of the flags.
fn in_flag(mut error: Error) -> Error {
    if let Some(flag @ ("window" | "increments")) = error.field.as_deref() {
        error.field = Some(format!("--{flag}"));
    }
    error
}

/// A window as it is written.
fn window(text: &str) -> Result<Window, String> {
    let (from, until) =
        text.split_once("..").ok_or("is not FROM..UNTIL, for instance 2026-06-01..2026-07-01")?;
    let end = |text: &str| match text.trim() {
        "" => Ok(None),
        text => parse_iso8601(text).map(Some).ok_or_else(|| {
            format!("`{text}` is not a date or time such as 2026-06-01 or 2026-06-01T20:21:58Z")
        }),
    };
    let window = Window { from: end(from)?, until: end(until)? };
    match (window.from, window.until) {
        (None, None) => Err("has no end at all, leave it out for all rows".to_owned()),
        (Some(from), Some(until)) if until <= from => Err("ends before it begins".to_owned()),
        _ => Ok(window),
    }
}

/// An `input=FILE` that exists from the current folder means that file; of a pattern, the folders before its first `*`,
/// `?` or `[` decide. Any other path is left to resolve against the dataset file's folder, as paths inside it do.
fn from_here(set: &str) -> String {
    let Some(file) = set.strip_prefix("input=") else { return set.to_owned() };
    let parts = Path::new(file).components();
    let is_plain = |part: &Component<'_>| !part.as_os_str().to_string_lossy().contains(['*', '?', '[']);
    let plain: PathBuf = parts.take_while(is_plain).collect();
    let is_here = Path::new(file).exists() || !plain.as_os_str().is_empty() && plain.exists();
    match std::path::absolute(file) {
        Ok(path) if is_here => format!("input={}", path.display()),
        _ => set.to_owned(),
    }
}

/// A dataset that was just written.
#[derive(Debug)]
pub struct Prepared {
    /// Its folder.
    pub out: PathBuf,
    /// What it holds.
    pub manifest: DatasetManifest,
    /// Rows of the base that are not in the window.
    pub outside: u64,
}

impl Prepared {
    /// Where the rejected rows are listed, if there are any.
    fn quarantine(&self) -> Option<PathBuf> {
        Some(self.out.join(QUARANTINE_FILE)).filter(|path| path.is_file())
    }
}

/// Files that were just added to a base.
struct AddedFiles {
    store: PathBuf,
    added: Added,
}

impl Report for AddedFiles {
    fn text(&self) -> String {
        let Added { files, known, report, increments } = &self.added;
        let base = self.store.display();
        if *files == 0 {
            return format!("  nothing new: {base} has all {} files", grouped(*known));
        }
        let dropped: u64 = report.dropped.values().sum();
        format!(
            "{}\n\n  {} files added to {base}, {} were there; {increments} increments{}",
            cleaning_table(report, report.rows_in - dropped).render(),
            grouped(*files),
            grouped(*known),
            left_out(report)
        )
    }

    fn json(&self) -> Value {
        let Added { files, known, report, increments } = &self.added;
        json!({
            "base": self.store.display().to_string(),
            "files": files,
            "known": known,
            "increments": increments,
            "rows_in": report.rows_in,
            "dropped": report.dropped,
            "left_out": report.left_out,
        })
    }
}

fn cleaning_table(report: &CleaningReport, kept: u64) -> Table {
    let mut table = Table::new(["cleaning", "rows"]);
    table.row(["read".to_owned(), grouped(report.rows_in)]);
    for (rule, count) in &report.dropped {
        table.row([format!("dropped: {rule}"), grouped(*count)]);
    }
    table.row(["kept".to_owned(), grouped(kept)]);
    table
}

fn left_out(report: &CleaningReport) -> String {
    report.left_out.iter().map(|file| format!("\n  left out: {}: {}", file.file, file.why)).collect()
}

impl Report for Prepared {
    fn text(&self) -> String {
        let manifest = &self.manifest;
        let table = cleaning_table(&manifest.cleaning, manifest.cleaning.rows_out);
        let window = match self.outside {
            0 => String::new(),
            outside => format!("  {} rows of the base are not in the window\n", grouped(outside)),
        };
        let mut notes = left_out(&manifest.cleaning);
        if let Some(path) = self.quarantine() {
            notes.push_str(&format!("\n  rejected rows are listed in {}", path.display()));
        }
        let counts = format!(
            "  {} users, {} items, {} events in {} partitions",
            grouped(u64::from(manifest.users)),
            grouped(u64::from(manifest.items)),
            grouped(manifest.events),
            manifest.partitions.len()
        );
        let digest = format!("  digest {}", manifest.digest);
        format!(
            "{}\n\n{window}{counts}\n{digest}\n  written to {}{notes}",
            table.render(),
            self.out.display()
        )
    }

    fn json(&self) -> Value {
        let manifest = &self.manifest;
        json!({
            "dataset": self.out.display().to_string(),
            "outside_window": self.outside,
            "rows_in": manifest.cleaning.rows_in,
            "rows_out": manifest.cleaning.rows_out,
            "dropped": manifest.cleaning.dropped,
            "left_out": manifest.cleaning.left_out,
            "quarantine": self.quarantine().map(|path| path.display().to_string()),
            "digest": manifest.digest,
            "users": manifest.users,
            "items": manifest.items,
            "events": manifest.events,
            "partitions": manifest.partitions.len(),
        })
    }
}
