//! How well models that were trained before a day tell what it brings.

use std::path::PathBuf;

use muster_core::retrain::registry::Version;
use muster_proto::control::Contender;
use muster_worker::retrain;

use crate::error::Error;
use crate::local::threads_each;

/// The models in service when a day begins.
#[derive(Debug, Clone, Default)]
pub(super) struct Champions {
    pub(super) shop: Option<Version>,
    pub(super) full: Option<Version>,
    pub(super) once: Option<Version>,
}

/// The dataset that has a day as its test split, and the run that was trained on it.
#[derive(Debug, Clone)]
pub(super) struct DayData {
    pub(super) folder: PathBuf,
    pub(super) run: PathBuf,
}

/// How well each of them does.
#[derive(Debug, Clone, Default)]
pub(super) struct Scores {
    pub(super) shop: Option<Score>,
    pub(super) full: Option<Score>,
    pub(super) once: Option<Score>,
}

/// How well a model tells what is next, of customers that have a next.
#[derive(Debug, Clone, Copy)]
pub(super) struct Score {
    pub(super) ndcg: f64,
    pub(super) hit_rate: f64,
    pub(super) users: u64,
}

/// Scores the models on the test split of a dataset: the day's views.
pub(super) async fn scored(champions: &Champions, dataset: &DayData) -> Result<Scores, Error> {
    let score = async |version: &Option<Version>| match version {
        Some(version) => score_of(version, dataset.clone()).await.map(Some),
        None => Ok(None),
    };
    let Champions { shop, full, once } = champions;
    Ok(Scores { shop: score(shop).await?, full: score(full).await?, once: score(once).await? })
}

async fn score_of(version: &Version, dataset: DayData) -> Result<Score, Error> {
    let contender = Contender {
        checkpoint: version.model.checkpoint.clone(),
        dataset: version.model.dataset.clone(),
        model_digest: version.model.model_digest.clone(),
    };
    let score = move || retrain::score(&contender, &dataset.run, &dataset.folder, threads_each(1));
    let scored = tokio::task::spawn_blocking(score).await;
    let scored = scored.map_err(|error| Error::failed(format!("a model could not be scored: {error}")))?;
    let scored = scored.map_err(|error| Error::failed(format!("a model could not be scored: {error}")))?;
    let metric = |name: &str| scored.metrics.get(name).copied().unwrap_or_default();
    Ok(Score { ndcg: metric("NDCG@10"), hit_rate: metric("HR@10"), users: scored.users })
}
