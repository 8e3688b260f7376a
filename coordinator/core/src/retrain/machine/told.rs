//! Answers to questions.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::super::command::Question;
use super::super::registry::{CHAMPION, Registry};
use super::super::run::{Outcome, Run};
use super::super::view::{DatasetView, FleetView, ModelView, RunView, ScheduleHealth, ScheduleView};
use super::schedule::Scheduled;
use super::{Machine, Refusal};

/// The latest missed fires that the fleet view shows.
const SHOWN: usize = 5;

impl Machine {
    /// Answers a question.
    ///
    /// # Errors
    /// What is named is not there.
    pub fn tell(&self, question: &Question, now: Timestamp) -> Result<Value, Refusal> {
        Ok(match question {
            Question::Schedules => {
                json!(self.schedules.values().map(|known| self.schedule(known, false)).collect::<Vec<_>>())
            }
            Question::Schedule { schedule } => {
                let known = self.schedules.get(schedule).ok_or_else(|| Refusal::no_schedule(schedule))?;
                json!(self.schedule(known, true))
            }
            Question::Runs { schedule } => {
                if let Some(name) = schedule.as_ref().filter(|name| !self.schedules.contains_key(*name))
                    && self.runs.values().all(|run| run.plan.schedule != *name)
                {
                    return Err(Refusal::no_schedule(name));
                }
                let of = |run: &&Run| schedule.as_ref().is_none_or(|name| run.plan.schedule == *name);
                let mut runs: Vec<&Run> = self.runs.values().filter(of).collect();
                runs.sort_by_key(|run| std::cmp::Reverse((run.plan.begun, run.id.to_string())));
                json!(runs.into_iter().map(view).collect::<Vec<_>>())
            }
            Question::Run { run } => json!(view(self.runs.get(run).ok_or_else(|| Refusal::no_run(run))?)),
            Question::Models => {
                json!(self.models.values().map(|model| self.model(model, false)).collect::<Vec<_>>())
            }
            Question::Model { model } => {
                json!(self.model(self.models.get(model).ok_or_else(|| Refusal::no_model(model))?, true))
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

    fn model(&self, registry: &Registry, is_whole: bool) -> ModelView {
        let mut versions: Vec<_> = registry.versions().rev().cloned().collect();
        if !is_whole {
            versions.iter_mut().for_each(|version| version.model.lineage.job.clear());
        }
        let history = if is_whole { registry.history().rev().cloned().collect() } else { Vec::new() };
        ModelView {
            name: registry.name().to_owned(),
            aliases: registry.aliases().map(|(alias, version)| (alias.to_owned(), version.0)).collect(),
            versions,
            history,
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
