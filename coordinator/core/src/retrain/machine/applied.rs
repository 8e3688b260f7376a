//! Schedules come, change, pause and go.

use jiff::Timestamp;
use muster_proto::config;
use muster_proto::schedule::ScheduleSpec;

use super::super::command::Applied;
use super::super::decide::Schedule;
use super::super::registry::{self, Registry};
use super::super::run::Outcome;
use super::super::view::Done;
use super::schedule::{Scheduled, State};
use super::{MOST_SCHEDULES, Machine, Refusal, Writes};

impl Machine {
    pub(super) fn apply(&mut self, applied: Applied, now: Timestamp) -> Result<(Done, Writes), Refusal> {
        let spec = &applied.spec;
        registry::check_name("schedule", &spec.name)?;
        // Who asks may be another program than the one that checks the file.
        config::validate(spec, "the schedule")
            .map_err(|error| Refusal::invalid("schedule", error.to_string()))?;
        if let Some(hook) = &spec.promotion.hook
            && !self.hooks.contains(hook)
        {
            let known: Vec<&str> = self.hooks.iter().map(String::as_str).collect();
            let problem = if known.is_empty() {
                format!(
                    "the coordinator has no hook `{hook}`, nor any other; it is started with --hooks HOOKS.toml"
                )
            } else {
                format!("the coordinator has no hook `{hook}`; it has {}", known.join(", "))
            };
            return Err(Refusal::invalid("promotion.hook", problem));
        }
        let schedule = Schedule::new(spec.clone()).map_err(|error| {
            let field = if matches!(error, super::super::Error::Zone { .. }) { "time_zone" } else { "cron" };
            Refusal::invalid(field, error.to_string())
        })?;
        self.check_workspace(&applied)?;
        let along = self.check_way(&applied)?;
        let fresh = match self.models.contains_key(&spec.model) {
            true => None,
            false => Some(Registry::new(&spec.model)?),
        };
        let name = spec.name.clone();
        let (message, state) = match self.schedules.remove(&name) {
            Some(mut known) => {
                let old = &known.applied.spec;
                if (&old.cron, &old.time_zone) != (&applied.spec.cron, &applied.spec.time_zone) {
                    // Times at which only the new pattern fires were not missed.
                    known.state.runs.considered = known.state.runs.considered.max(now);
                }
                (format!("schedule {name} changed"), known.state)
            }
            None if self.schedules.len() >= MOST_SCHEDULES => {
                let problem = format!("there are {MOST_SCHEDULES} schedules already; remove some first");
                return Err(Refusal::state(problem));
            }
            None => (format!("schedule {name} made"), State::new(now)),
        };
        let message = match along.is_empty() {
            true => message,
            false => format!("{message}, and with it the hook of {}", along.join(", ")),
        };
        let of_others = self.set_hook(&along, applied.spec.promotion.hook.as_ref());
        let scheduled = Scheduled { applied, schedule, state };
        let message = match scheduled.next_due().filter(|_| !scheduled.state.runs.paused) {
            Some(next) => format!("{message}, it fires at {next}"),
            None => message,
        };
        let mut writes = vec![scheduled.put_applied(), scheduled.put_state()];
        writes.extend(of_others);
        if let Some(registry) = fresh {
            writes.push(registry.put());
            self.models.insert(registry.name().to_owned(), registry);
        }
        self.schedules.insert(name, scheduled);
        Ok((Done { message, ..Done::default() }, writes))
    }

    /// What puts a model into service has to be one thing, or nobody knows what is. One that is new has to say what the others say;
    /// one that is changed takes those along that said the same as it, which are told.
    fn check_way(&self, applied: &Applied) -> Result<Vec<String>, Refusal> {
        let spec = &applied.spec;
        let before = self.schedules.get(&spec.name).filter(|known| known.applied.spec.model == spec.model);
        let others = self.schedules.values().map(|other| &other.applied.spec);
        let others = others.filter(|other| other.model == spec.model && other.name != spec.name);
        let others: Vec<&ScheduleSpec> =
            others.filter(|other| other.promotion.hook != spec.promotion.hook).collect();
        let is_known = |other: &&ScheduleSpec| {
            before.is_some_and(|before| before.applied.spec.promotion.hook == other.promotion.hook)
        };
        let Some(other) = others.iter().find(|other| !is_known(other)) else {
            return Ok(others.into_iter().map(|other| other.name.clone()).collect());
        };
        let hook =
            |hook: &Option<String>| hook.as_ref().map_or("no hook".to_owned(), |name| format!("`{name}`"));
        let problem = format!(
            "is {}, and schedule {} puts the same model into service by {}: say the same here, and change it later, \
             which changes it for all schedules of the model",
            hook(&spec.promotion.hook),
            other.name,
            hook(&other.promotion.hook)
        );
        Err(Refusal::invalid("promotion.hook", problem))
    }

    /// Has schedules put their model into service by another hook from now on.
    fn set_hook(&mut self, names: &[String], hook: Option<&String>) -> Writes {
        let mut writes = Vec::new();
        for name in names {
            if let Some(known) = self.schedules.get_mut(name) {
                known.applied.spec.promotion.hook = hook.cloned();
                writes.push(known.put_applied());
            }
        }
        writes
    }

    /// Two schedules in one folder would take each other's data for their own.
    fn check_workspace(&self, applied: &Applied) -> Result<(), Refusal> {
        let workspace = &applied.spec.workspace;
        if !workspace.starts_with('/') {
            let problem =
                format!("`{workspace}` is no absolute path, workers and coordinator could not agree on it");
            return Err(Refusal::invalid("workspace", problem));
        }
        let other = self.schedules.values().find(|other| {
            other.applied.spec.workspace == *workspace && other.applied.spec.name != applied.spec.name
        });
        match other {
            Some(other) => {
                let problem = format!("`{workspace}` is the one of schedule {}", other.applied.spec.name);
                Err(Refusal::invalid("workspace", problem))
            }
            None => Ok(()),
        }
    }

    pub(super) fn remove_schedule(&mut self, name: &str, now: Timestamp) -> Result<(Done, Writes), Refusal> {
        if self.schedules.remove(name).is_none() {
            return Err(Refusal::no_schedule(name));
        }
        let mut writes = Scheduled::delete(name).to_vec();
        for run in self.unended_of(name) {
            writes.extend(self.stop(&run, Outcome::Cancelled, "its schedule was removed", now));
        }
        writes.extend(self.forget_old_runs(name));
        Ok((Done { message: format!("schedule {name} removed"), ..Done::default() }, writes))
    }

    pub(super) fn set_paused(
        &mut self,
        name: &str,
        paused: bool,
        now: Timestamp,
    ) -> Result<(Done, Writes), Refusal> {
        let scheduled = self.schedules.get_mut(name).ok_or_else(|| Refusal::no_schedule(name))?;
        let runs = &mut scheduled.state.runs;
        let (was, word) = (runs.paused, if paused { "paused" } else { "resumed" });
        runs.paused = paused;
        if !paused {
            runs.failures = 0;
        }
        let mut writes = vec![scheduled.put_state()];
        writes.extend(self.fire(now));
        let message = if was == paused {
            format!("schedule {name} was not changed")
        } else {
            format!("schedule {name} {word}")
        };
        Ok((Done { message, ..Done::default() }, writes))
    }

    /// Runs of a schedule that are not over.
    pub(super) fn unended_of(&self, schedule: &str) -> Vec<String> {
        let unended = self.runs_of(schedule).filter(|run| run.outcome().is_none());
        unended.map(|run| run.id.to_string()).collect()
    }
}
