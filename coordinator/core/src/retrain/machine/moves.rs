//! The champion changes: by a run, back by its watch.

use jiff::Timestamp;

use super::super::registry::{self, Actor};
use super::super::run::{Call, Outcome, Stage};
use super::super::runs;
use super::wanted::HookStage;
use super::{Machine, Writes};

/// How often a candidate is judged before its run gives up, where the champion is another one each time.
pub(super) const MOST_JUDGED: u32 = 5;

impl Machine {
    pub(super) fn called_to_promote(
        &mut self,
        id: &str,
        call: Call,
        end: Result<(), String>,
        now: Timestamp,
    ) -> Writes {
        match end {
            Ok(()) => self.promote_now(id, now),
            Err(error) => match self.again(id, call, now) {
                Some(next) => self.call_again(id, Stage::Promoting(next), &error, now),
                None => {
                    let why = format!("the champion stays, the hook failed {} times: {error}", call.attempt);
                    let mut writes = self.put_champion_back(id, now);
                    writes.extend(self.end(id, Outcome::Failed, &why, now));
                    writes
                }
            },
        }
    }

    /// A hook may have put a candidate into service that is not the champion: it is called for the champion.
    fn put_champion_back(&mut self, id: &str, now: Timestamp) -> Writes {
        let Some(run) = self.runs.get(id) else { return Vec::new() };
        let (model, has_hook) = (run.model().to_owned(), run.plan.applied.spec.promotion.hook.is_some());
        let champion = self.models.get(&model).and_then(|model| model.alias(registry::CHAMPION));
        match champion.filter(|_| has_hook) {
            Some(champion) => self.owe(&model, champion, HookStage::RollBack, now),
            None => Vec::new(),
        }
    }

    /// The next call after one that failed, if there is one.
    fn again(&self, id: &str, call: Call, now: Timestamp) -> Option<Call> {
        let promotion = &self.runs.get(id)?.plan.applied.spec.promotion;
        let at = now.checked_add(promotion.backoff).ok()?;
        (call.attempt <= promotion.retries).then_some(Call { attempt: call.attempt + 1, at })
    }

    fn call_again(&mut self, id: &str, stage: Stage, error: &str, now: Timestamp) -> Writes {
        let Some(run) = self.runs.get_mut(id) else { return Vec::new() };
        run.enter(stage, now, format!("the hook failed and is called again: {error}"));
        vec![run.put_state()]
    }

    /// Makes the candidate the champion, which was the one that it was compared with.
    pub(super) fn promote_now(&mut self, id: &str, now: Timestamp) -> Writes {
        let Some(run) = self.runs.get(id) else { return Vec::new() };
        let (model, expected) = (run.model().to_owned(), run.state.champion);
        let (Some(version), Some(registry)) = (run.state.version, self.models.get_mut(&model)) else {
            return self.end(id, Outcome::Failed, "its version is gone", now);
        };
        let by = format!("run {id}");
        let mut writes = match registry.promote(version, expected, Actor { by: &by, at: now }) {
            Ok(writes) => writes,
            Err(registry::Error::Moved { found, .. }) if run.state.judged < MOST_JUDGED => {
                let why = format!("the champion is {found} by now");
                let mut writes = self.put_champion_back(id, now);
                writes.extend(self.begin_judging(id, &why, now));
                return writes;
            }
            Err(error) => {
                let mut writes = self.put_champion_back(id, now);
                writes.extend(self.end(id, Outcome::Failed, &error.to_string(), now));
                return writes;
            }
        };
        let (run_id, schedule) = (run.id.clone(), run.plan.schedule.clone());
        let health = run.plan.applied.spec.health.clone();
        let took = now.duration_since(run.plan.begun).as_secs_f64();
        // What people's hooks had not done yet is void: this model is in service.
        writes.extend(self.void_owed(&model));
        if let Some(scheduled) = self.schedules.get_mut(&schedule) {
            scheduled.state.to_promotion += took;
        }
        writes.extend(self.supersede(&model, id, &version.to_string(), now));
        let Some(health) = health else {
            writes.extend(self.end(id, Outcome::Promoted, &format!("{version} is the champion"), now));
            return writes;
        };
        let until = now.checked_add(health.window).unwrap_or(Timestamp::MAX);
        if let Some(run) = self.runs.get_mut(id) {
            let why = format!("{version} is the champion, its {} is watched", health.metric);
            run.enter(Stage::Watching { until }, now, why);
            writes.push(run.put_state());
        }
        writes.extend(self.free_schedule(&run_id, &schedule, runs::Outcome::Succeeded, now));
        writes
    }

    /// A champion that was watched is none any more.
    pub(super) fn supersede(&mut self, model: &str, by: &str, version: &str, now: Timestamp) -> Writes {
        let watched = self.unended().filter(|run| {
            run.model() == model
                && run.id.to_string() != by
                && matches!(run.state.stage, Stage::Watching { .. } | Stage::RollingBack(_))
        });
        let watched: Vec<String> = watched.map(|run| run.id.to_string()).collect();
        let mut writes = Vec::new();
        for id in watched {
            writes.extend(self.end(&id, Outcome::Promoted, &format!("{version} took its place"), now));
        }
        writes
    }

    /// Begins to put the champion before this one back.
    pub(super) fn begin_roll_back(&mut self, id: &str, why: &str, now: Timestamp) -> Writes {
        let Some(run) = self.runs.get_mut(id) else { return Vec::new() };
        let registry = self.models.get(run.model());
        let previous = registry.and_then(|registry| registry.alias(registry::PREVIOUS));
        if previous.is_none() {
            let why = format!("{why}; it stays, there is no champion before it");
            return self.end(id, Outcome::Promoted, &why, now);
        }
        run.enter(Stage::RollingBack(Call { attempt: 1, at: now }), now, why);
        let has_hook = run.plan.applied.spec.promotion.hook.is_some();
        let mut writes = vec![run.put_state()];
        if !has_hook {
            writes.extend(self.roll_back_now(id, why, now));
        }
        writes
    }

    pub(super) fn called_to_roll_back(
        &mut self,
        id: &str,
        call: Call,
        end: Result<(), String>,
        now: Timestamp,
    ) -> Writes {
        match end {
            Ok(()) => self.roll_back_now(id, "the hook has put the champion before it back", now),
            Err(error) => match self.again(id, call, now) {
                Some(next) => self.call_again(id, Stage::RollingBack(next), &error, now),
                None => {
                    let why =
                        format!("the hook failed {} times, see to what is in service: {error}", call.attempt);
                    self.roll_back_now(id, &why, now)
                }
            },
        }
    }

    fn roll_back_now(&mut self, id: &str, why: &str, now: Timestamp) -> Writes {
        let Some(run) = self.runs.get(id) else { return Vec::new() };
        let model = run.model().to_owned();
        let (Some(version), Some(registry)) = (run.state.version, self.models.get_mut(&model)) else {
            return Vec::new();
        };
        let by = format!("run {id}");
        let (mut writes, outcome, why) = match registry.roll_back(version, Actor { by: &by, at: now }) {
            Ok(writes) => (writes, Outcome::RolledBack, why.to_owned()),
            Err(error) => (Vec::new(), Outcome::Promoted, error.to_string()),
        };
        writes.extend(self.void_owed(&model));
        writes.extend(self.end(id, outcome, &why, now));
        writes
    }
}
