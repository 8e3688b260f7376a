//! Loss curves against PyTorch's: 100 steps from the same initial weights on the same batches, within 1e-4 relative.
//!
//! `worker/testdata/pytorch_curves.json` holds PyTorch's losses. To make it again: run this test with `MUSTER_DUMP=DIR`,
//! then `python3 worker/testdata/make_curves.py DIR worker/testdata/pytorch_curves.json` (needs torch).

#![allow(clippy::unwrap_used, reason = "a failed helper fails its test")]

mod support;

use std::io::Write as _;
use std::path::Path;

use muster_data::generate::{SeriesArgs, generate_series};
use muster_proto::config;
use muster_proto::job::JobSpec;
use muster_worker::checkpoint::{Extent, Location};
use muster_worker::train::Trainer;
use support::Cluster;

const STEPS: usize = 100;

const SERIES_JOB: &str = "name = \"series\"\n[batch]\nsequences = 128\nmax_len = 10\n[model]\nhidden_size = 128\n\
    layers = 2\n[model.head.regression]\n[optimizer]\nkind = \"adam\"\nlr = 0.001\n[training]\nepochs = 100\n";
const SERIES: &str = "name = \"series\"\nkind = \"series\"\ninput = \"series.csv\"\nformat = \"csv\"\npartitions = 16\n\
    [columns]\nuser = \"series\"\ntime = \"step\"\ntime_format = \"millis\"\nnumeric = [\"x*\"]\ntarget = \"y\"\n\
    [split]\nkind = \"holdout\"\nvalid = 0.1\ntest = 0.1\n";

const SOFTMAX_JOB: &str = "name = \"softmax\"\n[batch]\nsequences = 32\nmax_len = 10\nscore_block = 64\n[model]\n\
    embedding_dim = 64\nhidden_size = 64\n[optimizer]\nkind = \"adam\"\nlr = 0.001\n[training]\nepochs = 100\n";

#[test]
fn the_two_layer_regression_follows_pytorch_for_100_steps() {
    let folder = tempfile::tempdir().unwrap();
    let args = SeriesArgs { sequences: 640, steps: 10, width: 128, seed: 5 };
    generate_series(&args, &folder.path().join("series.csv")).unwrap();
    support::prepare_text(folder.path(), SERIES, &[]);
    compare("regression", folder.path(), SERIES_JOB);
}

#[test]
fn the_tied_softmax_follows_pytorch_for_100_steps() {
    compare("softmax", support::dataset().path(), SOFTMAX_JOB);
}

fn compare(name: &str, folder: &Path, job: &str) {
    let job: JobSpec = config::parse(job, "job.toml", &[]).unwrap();
    let losses = Cluster { threads: 2, ..Cluster::new(1) }
        .on_ranks(|mut collective| {
            let cluster = Cluster { threads: 2, ..Cluster::new(1) };
            let mut trainer = cluster.trainer(folder, &job, &mut *collective);
            let mut dump =
                std::env::var_os("MUSTER_DUMP").map(|dir| Dump::start(dir.as_ref(), name, &trainer));
            let mut losses = Vec::new();
            for _ in 0..STEPS {
                if let Some(dump) = &mut dump {
                    dump.batches(&trainer);
                }
                losses.push(trainer.step(0, &mut *collective).unwrap().loss);
            }
            losses
        })
        .remove(0);
    if std::env::var_os("MUSTER_DUMP").is_some() {
        return;
    }
    let golden = std::fs::read_to_string("testdata/pytorch_curves.json").unwrap();
    let golden: serde_json::Value = serde_json::from_str(&golden).unwrap();
    let golden: Vec<f64> = serde_json::from_value(golden[name].clone()).unwrap();
    assert_eq!(golden.len(), STEPS);
    assert!(losses[STEPS - 1] < 0.95 * losses[0], "the loss did not fall: {losses:?}");
    for (step, (ours, theirs)) in losses.iter().zip(&golden).enumerate() {
        let relative = (ours - theirs).abs() / theirs.abs();
        assert!(
            relative < 1e-4,
            "step {step}: loss {ours}, PyTorch {theirs}, relative difference {relative:e}"
        );
    }
}

/// Initial weights and batches for the script.
struct Dump {
    batches: std::fs::File,
    /// Numeric inputs of all batches, raw little-endian f32: as JSON they would be ten times as large.
    numeric: std::fs::File,
}

impl Dump {
    fn start(dir: &Path, name: &str, trainer: &Trainer) -> Self {
        let folder = dir.join(name);
        trainer.snapshot(0, Extent::Full).write(Location::Folder(folder.clone())).wait().unwrap();
        let create = |name: &str| std::fs::File::create(folder.join(name)).unwrap();
        Self { batches: create("batches.jsonl"), numeric: create("numeric.f32") }
    }

    fn batches(&mut self, trainer: &Trainer) {
        let batches = trainer.next_batches();
        for batch in &batches {
            let bytes: Vec<u8> = batch.numeric.iter().flat_map(|value| value.to_le_bytes()).collect();
            self.numeric.write_all(&bytes).unwrap();
        }
        let batches: Vec<_> = batches
            .iter()
            .map(|batch| {
                serde_json::json!({
                    "batch_sizes": batch.layout.batch_sizes(), "items": batch.items, "targets": batch.targets,
                    "labels": batch.labels,
                })
            })
            .collect();
        writeln!(self.batches, "{}", serde_json::Value::from(batches)).unwrap();
    }
}
