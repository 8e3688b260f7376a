//! The evidence for and against a candidate, and what the gates say of it.
//!
//! The champion is scored again on the candidate's dataset, on the same held-out events, as it would do if it still were
//! asked then. Its rows are found by the keys of both datasets. An item that it does not know is in none of its rankings, and
//! whoever's held-out event is of one has no hit; a column's value that it does not know is the unknown value to it. Columns that
//! are derived by quantiles of the log have the bounds of the candidate's dataset for both.
//!
//! Memory: one model at a time with its dataset, 16 bytes a user, and the users that evidence holds.

use std::path::Path;

use jiff::Timestamp;
use muster_core::retrain::gates::{self, Evidence};
use muster_data::Dataset;
use muster_proto::checkpoint::MANIFEST_FILE;
use muster_proto::config;
use muster_proto::control::{Contender, JudgeDone, JudgeUnit};
use muster_proto::job::JobSpec;
use muster_proto::schedule::GatesSpec;

use super::evidence::{self, Scored};
use super::files::RunFolder;
use super::slices::Slicing;
use super::{Error, Work, latency};
use crate::checkpoint::{self, Reader};
use crate::evaluate::{UserMetric, ranks_items};
use crate::run_record;
use crate::standalone::Standalone;
use crate::train::process_seconds;
use crate::warm_start::Parent;

/// Scores the best checkpoint of a run, beside the champion where there is one, writes the evidence down, and judges.
///
/// # Errors
/// There is no checkpoint, it is damaged or of another dataset; the champion is not there or not the one that is meant, or cannot
/// be scored on this dataset; the gates ask for what users do not have; the evidence cannot be written; or the work is to
/// stop.
pub fn judge(unit: &JudgeUnit, work: &Work<'_>) -> Result<JudgeDone, Error> {
    let begun = process_seconds();
    let metric: UserMetric = unit.gates.metric.parse().map_err(|problem| Error::Metric { problem })?;
    let run = RunFolder::make(&unit.workspace, &unit.run)?;
    let dataset = Dataset::open(Path::new(&unit.dataset))?;
    let mut slicing = Slicing::of(&unit.gates.slices, &dataset)?;
    let reader = checkpoint::find(&run_record::address(Path::new(&unit.run_dir))?, true)?;
    let job = job_of(&reader, &dataset)?;
    work.beat()?;
    let mut model = Standalone::open(job.clone(), &reader, dataset.dir(), work.threads)?;
    let mut candidate =
        evidence::score(&mut model, ("candidate", &reader.manifest.model_digest), metric, work)?;
    if candidate.users.is_empty() {
        return Err(Error::NobodyToAsk { dataset: dataset.dir().to_owned() });
    }
    candidate.measured.bytes = Some(reader.bytes()?);
    candidate.measured.latency = latency::measure(&mut model, work)?;
    let slices = slicing.of_users(&model.trainer, muster_data::Split::Test);
    // Two models at once would take twice the memory.
    drop(model);
    let champion = unit.champion.as_ref();
    let champion =
        champion.map(|champion| score_champion(champion, (&job, &dataset), metric, work)).transpose()?;
    let evidence = Evidence { slices: slicing.found(), ..evidence::together(candidate, champion, slices) };
    conclude(unit, &run, (&reader, &job), evidence, begun)
}

/// The candidate's job, if it is of this dataset.
pub(super) fn job_of(reader: &Reader, dataset: &Dataset) -> Result<JobSpec, Error> {
    let expected = &dataset.manifest().digest;
    if reader.manifest.dataset != *expected {
        return Err(Error::OtherDataset {
            checkpoint: reader.location.address(),
            found: reader.manifest.dataset.clone(),
            expected: expected.clone(),
        });
    }
    let name = reader.file(MANIFEST_FILE).display().to_string();
    let job: JobSpec = config::parse(&reader.manifest.job, &name, &[])?;
    if ranks_items(&job) { Ok(job) } else { Err(Error::RanksNothing { job: job.name }) }
}

/// Scores the champion on the candidate's dataset, in the way in which the candidate is.
pub(super) fn score_champion(
    champion: &Contender,
    (job, dataset): (&JobSpec, &Dataset),
    metric: UserMetric,
    work: &Work<'_>,
) -> Result<Scored, Error> {
    let parent = Parent::read(&run_record::address(Path::new(&champion.checkpoint))?)?;
    let found = &parent.reader.manifest.model_digest;
    if *found != champion.model_digest {
        return Err(Error::OtherChampion {
            checkpoint: parent.reader.location.address(),
            found: found.clone(),
            expected: champion.model_digest.clone(),
        });
    }
    if !ranks_items(&parent.job) {
        return Err(Error::RanksNothing { job: parent.job.name });
    }
    let as_judged = JobSpec { evaluation: job.evaluation.clone(), warm_start: None, ..parent.job.clone() };
    let mut model = Standalone::stand_in(as_judged, &parent, &champion.dataset, dataset.dir(), work.threads)?;
    work.beat()?;
    evidence::score(&mut model, ("champion", &champion.model_digest), metric, work)
}

/// Judges, and writes the evidence down.
fn conclude(
    unit: &JudgeUnit,
    run: &RunFolder,
    (reader, job): (&Reader, &JobSpec),
    mut evidence: Evidence,
    begun: f64,
) -> Result<JudgeDone, Error> {
    // What a person says is asked where the candidate waits for it.
    let gates = GatesSpec { approval: None, ..unit.gates.clone() };
    let judgement = gates::judge(&gates, &evidence, Timestamp::now());
    let encode =
        |source: serde_json::Error| Error::Write { path: "the judgement".into(), source: source.into() };
    let judgement = serde_json::to_value(&judgement).map_err(encode)?;
    for measured in std::iter::once(&mut evidence.candidate).chain(&mut evidence.champion) {
        measured.metrics = evidence::numbers(&measured.metrics);
    }
    let path = run.save("evidence.json", &evidence)?;
    let Evidence { candidate, champion, .. } = evidence;
    Ok(JudgeDone {
        evidence: path.display().to_string(),
        judgement,
        model_digest: candidate.model_digest,
        checkpoint: reader.location.address().display().to_string(),
        checkpoint_digest: reader.manifest_digest()?,
        bytes: candidate.bytes.unwrap_or_default(),
        job_toml: reader.manifest.job.clone(),
        numerics: reader.manifest.numerics.clone(),
        seed: job.seed,
        metrics: candidate.metrics,
        champion_metrics: champion.map(|champion| champion.metrics).unwrap_or_default(),
        cpu_seconds: process_seconds() - begun,
    })
}
