//! Workers that make passes: what they have to know is written down, dealt out in parts, and their sums are put together.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use muster_proto::control::Unit;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::share::spec_text;
use super::{Dealer, files};
use crate::prepare::error::{Error, Told};
use crate::prepare::ingest::Records;
use crate::prepare::merged::MergedFile;
use crate::prepare::pass::{Bench, Crew, Pass};
use crate::prepare::spill::Layout;
use crate::store::Shape;

/// Parts of a pass for each worker: one that is slower gets fewer, and one that is lost costs little.
const PARTS_A_WORKER: usize = 4;

/// What a unit came to: what it names in the folder, or an error in its input.
pub(super) type Outcome = Result<Value, Told>;

/// The answer of a unit.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Answer {
    /// It wrote this file or folder.
    Wrote(String),
    /// It met an error.
    Error(Box<Told>),
}

/// What all passes work with, for other processes.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct BenchFile {
    pub(super) spec: String,
    pub(super) shape: Shape,
    pub(super) layout: Layout,
    pub(super) items: usize,
    pub(super) categories: Vec<usize>,
    pub(super) dataset: PathBuf,
    pub(super) target: PathBuf,
    /// Bytes that a thread needs besides `key_bytes`, which are about those of all keys.
    pub(super) each: u64,
    pub(super) key_bytes: u64,
}

/// A pass, for other processes; what it has to know lies in a file beside it.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct PassFile {
    pub(super) name: String,
    /// Into how many parts the partitions are dealt.
    pub(super) parts: usize,
    /// Under which marks sequences and items are read, by partition.
    pub(super) staged: Vec<String>,
    pub(super) items: Vec<String>,
}

pub(super) fn bench_file(folder: &Path) -> PathBuf {
    folder.join("bench")
}

pub(super) fn records_file(folder: &Path) -> PathBuf {
    folder.join("records")
}

pub(super) fn pass_file(folder: &Path, pass: u32) -> PathBuf {
    folder.join(format!("pass-{pass:05}"))
}

pub(super) fn input_file(folder: &Path, pass: u32) -> PathBuf {
    folder.join(format!("pass-{pass:05}.input"))
}

/// Has units done.
pub(super) fn deal(
    dealer: &dyn Dealer,
    stage: &str,
    folder: &Path,
    units: Vec<Unit>,
) -> Result<Vec<Outcome>, Error> {
    let answers = dealer.deal(stage, folder, units);
    let answers = answers.map_err(|what| match dealer.is_stopped() {
        true => Error::Stopped,
        false => Error::Dealing { what },
    })?;
    answers.into_iter().map(outcome).collect()
}

fn outcome(answer: Value) -> Result<Outcome, Error> {
    match serde_json::from_value(answer) {
        Ok(Answer::Wrote(name)) => Ok(Ok(Value::String(name))),
        Ok(Answer::Error(told)) => Ok(Err(*told)),
        Err(error) => Err(Error::Dealing { what: format!("a worker's answer cannot be read: {error}") }),
    }
}

/// Workers of a cluster.
pub(super) struct Workers<'d> {
    dealer: &'d dyn Dealer,
    next: AtomicU32,
}

impl<'d> Workers<'d> {
    /// Writes down what all passes have to know.
    pub(super) fn begin(
        dealer: &'d dyn Dealer,
        bench: &Bench,
        (each, key_bytes): (u64, u64),
    ) -> Result<Self, Error> {
        let folder = &bench.stage.dir;
        if let Records::Merged(merged) = &bench.records {
            MergedFile::save(&records_file(folder), merged)?;
        }
        let file = BenchFile {
            spec: spec_text(&bench.spec)?,
            shape: bench.stage.shape,
            layout: bench.layout,
            items: bench.items,
            categories: bench.categories.clone(),
            dataset: bench.dataset.clone(),
            target: bench.target.clone(),
            each,
            key_bytes,
        };
        files::save(&bench_file(folder), &file)?;
        Ok(Self { dealer, next: AtomicU32::new(0) })
    }
}

impl Crew for Workers<'_> {
    fn run<P: Pass>(&self, bench: &Bench, pass: &P) -> Result<P::Sum, Error> {
        let (stage, number) = (&bench.stage, self.next.fetch_add(1, Ordering::Relaxed));
        let parts = (self.dealer.workers() * PARTS_A_WORKER).clamp(1, stage.partitions);
        let (staged, items) = (stage.staged.clone(), stage.items.clone());
        files::save(&input_file(&stage.dir, number), pass)?;
        files::save(
            &pass_file(&stage.dir, number),
            &PassFile { name: P::NAME.to_owned(), parts, staged, items },
        )?;
        let units = (0..parts as u32).map(|part| Unit::Part { pass: number, part }).collect();
        let mut total = pass.zero(bench);
        for outcome in deal(self.dealer, P::NAME, &stage.dir, units)? {
            let name = outcome.map_err(Error::from)?;
            let path = stage.dir.join(name.as_str().unwrap_or_default());
            P::merge(&mut total, files::load(&path)?);
            // It is in the way of nobody, and goes with the folder at the latest.
            let _ = std::fs::remove_file(path);
        }
        let _ = std::fs::remove_file(input_file(&stage.dir, number));
        Ok(total)
    }
}
