//! `muster prepare`: raw logs in, a clean and provable dataset out.

use std::path::{Component, Path, PathBuf};

use muster_data::prepare::{PrepareArgs, QUARANTINE_FILE, prepare};
use muster_proto::config;
use muster_proto::dataset::{DatasetManifest, DatasetSpec};
use serde_json::{Value, json};

use crate::context::Context;
use crate::error::Error;
use crate::local::threads_each;
use crate::output::Report;
use crate::table::{Table, grouped};

const EXAMPLES: &str = "\
Examples:
  muster prepare dataset.toml --out prepared
  MUSTER_DATA=~/logs muster prepare deploy/examples/beauty/dataset.toml --out beauty
  muster prepare dataset.toml --set input=day-2.csv --set cleaning.min_user_events=3 --out prepared";

/// Cleans, featurizes and partitions the logs that a dataset file declares, and says how many rows each rule
/// dropped. The same input and file give the same bytes.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// The dataset file; see docs/reference/dataset.md
    #[arg(value_name = "DATASET.toml")]
    pub dataset: PathBuf,
    /// Folder to write; a dataset that is there already is replaced once the new one is whole
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// Override a key of the dataset file
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub sets: Vec<String>,
}

/// Prepares the dataset and reports what was dropped.
///
/// # Errors
/// Where the file, the input or the folder is refused.
pub fn run(context: &Context, args: &Args) -> Result<(), Error> {
    let prepared = prepare_dataset(context, args)?;
    context.output.report(&prepared)
}

/// Prepares the dataset. Without a manifest in the folder there is no dataset, so a run that fails leaves none.
///
/// # Errors
/// As [`run`].
pub fn prepare_dataset(context: &Context, args: &Args) -> Result<Prepared, Error> {
    let sets: Vec<String> = args.sets.iter().map(|set| from_here(set)).collect();
    let spec: DatasetSpec = config::load(&args.dataset, &sets)?;
    let mut progress = context.progress();
    progress.start(&format!("prepare {}", spec.name), 0);
    let manifest = prepare(&PrepareArgs {
        spec: &spec,
        base: args.dataset.parent().unwrap_or(Path::new("")),
        out: &args.out,
        threads: threads_each(1) as usize,
        variables: &|name| std::env::var(name).ok(),
    })
    .map_err(|error| in_dataset_file(error.into(), &args.dataset))?;
    progress.finish(&format!(
        "{} events of {} users",
        grouped(manifest.events),
        grouped(u64::from(manifest.users))
    ));
    Ok(Prepared { out: args.out.clone(), manifest })
}

/// Names the dataset file where the error is about one of its keys.
fn in_dataset_file(error: Error, dataset: &Path) -> Error {
    if error.file.is_none() { error.with_file(dataset) } else { error }
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
}

impl Prepared {
    /// Where the rejected rows are listed, if there are any.
    fn quarantine(&self) -> Option<PathBuf> {
        Some(self.out.join(QUARANTINE_FILE)).filter(|path| path.is_file())
    }
}

impl Report for Prepared {
    fn text(&self) -> String {
        let manifest = &self.manifest;
        let mut table = Table::new(["cleaning", "rows"]);
        table.row(["read".to_owned(), grouped(manifest.cleaning.rows_in)]);
        for (rule, count) in &manifest.cleaning.dropped {
            table.row([format!("dropped: {rule}"), grouped(*count)]);
        }
        table.row(["kept".to_owned(), grouped(manifest.cleaning.rows_out)]);
        let mut notes = String::new();
        for left_out in &manifest.cleaning.left_out {
            notes.push_str(&format!("\n  left out: {}: {}", left_out.file, left_out.why));
        }
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
        format!("{}\n\n{counts}\n{digest}\n  written to {}{notes}", table.render(), self.out.display())
    }

    fn json(&self) -> Value {
        let manifest = &self.manifest;
        json!({
            "dataset": self.out.display().to_string(),
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
