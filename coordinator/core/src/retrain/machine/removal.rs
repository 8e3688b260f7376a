//! What is kept of runs and versions, and what goes.

use jiff::Timestamp;

use super::super::registry::{Actor, VersionNumber};
use super::super::run::Run;
use super::super::view::Done;
use super::{KEPT_RUNS, Machine, Refusal, Writes};

impl Machine {
    pub(super) fn remove_version(
        &mut self,
        model: &str,
        version: u64,
        actor: Actor<'_>,
    ) -> Result<(Done, Writes), Refusal> {
        let version = VersionNumber(version);
        let writes = self.remove(model, version, actor)?;
        Ok((Done { message: format!("{version} of {model} removed"), ..Done::default() }, writes))
    }

    fn remove(&mut self, model: &str, version: VersionNumber, actor: Actor<'_>) -> Result<Writes, Refusal> {
        let registry = self.models.get_mut(model).ok_or_else(|| Refusal::no_model(model))?;
        let made = &registry.version(version)?.model;
        let (folder, run) = (made.folder.clone(), made.lineage.run.clone());
        let mut writes = registry.remove(version, actor)?;
        if let Some(folder) = folder {
            writes.extend(self.discard(folder));
        }
        let run = run.and_then(|run| self.runs.get(&run));
        if let Some(schedule) = run.map(|run| run.plan.schedule.clone()) {
            writes.extend(self.forget_old_runs(&schedule));
        }
        Ok(writes)
    }

    /// Removes the versions of a model that the policy of a schedule lets go.
    pub(super) fn retain(&mut self, model: &str, schedule: &str, now: Timestamp) -> Writes {
        let policy = self.schedules.get(schedule).and_then(|known| known.applied.spec.retention.clone());
        let (Some(policy), Some(registry)) = (policy, self.models.get(model)) else { return Vec::new() };
        let by = format!("schedule {schedule}");
        let mut writes = Vec::new();
        for version in registry.plan_retention(&policy, now) {
            // Nothing needs it, by the plan.
            writes.extend(self.remove(model, version, Actor { by: &by, at: now }).unwrap_or_default());
        }
        writes
    }

    /// The folder of a run that made no version may go.
    pub(super) fn drop_folder(&mut self, id: &str) -> Writes {
        let Some(run) = self.runs.get(id).filter(|run| run.state.window.is_some()) else { return Vec::new() };
        let folder = run.folder();
        let is_kept = self.models.get(run.model()).is_some_and(|model| {
            model.versions().any(|version| version.model.folder.as_ref() == Some(&folder))
        });
        if is_kept { Vec::new() } else { self.discard(folder) }
    }

    /// Forgets the oldest ended runs of a schedule; where it is gone, those of all schedules that are gone.
    pub(super) fn forget_old_runs(&mut self, schedule: &str) -> Writes {
        let is_gone = !self.schedules.contains_key(schedule);
        // A run whose version is kept has to be known, or another one would be given its id and its folder.
        let has_version = |run: &&Run| {
            let model = self.models.get(run.model());
            run.state.version.is_some_and(|version| model.is_some_and(|model| model.version(version).is_ok()))
        };
        let counts = |run: &&Run| match is_gone {
            true => !self.schedules.contains_key(&run.plan.schedule),
            false => run.plan.schedule == schedule,
        };
        let ended = self.runs.values().filter(counts).filter(|run| run.outcome().is_some());
        let ended = ended.filter(|run| !has_version(run));
        let mut ended: Vec<(Timestamp, String)> =
            ended.map(|run| (run.plan.begun, run.id.to_string())).collect();
        let over = ended.len().saturating_sub(KEPT_RUNS);
        ended.sort();
        let mut writes = Vec::new();
        for (_, id) in ended.into_iter().take(over) {
            self.runs.remove(&id);
            writes.extend(Run::delete(&id));
        }
        writes
    }
}
