//! Models that begin from other models: known rows keep their bits, new ones begin as the job says, and the result does not
//! know the cluster. Ranks are threads here, the collectives are real.

#![allow(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

mod growth;
mod refused;
mod rows;
#[path = "../support/mod.rs"]
mod support;

use std::fmt::Write as _;

use muster_proto::job::{JobSpec, WarmStartSpec};
use muster_worker::train::Trainer;
use muster_worker::warm_start::{Begun, Parent, begin};
use support::{Cluster, job, prepare_text};
use tempfile::TempDir;

const SPEC: &str = "name = \"weeks\"\ninput = \"log-*.csv\"\nformat = \"csv\"\npartitions = 16\n[columns]\nuser = \"user\"\n\
    item = \"item\"\ntime = \"time\"\ncategory = \"category\"\n[[item_tables]]\ninput = \"items.csv\"\nformat = \"csv\"\n\
    key = \"item\"\ncategorical = [\"kind\"]\n";

/// Events of a week in CSV: each week has ten more items than the one before, and a new category. Users from 40 on have
/// events in week 0 only.
fn week(number: u64) -> String {
    let mut log = String::from("user,item,time,category\n");
    let mut state = 11 + number;
    let mut next = |below: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % below
    };
    for user in 0..if number == 0 { 60 } else { 40 } {
        for event in 0..(4 + next(6)) {
            let (item, category) = (next(20 + 10 * number), next(4 + number));
            let time = 1_400_000_000 + number * 604_800 + user * 1000 + event * 60;
            writeln!(log, "u{user},{},{time},c{category}", key(item)).unwrap();
        }
    }
    log
}

/// Names whose order is not that of numbers.
fn key(item: u64) -> String {
    format!("i{}", item * 37 % 101)
}

/// Every item has a kind, one of four, but for every seventh.
fn items() -> String {
    let mut table = String::from("item,kind\n");
    for item in (0..60).filter(|item| item % 7 != 0) {
        writeln!(table, "{},k{}", key(item), item % 4).unwrap();
    }
    table
}

/// The dataset of some weeks, prepared at once: its ids are its own.
fn weeks(numbers: &[u64]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let logs: Vec<_> = numbers.iter().map(|number| (format!("log-{number}.csv"), week(*number))).collect();
    let items = items();
    let mut files: Vec<(&str, &str)> =
        logs.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
    files.push(("items.csv", &items));
    prepare_text(folder.path(), SPEC, &files);
    folder
}

fn small(text: &str) -> JobSpec {
    job(&format!("[[model.features]]\ncolumn = \"category\"\ndim = 4\n[optimizer]\nlr = 0.02\n{text}"))
}

fn data(folder: &TempDir) -> String {
    folder.path().join("data").display().to_string()
}

/// A run on the dataset, in a folder of its own.
fn run_on(folder: &TempDir, job: &JobSpec) -> TempDir {
    let run = tempfile::tempdir().unwrap();
    Cluster::new(2).train(folder.path(), job, Some(run.path()));
    run
}

/// The job that begins from a run, as `muster train` would note it.
fn from(run: &TempDir, trained_on: &TempDir, mut job: JobSpec) -> JobSpec {
    let parent = Parent::read(run.path()).unwrap();
    let updates = parent.updates();
    let path = parent.reader.location.address().display().to_string();
    job.warm_start = Some(WarmStartSpec {
        parent: path,
        dataset: Some(data(trained_on)),
        model_digest: Some(parent.reader.manifest.model_digest.clone()),
        table_updates: updates.tables,
        dense_updates: updates.dense,
        ..job.warm_start.take().unwrap_or_else(|| WarmStartSpec::of(String::new()))
    });
    job
}

/// The job with its warm start changed.
fn with(mut job: JobSpec, change: impl FnOnce(&mut WarmStartSpec)) -> JobSpec {
    change(job.warm_start.as_mut().unwrap());
    job
}

/// What `f` finds on each rank, whose number it gets, once the model has begun.
fn begun<T: Send>(
    cluster: &Cluster,
    folder: &TempDir,
    job: &JobSpec,
    f: impl Fn(u32, &Trainer, Begun) -> T + Sync,
) -> Vec<T> {
    cluster.on_ranks(|mut collective| {
        let mut trainer = cluster.trainer(folder.path(), job, &mut *collective);
        let begun = begin(&mut trainer, &mut *collective).unwrap();
        f(collective.rank() as u32, &trainer, begun.unwrap_or_default())
    })
}

/// All rows of a table with their biases, on one rank.
fn rows_of(trainer: &Trainer, table: usize) -> Vec<(Vec<f32>, f32)> {
    let table = &trainer.set.tables[table];
    let row = |row: u64| {
        let mut values = vec![0.0; table.dim()];
        let bias = table.read_row(row as u32, &mut values);
        (values, bias)
    };
    (0..table.decl.rows).map(row).collect()
}
