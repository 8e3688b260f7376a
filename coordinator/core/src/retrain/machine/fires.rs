//! Fires become runs, or are noted as missed.

use jiff::Timestamp;

use super::super::decide::Decision;
use super::super::run::{Kind, Outcome, Plan, Run, Stage};
use super::super::runs::{self, Attempt, RunId};
use super::schedule::Scheduled;
use super::{Machine, Writes};

impl Machine {
    /// Sees to all fires that are due.
    pub(super) fn fire(&mut self, now: Timestamp) -> Writes {
        let due = |name: &&String| self.schedules[*name].next_due().is_some_and(|due| due <= now);
        let names: Vec<String> = self.schedules.keys().filter(due).cloned().collect();
        let mut writes = Vec::new();
        for name in names {
            let Some(scheduled) = self.schedules.get_mut(&name) else { continue };
            let decisions = scheduled.schedule.decide(&mut scheduled.state.runs, now);
            writes.extend(self.carry_out(&name, decisions, now));
        }
        writes
    }

    /// Does what a schedule decided, which its state has noted already.
    pub(super) fn carry_out(&mut self, name: &str, decisions: Vec<Decision>, now: Timestamp) -> Writes {
        let mut writes = Vec::new();
        for decision in decisions {
            match decision {
                Decision::Start(attempt) => writes.extend(self.start(name, &attempt, now)),
                Decision::Skip { logical, reason } => self.miss(name, logical, now, reason.to_string()),
                Decision::Forget { until, .. } => {
                    let why =
                        "nobody looked for so long that it and those before it are forgotten".to_owned();
                    self.miss(name, until, now, why);
                }
                Decision::Cancel { run, timed_out } => {
                    let (outcome, why) = if timed_out {
                        (Outcome::Failed, "it took longer than max_run_time")
                    } else {
                        (Outcome::Cancelled, "a later run takes its place")
                    };
                    writes.extend(self.stop(&run.to_string(), outcome, why, now));
                }
                Decision::Queue { .. } | Decision::Retry(_) | Decision::Pause { .. } => {}
            }
        }
        writes.extend(self.schedules.get(name).map(Scheduled::put_state));
        writes
    }

    fn miss(&mut self, name: &str, logical: Timestamp, now: Timestamp, why: String) {
        if let Some(scheduled) = self.schedules.get_mut(name) {
            scheduled.state.miss(logical, now, why);
        }
    }

    /// Starts the run of a fire, unless there is one for its time already.
    fn start(&mut self, name: &str, attempt: &Attempt, now: Timestamp) -> Writes {
        let known = self.attempts(name, attempt.logical).next().filter(|_| attempt.attempt == 1);
        if let Some(known) = known {
            let why = format!("run {} was made for this time before it fired", known.id);
            self.miss(name, attempt.logical, now, why);
            return self.free_schedule(&attempt.run, name, runs::Outcome::Cancelled, now);
        }
        match self.runs.get(&attempt.run.to_string()).map(|known| known.outcome().is_some()) {
            // Somebody asked for it before its time came, and it is over: nobody would tell the schedule so.
            Some(true) => return self.free_schedule(&attempt.run, name, runs::Outcome::Cancelled, now),
            Some(false) => return Vec::new(),
            None => {}
        }
        let increments = self.pinned(name, attempt.logical);
        self.begin(name, (attempt.logical, attempt.attempt), Kind::Scheduled, increments, now)
    }

    /// Makes a run. Where an attempt before it has pinned its files and nothing else is said, it takes the same.
    pub(super) fn begin(
        &mut self,
        name: &str,
        (logical, attempt): (Timestamp, u32),
        kind: Kind,
        increments: Option<u64>,
        now: Timestamp,
    ) -> Writes {
        let Some(scheduled) = self.schedules.get(name) else { return Vec::new() };
        let applied = scheduled.applied.clone();
        let wait = applied.spec.window.wait;
        let schedule = name.to_owned();
        let plan = Plan { schedule, logical, attempt, kind, begun: now, increments, applied };
        let mut run = Run::new(RunId::new(name, logical, attempt), plan);
        let until = logical.checked_add(wait).unwrap_or(now).max(now);
        let why = match kind {
            Kind::Scheduled if attempt > 1 => format!("attempt {attempt} for {logical}"),
            Kind::Scheduled => format!("the schedule fired for {logical}"),
            Kind::Manual => format!("somebody asked for {logical}"),
            Kind::Backfill => format!("a backfill comes to {logical}"),
        };
        run.enter(Stage::Waiting { until }, now, why);
        let writes = vec![run.put_plan(), run.put_state()];
        let id = run.id.to_string();
        self.runs.insert(id.clone(), run);
        writes.into_iter().chain(self.after_wait(&id, now)).collect()
    }

    /// The number of the next attempt for a time.
    pub(super) fn next_attempt(&self, name: &str, logical: Timestamp) -> u32 {
        let known = self.attempts(name, logical).map(|run| run.plan.attempt).max().unwrap_or(0);
        // A forgotten run's folder may still be there, to be removed at any moment.
        let is_going = |attempt: &u32| {
            let id = RunId::new(name, logical, *attempt).to_string();
            self.garbage.values().any(|folder| folder.0.ends_with(&id))
        };
        (known + 1..).find(|attempt| !is_going(attempt)).unwrap_or(u32::MAX)
    }

    /// The files that the latest attempt for a time has pinned, as one does whose data was fit; after another one it is looked for
    /// files again.
    pub(super) fn pinned(&self, name: &str, logical: Timestamp) -> Option<u64> {
        let pinned = self
            .attempts(name, logical)
            .filter_map(|run| Some((run.plan.attempt, run.state.made.as_ref()?.read.increments)));
        pinned.max().map(|(_, increments)| increments)
    }

    /// Increments of a schedule's base that were found fit by a run.
    pub(super) fn checked(&self, name: &str) -> u64 {
        let checked = self.runs_of(name).filter_map(|run| Some(run.state.made.as_ref()?.read.increments));
        checked.max().unwrap_or(0)
    }

    /// Tells a schedule that a run does not keep others waiting any more.
    pub(super) fn free_schedule(
        &mut self,
        run: &RunId,
        name: &str,
        outcome: runs::Outcome,
        now: Timestamp,
    ) -> Writes {
        let Some(scheduled) = self.schedules.get_mut(name) else { return Vec::new() };
        let decisions = scheduled.schedule.ended(&mut scheduled.state.runs, run, outcome, now);
        let mut writes = self.carry_out(name, decisions, now);
        writes.extend(self.feed_backfill(name, now));
        writes
    }

    /// Tells a schedule how a run ended, and counts it.
    pub(super) fn tell_schedule(&mut self, id: &str, name: &str, outcome: Outcome, now: Timestamp) -> Writes {
        let Some(run) = self.runs.get(id) else { return Vec::new() };
        if let Some(scheduled) = self.schedules.get_mut(name) {
            let state = &mut scheduled.state;
            *state.outcomes.entry(outcome).or_default() += 1;
            state.cost.0 += run.state.cost.cpu_seconds;
            state.cost.1 += run.state.cost.worker_seconds;
        }
        let run = run.id.clone();
        self.free_schedule(&run, name, outcome.into(), now)
    }
}
