//! What the store keeps of it, under which keys, and how it is read back.
//!
//! What never changes of a run has a key of its own, since it is long; so has what was applied as a schedule.

use std::collections::BTreeMap;

use super::super::command::Applied;
use super::super::decide::Schedule;
use super::super::registry;
use super::super::run::{Plan, Run, State};
use super::super::runs::RunId;
use super::schedule::{self, Scheduled};
use super::{Machine, PREFIX};
use crate::Write;
use crate::stored::{RestoreError, parse, put};

fn schedule_key(name: &str, part: &str) -> String {
    format!("{PREFIX}schedules/{name}/{part}")
}

fn run_key(id: &str, part: &str) -> String {
    format!("{PREFIX}runs/{id}/{part}")
}

pub(super) fn numbered(kind: &str, number: u64) -> String {
    format!("{PREFIX}{kind}/{number:020}")
}

pub(super) fn reported_key(model: &str) -> String {
    format!("{PREFIX}reported/{model}")
}

impl Scheduled {
    pub(super) fn put_applied(&self) -> Write {
        put(schedule_key(&self.applied.spec.name, "applied"), &self.applied)
    }

    pub(super) fn put_state(&self) -> Write {
        put(schedule_key(&self.applied.spec.name, "state"), &self.state)
    }

    pub(super) fn delete(name: &str) -> [Write; 2] {
        ["applied", "state"].map(|part| Write::Delete { key: schedule_key(name, part) })
    }
}

impl Run {
    pub(super) fn put_plan(&self) -> Write {
        put(run_key(&self.id.to_string(), "plan"), &self.plan)
    }

    pub(super) fn put_state(&self) -> Write {
        put(run_key(&self.id.to_string(), "state"), &self.state)
    }

    pub(super) fn delete(id: &str) -> [Write; 2] {
        ["plan", "state"].map(|part| Write::Delete { key: run_key(id, part) })
    }
}

impl Machine {
    /// Takes over what the store has below [`PREFIX`] and below [`registry::PREFIX`].
    ///
    /// # Errors
    /// A key or a value that is none of these, or half of a record.
    pub fn restore(
        own: impl IntoIterator<Item = (String, Vec<u8>)>,
        models: impl IntoIterator<Item = (String, Vec<u8>)>,
    ) -> Result<Self, RestoreError> {
        let mut machine = Self { models: registry::Registry::restore(models)?, ..Self::default() };
        let mut applied: BTreeMap<String, Applied> = BTreeMap::new();
        let mut schedules: BTreeMap<String, schedule::State> = BTreeMap::new();
        let mut plans: BTreeMap<String, Plan> = BTreeMap::new();
        let mut states: BTreeMap<String, State> = BTreeMap::new();
        for (key, value) in own {
            let unknown = || RestoreError::UnknownKey { key: key.clone() };
            let parts: Vec<&str> = key.strip_prefix(PREFIX).ok_or_else(unknown)?.split('/').collect();
            match parts[..] {
                ["schedules", name, "applied"] => {
                    applied.insert(name.to_owned(), parse(&key, &value)?);
                }
                ["schedules", name, "state"] => {
                    schedules.insert(name.to_owned(), parse(&key, &value)?);
                }
                ["runs", id, "plan"] => {
                    plans.insert(id.to_owned(), parse(&key, &value)?);
                }
                ["runs", id, "state"] => {
                    states.insert(id.to_owned(), parse(&key, &value)?);
                }
                ["reported", model] => {
                    machine.reported.insert(model.to_owned(), parse(&key, &value)?);
                }
                ["owed", number] => {
                    machine.owed.insert(number.parse().map_err(|_| unknown())?, parse(&key, &value)?);
                }
                ["garbage", number] => {
                    machine.garbage.insert(number.parse().map_err(|_| unknown())?, parse(&key, &value)?);
                }
                ["last"] => machine.last = parse(&key, &value)?,
                _ => return Err(unknown()),
            }
        }
        for (name, applied) in applied {
            let key = schedule_key(&name, "state");
            let state = schedules.remove(&name).ok_or(RestoreError::UnknownKey { key: key.clone() })?;
            let schedule = Schedule::new(applied.spec.clone())
                .map_err(|source| RestoreError::Schedule { key, source })?;
            machine.schedules.insert(name, Scheduled { applied, schedule, state });
        }
        for (id, plan) in plans {
            let key = run_key(&id, "state");
            let state = states.remove(&id).ok_or(RestoreError::UnknownKey { key })?;
            let run_id = RunId::new(&plan.schedule, plan.logical, plan.attempt);
            machine.runs.insert(id, Run { id: run_id, plan, state });
        }
        let halves = schedules.into_keys().map(|name| schedule_key(&name, "state"));
        match halves.chain(states.into_keys().map(|id| run_key(&id, "state"))).next() {
            Some(key) => Err(RestoreError::UnknownKey { key }),
            None => Ok(machine),
        }
    }
}
