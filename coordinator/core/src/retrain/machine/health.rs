//! What is reported of the champion in service, and what follows.

use std::collections::BTreeMap;

use jiff::Timestamp;
use muster_proto::schedule::{HealthSpec, Missing};
use serde::{Deserialize, Serialize};

use super::super::registry::{CHAMPION, VersionNumber};
use super::super::run::{Outcome, Stage};
use super::super::view::Done;
use super::restore::reported_key;
use super::{Machine, Refusal, Writes};
use crate::stored::put;

/// Versions of which reports are kept, the newest; and figures of each.
const KEPT: usize = 100;

/// The mean of each figure of each version, and of how many samples.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Reported(pub(super) BTreeMap<u64, BTreeMap<String, (f64, u64)>>);

impl Reported {
    fn add(&mut self, version: VersionNumber, metric: &str, value: f64, samples: u64) -> Result<(), Refusal> {
        let of_version = self.0.entry(version.0).or_default();
        if !of_version.contains_key(metric) && of_version.len() >= KEPT {
            return Err(Refusal::state(format!("{version} has {KEPT} figures already")));
        }
        let (mean, before) = of_version.entry(metric.to_owned()).or_insert((0.0, 0));
        let all = before.saturating_add(samples);
        let together = *mean + (value - *mean) * (samples as f64 / all as f64);
        if !together.is_finite() {
            return Err(Refusal::invalid("value", format!("is {value}, the mean would be no number")));
        }
        (*mean, *before) = (together, all);
        while self.0.len() > KEPT {
            self.0.pop_first();
        }
        Ok(())
    }

    /// The mean of a figure, where there are samples enough.
    fn mean(&self, version: VersionNumber, health: &HealthSpec) -> Option<f64> {
        let (mean, samples) = self.0.get(&version.0)?.get(&health.metric)?;
        (*samples >= health.min_samples).then_some(*mean)
    }
}

/// What a champion's reports say: that it has to go and why; that it is well; or nothing yet.
fn verdict(
    health: &HealthSpec,
    reported: &Reported,
    version: VersionNumber,
    before: Option<VersionNumber>,
) -> Option<Result<(), String>> {
    let mean = reported.mean(version, health)?;
    let HealthSpec { metric, .. } = health;
    if let Some(floor) = health.at_least
        && mean < floor
    {
        return Some(Err(format!("{metric} is {mean:.6}, health.at_least is {floor}")));
    }
    if let (Some(drop), Some(before)) =
        (health.max_drop, before.and_then(|before| reported.mean(before, health)))
        && mean < before * (1.0 - drop)
    {
        return Some(Err(format!(
            "{metric} is {mean:.6}, it was {before:.6} before, health.max_drop is {drop}"
        )));
    }
    Some(Ok(()))
}

impl Machine {
    pub(super) fn report(
        &mut self,
        (model, version): (&str, Option<u64>),
        (metric, value, samples): (&str, f64, u64),
        now: Timestamp,
    ) -> Result<(Done, Writes), Refusal> {
        let registry = self.models.get(model).ok_or_else(|| Refusal::no_model(model))?;
        let champion =
            || Refusal::state(format!("model {model} has no champion, say of which version this is"));
        let version = match version.map(VersionNumber) {
            Some(version) => registry.version(version)?.number,
            None => registry.alias(CHAMPION).ok_or_else(champion)?,
        };
        if !value.is_finite() {
            return Err(Refusal::invalid("value", format!("is {value}, give a number")));
        }
        if samples == 0 {
            return Err(Refusal::invalid("samples", "is 0, a mean of nothing says nothing"));
        }
        if metric.is_empty() || metric.len() > 100 {
            return Err(Refusal::invalid("metric", "must have 1 to 100 characters"));
        }
        let reported = self.reported.entry(model.to_owned()).or_default();
        reported.add(version, metric, value, samples)?;
        let mut writes = vec![put(reported_key(model), reported)];
        let watched = self.unended().find(|run| {
            run.model() == model
                && run.state.version == Some(version)
                && matches!(run.state.stage, Stage::Watching { .. })
        });
        if let Some(id) = watched.map(|run| run.id.to_string())
            && let Some(Err(why)) = self.health_of(&id)
        {
            writes.extend(self.begin_roll_back(&id, &why, now));
        }
        let message = format!("{metric} of {version} of {model}: {samples} samples noted");
        Ok((Done { message, ..Done::default() }, writes))
    }

    fn health_of(&self, id: &str) -> Option<Result<(), String>> {
        let run = self.runs.get(id)?;
        let health = run.plan.applied.spec.health.as_ref()?;
        verdict(health, self.reported.get(run.model())?, run.state.version?, run.state.champion)
    }

    /// The watch over a champion is over.
    pub(super) fn watched(&mut self, id: &str, now: Timestamp) -> Writes {
        let Some(run) = self.runs.get(id) else { return Vec::new() };
        let Some(health) = run.plan.applied.spec.health.clone() else { return Vec::new() };
        match (self.health_of(id), health.missing) {
            (Some(Ok(())), _) => {
                self.end(id, Outcome::Promoted, &format!("its {} is well", health.metric), now)
            }
            (Some(Err(why)), _) => self.begin_roll_back(id, &why, now),
            (None, Missing::Keep) => {
                let why = format!("its {} was not reported often enough, it stays", health.metric);
                self.end(id, Outcome::Promoted, &why, now)
            }
            (None, Missing::RollBack) => {
                let why = format!("its {} was not reported often enough", health.metric);
                self.begin_roll_back(id, &why, now)
            }
        }
    }
}
