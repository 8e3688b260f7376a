//! `verify`: every digest, every shard covered once, every sample counted once.

use std::collections::BTreeMap;
use std::path::Path;

use muster_data::Dataset;
use muster_proto::checkpoint::Counted;
use muster_proto::config;
use muster_proto::job::JobSpec;

use super::Error;
use super::location::Location;
use super::pieces::{dense_piece, shard_piece};
use super::reader::{Reader, all, find};
use crate::batch::{Corpus, EpochPlan, Sampler};

/// What was found wrong; nothing if the run is as it should be.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct Verdict {
    /// Checkpoints looked at.
    pub checkpoints: usize,
    /// Those among them that are increments over a full one.
    pub increments: usize,
    /// Pieces whose digests were checked.
    pub pieces: usize,
    /// Samples whose count was checked, over all epochs.
    pub samples: u64,
    /// What is wrong, in words.
    pub problems: Vec<String>,
}

/// Verifies a run directory or a single checkpoint; with the dataset also the ledger.
///
/// # Errors
/// No checkpoint at all, or one whose manifest cannot be read. Damage is reported in the verdict.
pub fn verify(path: &Path, dataset: Option<&Dataset>) -> Result<Verdict, Error> {
    let newest = find(path, false)?;
    let mut readers = all(&Location::of(path)?)?;
    if readers.is_empty() {
        readers.push(newest.clone());
    }
    let mut verdict = Verdict { checkpoints: readers.len(), ..Verdict::default() };
    for reader in &readers {
        verdict.increments += usize::from(reader.manifest.base.is_some());
        verify_pieces(reader, &mut verdict);
    }
    if let Some(dataset) = dataset {
        verify_ledger(&newest, dataset, &mut verdict);
    }
    Ok(verdict)
}

fn verify_pieces(reader: &Reader, verdict: &mut Verdict) {
    let mut expected = vec![dense_piece()];
    for table in &reader.manifest.tables {
        expected.extend((0..table.row_blocks).map(|block| shard_piece(&table.name, block)));
    }
    for name in &expected {
        verdict.pieces += 1;
        if let Err(error) = reader.piece(name) {
            verdict.problems.push(error.to_string());
        }
    }
    for name in reader.manifest.pieces.keys().filter(|name| !expected.contains(name)) {
        verdict
            .problems
            .push(format!("{}: piece {name} belongs to no table", reader.location.address().display()));
    }
}

/// Draws the samples of all steps again, without the cluster, and compares with what the workers counted.
fn verify_ledger(reader: &Reader, dataset: &Dataset, verdict: &mut Verdict) {
    let manifest = &reader.manifest;
    let mut problem =
        |text: String| verdict.problems.push(format!("{}: {text}", reader.location.address().display()));
    if manifest.dataset != dataset.manifest().digest {
        problem(format!("it was trained on dataset {}, not {}", manifest.dataset, dataset.manifest().digest));
        return;
    }
    let recount = config::parse::<JobSpec>(&manifest.job, "manifest.json: job", &[])
        .map_err(|e| e.to_string())
        .and_then(|job| recount(&job, dataset, manifest.step));
    match recount {
        Err(text) => problem(text),
        Ok((sizes, epochs)) => {
            if sizes != manifest.ledger.group_sizes {
                problem("the ledger's group sizes are not those of the dataset".into());
            }
            let counted: BTreeMap<usize, &Counted> = manifest.ledger.epochs.iter().enumerate().collect();
            for (epoch, expected) in epochs.iter().enumerate() {
                if counted.get(&epoch) != Some(&expected) {
                    problem(format!(
                        "epoch {epoch}: the workers counted {:?}, the job's steps take {expected:?}",
                        counted.get(&epoch)
                    ));
                }
            }
            if counted.len() != epochs.len() {
                problem(format!("the ledger has {} epochs, the steps cover {}", counted.len(), epochs.len()));
            }
            verdict.samples = epochs.iter().map(|e| e.samples).sum();
        }
    }
}

/// What the first `steps` steps of a job take: sizes of the groups and counts of each epoch begun.
fn recount(job: &JobSpec, dataset: &Dataset, steps: u64) -> Result<(Vec<u64>, Vec<Counted>), String> {
    let corpus = Corpus::new(job, dataset.manifest()).map_err(|e| e.to_string())?;
    let groups = (0..job.batch.micro_batches)
        .map(|g| corpus.load_group(dataset, g))
        .collect::<Result<Vec<_>, _>>()
        .map_err(|e| e.to_string())?;
    let sizes: Vec<u64> = groups.iter().map(|g| g.samples.len() as u64).collect();
    let sampler = Sampler::new(EpochPlan::new(sizes.clone(), job.batch.sequences), job.seed);
    let per_epoch = sampler.plan().steps().max(1);
    let mut epochs = vec![Counted::default(); steps.div_ceil(per_epoch) as usize];
    for step in 0..steps {
        let counted = &mut epochs[(step / per_epoch) as usize];
        for (index, group) in groups.iter().enumerate() {
            for chosen in sampler.samples(index, step) {
                counted.add(group.samples[chosen as usize].id);
            }
        }
    }
    Ok((sizes, epochs))
}
