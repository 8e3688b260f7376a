//! Answers to questions.

use std::collections::BTreeMap;
use std::ops::Bound;

use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Value, json};

use super::super::command::Question;
use super::super::registry::{CHAMPION, Registry, Version, VersionNumber};
use super::super::run::{Outcome, Run};
use super::super::view::{DatasetView, FleetView, ModelView, RunView, ScheduleHealth, ScheduleView};
use super::schedule::Scheduled;
use super::{Machine, Refusal};

/// The latest missed fires that the fleet view shows.
const SHOWN: usize = 5;
/// Bytes that a page of a list has as JSON, at most, unless one thing alone has more; a message of the API has room for four times
/// as many.
const PAGE_BYTES: usize = 1 << 20;

impl Machine {
    /// Answers a question.
    ///
    /// # Errors
    /// What is named is not there.
    pub fn tell(&self, question: &Question, now: Timestamp) -> Result<Value, Refusal> {
        Ok(match question {
            Question::Schedules { after } => {
                page(after_name(&self.schedules, after.as_ref()).map(|known| self.schedule(known, false)))
            }
            Question::Schedule { schedule } => {
                let known = self.schedules.get(schedule).ok_or_else(|| Refusal::no_schedule(schedule))?;
                json!(self.schedule(known, true))
            }
            Question::Runs { schedule, after } => self.tell_runs(schedule.as_ref(), after.as_ref())?,
            Question::Run { run } => json!(view(self.runs.get(run).ok_or_else(|| Refusal::no_run(run))?)),
            Question::Models { after } => page(after_name(&self.models, after.as_ref()).map(|model| {
                let newest = model.versions().next_back().map(|version| version.number);
                let is_named = |version: &VersionNumber| model.aliases().any(|(_, at)| at == *version);
                let shown = model.versions().rev();
                let shown =
                    shown.filter(|version| Some(version.number) == newest || is_named(&version.number));
                let mut versions: Vec<Version> = shown.cloned().collect();
                versions.iter_mut().for_each(|version| version.model.lineage.job.clear());
                self.model(model, versions)
            })),
            Question::Model { model, after } => {
                let model = self.models.get(model).ok_or_else(|| Refusal::no_model(model))?;
                let follows = |version: &&Version| after.is_none_or(|after| version.number.0 < after);
                json!(self.model(model, fitting(model.versions().rev().filter(follows).cloned())))
            }
            Question::History { model, after } => {
                let model = self.models.get(model).ok_or_else(|| Refusal::no_model(model))?;
                page(model.history().rev().filter(|entry| after.is_none_or(|after| entry.number < after)))
            }
            Question::Fleet => json!(self.fleet(now)),
        })
    }

    fn schedule(&self, known: &Scheduled, is_whole: bool) -> ScheduleView {
        let (spec, state) = (&known.applied.spec, &known.state);
        let last = self.runs_of(&spec.name).max_by_key(|run| (run.plan.begun, run.id.to_string()));
        ScheduleView {
            name: spec.name.clone(),
            model: spec.model.clone(),
            cron: spec.cron.clone(),
            time_zone: spec.time_zone.clone(),
            paused: state.runs.paused,
            next: known.next_fire().filter(|_| !state.runs.paused),
            active: self.unended_of(&spec.name),
            retrying: state.runs.retrying.iter().map(|attempt| attempt.at).collect(),
            queued: state.runs.queued.iter().copied().collect(),
            backfill: state.backfill.iter().copied().collect(),
            failures: state.runs.failures,
            last: last.map(|run| run.id.to_string()),
            missed: state.missed.iter().cloned().collect(),
            applied: is_whole.then(|| Box::new(known.applied.clone())),
        }
    }

    /// Runs, the newest first, after a place in that order.
    fn tell_runs(
        &self,
        schedule: Option<&String>,
        after: Option<&(Timestamp, String)>,
    ) -> Result<Value, Refusal> {
        let of = |run: &&Run| schedule.is_none_or(|name| run.plan.schedule == *name);
        let runs = self.runs.values().filter(of);
        if let Some(name) = schedule.filter(|name| !self.schedules.contains_key(*name))
            && runs.clone().next().is_none()
        {
            return Err(Refusal::no_schedule(name));
        }
        let placed = runs.map(|run| ((run.plan.begun, run.id.to_string()), run));
        let mut placed: Vec<_> =
            placed.filter(|(place, _)| after.is_none_or(|after| place < after)).collect();
        placed.sort_by(|(one, _), (other, _)| other.cmp(one));
        Ok(page(placed.into_iter().map(|(_, run)| view(run))))
    }

    fn model(&self, registry: &Registry, versions: Vec<Version>) -> ModelView {
        ModelView {
            name: registry.name().to_owned(),
            aliases: registry.aliases().map(|(alias, version)| (alias.to_owned(), version.0)).collect(),
            n_versions: registry.versions().len() as u64,
            versions,
            reported: self
                .reported
                .get(registry.name())
                .map(|reported| reported.0.clone())
                .unwrap_or_default(),
        }
    }

    /// How all schedules go.
    #[must_use]
    pub fn fleet(&self, now: Timestamp) -> FleetView {
        let owed = self.owed.values().map(|owed| {
            let error = owed.error.as_deref().unwrap_or("it was not made yet");
            format!("hook {} for {} of {}: {error}", owed.hook, owed.version, owed.model)
        });
        FleetView {
            schedules: self.schedules.values().map(|known| self.health(known, now)).collect(),
            active_runs: self.unended().count() as u64,
            owed_calls: owed.collect(),
            unremoved: self.unremoved.values().cloned().collect(),
        }
    }

    fn health(&self, known: &Scheduled, now: Timestamp) -> ScheduleHealth {
        let (spec, state) = (&known.applied.spec, &known.state);
        let champion = self.models.get(&spec.model).and_then(|model| {
            let version = model.version(model.alias(CHAMPION)?).ok()?;
            version.model.lineage.window
        });
        let ended: u64 = state.outcomes.values().sum();
        let promoted: u64 =
            [Outcome::Promoted, Outcome::RolledBack].iter().filter_map(|end| state.outcomes.get(end)).sum();
        let mean = |sum: f64, of: u64| (of > 0).then(|| sum / of as f64);
        ScheduleHealth {
            name: spec.name.clone(),
            model: spec.model.clone(),
            paused: state.runs.paused,
            next: known.next_fire().filter(|_| !state.runs.paused),
            freshness: champion.map(|(_, until)| now.duration_since(until).as_secs_f64()),
            objective: spec.objective.freshness.map(|age| age.0.as_secs_f64()),
            outcomes: state.outcomes.clone(),
            pass_rate: mean(state.judged.1 as f64, state.judged.0),
            to_promotion: mean(state.to_promotion, promoted),
            cpu_seconds: mean(state.cost.0, ended),
            worker_seconds: mean(state.cost.1, ended),
            missed: state.n_missed,
            latest_missed: state.missed.iter().take(SHOWN).cloned().collect(),
        }
    }
}

/// What a map has after a name, in order.
fn after_name<'m, T>(all: &'m BTreeMap<String, T>, after: Option<&String>) -> impl Iterator<Item = &'m T> {
    let from = after.map_or(Bound::Unbounded, Bound::Excluded);
    all.range::<String, _>((from, Bound::Unbounded)).map(|(_, item)| item)
}

/// The first of a list that together are no longer than a page; one, if there is any.
fn fitting<T: Serialize>(items: impl Iterator<Item = T>) -> Vec<T> {
    let mut bytes = 0;
    let mut page = Vec::new();
    for item in items {
        bytes += json!(item).to_string().len();
        if bytes > PAGE_BYTES && !page.is_empty() {
            break;
        }
        page.push(item);
    }
    page
}

fn page<T: Serialize>(items: impl Iterator<Item = T>) -> Value {
    json!(fitting(items))
}

fn view(run: &Run) -> RunView {
    let (plan, state) = (&run.plan, &run.state);
    let made = state.made.as_deref();
    RunView {
        run: run.id.to_string(),
        schedule: plan.schedule.clone(),
        model: run.model().to_owned(),
        logical: plan.logical,
        attempt: plan.attempt,
        kind: plan.kind,
        stage: state.stage.clone(),
        outcome: run.outcome(),
        why: state.transitions.last().map(|last| last.why.clone()).unwrap_or_default(),
        transitions: state.transitions.clone(),
        window: state.window,
        read: state.read.clone(),
        dataset: made.map(|made| DatasetView {
            folder: made.dataset.clone(),
            digest: made.digest.clone(),
            rows: made.rows,
            users: made.users,
            items: made.items,
        }),
        parent: state.parent.map(|version| version.0),
        champion: state.champion.map(|version| version.0),
        job: state.job.map(|job| job.0),
        version: state.version.map(|version| version.0),
        metrics: state.metrics.clone(),
        champion_metrics: state.champion_metrics.clone(),
        judgement: state.judgement.clone(),
        cost: state.cost,
    }
}
