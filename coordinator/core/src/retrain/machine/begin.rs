//! Runs that people ask for: single ones, and those of a range of the past.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::super::backfill::{Backfill, Known};
use super::super::cron::Cron;
use super::super::run::{Kind, Outcome, Stage};
use super::super::runs;
use super::super::view::Done;
use super::{Machine, Refusal, Writes};

impl Machine {
    pub(super) fn trigger(
        &mut self,
        name: &str,
        at: Option<Timestamp>,
        refresh: bool,
        now: Timestamp,
    ) -> Result<(Done, Writes), Refusal> {
        let logical = at.unwrap_or(now);
        // Ids are made of seconds.
        let logical = Timestamp::from_second(logical.as_second()).unwrap_or(logical);
        if !self.schedules.contains_key(name) {
            return Err(Refusal::no_schedule(name));
        }
        if logical > now {
            return Err(Refusal::invalid("at", format!("{logical} is not over yet, now it is {now}")));
        }
        let at_work = self.attempts(name, logical).find(|run| run.outcome().is_none());
        if let Some(run) = at_work {
            return Err(Refusal::state(format!("run {} is at work for {logical} already", run.id)));
        }
        let increments = if refresh { None } else { self.pinned(name, logical) };
        let attempt = self.next_attempt(name, logical);
        let id = runs::RunId::new(name, logical, attempt).to_string();
        let mut writes = Vec::new();
        if let Some(scheduled) = self.schedules.get_mut(name) {
            scheduled.schedule.trigger(&mut scheduled.state.runs, (logical, attempt), now);
            writes.push(scheduled.put_state());
        }
        writes.extend(self.begin(name, (logical, attempt), Kind::Manual, increments, now));
        Ok((Done { message: format!("run {id} begun for {logical}"), runs: vec![id], times: vec![] }, writes))
    }

    pub(super) fn rerun(
        &mut self,
        id: &str,
        refresh: bool,
        now: Timestamp,
    ) -> Result<(Done, Writes), Refusal> {
        let run = self.runs.get(id).ok_or_else(|| Refusal::no_run(id))?;
        if run.outcome().is_none() {
            return Err(Refusal::state(format!("run {id} is at work, cancel it first")));
        }
        let (schedule, logical) = (run.plan.schedule.clone(), run.plan.logical);
        self.trigger(&schedule, Some(logical), refresh, now)
    }

    pub(super) fn backfill(
        &mut self,
        name: &str,
        asked: Backfill,
        max_active: u32,
        dry_run: bool,
        now: Timestamp,
    ) -> Result<(Done, Writes), Refusal> {
        let scheduled = self.schedules.get(name).ok_or_else(|| Refusal::no_schedule(name))?;
        if asked.from >= asked.to {
            return Err(Refusal::invalid("from", format!("{} is not before {}", asked.from, asked.to)));
        }
        if asked.to > now {
            return Err(Refusal::invalid("to", format!("{} is not over yet, now it is {now}", asked.to)));
        }
        if max_active == 0 {
            return Err(Refusal::invalid("max_active", "is 0, nothing would run"));
        }
        let spec = &scheduled.applied.spec;
        let cron = Cron::new(&spec.cron, &spec.time_zone)
            .map_err(|error| Refusal::invalid("cron", error.to_string()))?;
        let (times, more) = asked.plan(&cron, &self.known_times(name));
        if more {
            let problem = format!("it fired more than {} times; ask for a shorter range", times.len());
            return Err(Refusal::invalid("from", problem));
        }
        let message = match (times.len(), dry_run) {
            (0, _) => "there is nothing to run".to_owned(),
            (n, true) => format!("{n} times would run"),
            (n, false) => format!("{n} times will run, {max_active} at a time"),
        };
        let done = Done { message, runs: vec![], times: times.clone() };
        if dry_run || times.is_empty() {
            return Ok((done, Vec::new()));
        }
        let Some(scheduled) = self.schedules.get_mut(name) else { return Ok((done, Vec::new())) };
        let waiting = &mut scheduled.state.backfill;
        waiting.retain(|time| !times.contains(time));
        waiting.extend(times);
        scheduled.state.max_active = max_active;
        Ok((done, self.feed_backfill(name, now)))
    }

    /// What is known of the times of a schedule: of the latest attempt for each.
    fn known_times(&self, name: &str) -> BTreeMap<Timestamp, Known> {
        let mut latest: BTreeMap<Timestamp, (u32, Known)> = BTreeMap::new();
        for run in self.runs_of(name) {
            let known = match run.outcome() {
                None => Known::Active,
                Some(outcome) => Known::Ended(outcome.into()),
            };
            let entry = latest.entry(run.plan.logical).or_insert((0, known));
            if run.plan.attempt > entry.0 {
                *entry = (run.plan.attempt, known);
            }
        }
        latest.into_iter().map(|(time, (_, known))| (time, known)).collect()
    }

    /// Begins as many runs of a backfill as may be at work. They keep no fire of the schedule waiting.
    pub(super) fn feed_backfill(&mut self, name: &str, now: Timestamp) -> Writes {
        let mut writes = Vec::new();
        loop {
            let at_work = self.runs_of(name).filter(|run| {
                run.outcome().is_none()
                    && run.plan.kind == Kind::Backfill
                    && !matches!(run.state.stage, Stage::Watching { .. } | Stage::RollingBack(_))
            });
            let at_work = at_work.count();
            let Some(scheduled) = self.schedules.get_mut(name) else { return writes };
            if at_work >= scheduled.state.max_active as usize {
                return writes;
            }
            let Some(logical) = scheduled.state.backfill.pop_front() else { return writes };
            writes.push(scheduled.put_state());
            let attempt = self.next_attempt(name, logical);
            let increments = self.pinned(name, logical);
            writes.extend(self.begin(name, (logical, attempt), Kind::Backfill, increments, now));
        }
    }

    pub(super) fn cancel(&mut self, id: &str, by: &str, now: Timestamp) -> Result<(Done, Writes), Refusal> {
        let run = self.runs.get(id).ok_or_else(|| Refusal::no_run(id))?;
        let refused = |why: &str| Err(Refusal::state(format!("run {id} {why}")));
        match &run.state.stage {
            Stage::Ended { outcome } => return refused(&format!("is over: {outcome}")),
            Stage::Cancelling { .. } => return refused("is being cancelled already"),
            Stage::Promoting(_) => return refused("is being promoted; roll the model back when it is"),
            Stage::Watching { .. } => return refused("has promoted its model; roll that back instead"),
            Stage::RollingBack(_) => return refused("is rolling its model back"),
            _ => {}
        }
        let writes = self.stop(id, Outcome::Cancelled, &format!("{by} cancelled it"), now);
        Ok((Done { message: format!("run {id} is being cancelled"), ..Done::default() }, writes))
    }

    /// Ends a run before its model is used; where that has begun, it goes on.
    pub(super) fn stop(&mut self, id: &str, outcome: Outcome, why: &str, now: Timestamp) -> Writes {
        let Some(run) = self.runs.get_mut(id) else { return Vec::new() };
        match run.state.stage {
            Stage::Waiting { .. } | Stage::Approving { .. } => self.end(id, outcome, why, now),
            Stage::Preparing | Stage::Training | Stage::Judging => {
                run.enter(Stage::Cancelling { outcome }, now, why);
                vec![run.put_state()]
            }
            _ => Vec::new(),
        }
    }
}
