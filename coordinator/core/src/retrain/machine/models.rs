//! What people do with models.

use jiff::Timestamp;

use super::super::command::Command;
use super::super::registry::{Actor, CHAMPION, Registry, VersionNumber};
use super::super::run::Stage;
use super::super::view::Done;
use super::wanted::HookStage;
use super::{Machine, Refusal, Writes};

impl Machine {
    pub(super) fn change_model(
        &mut self,
        command: Command,
        by: &str,
        now: Timestamp,
    ) -> Result<(Done, Writes), Refusal> {
        let actor = Actor { by, at: now };
        let (message, writes) = match command {
            Command::Promote { model, version, expected } => {
                return self.promote(&model, VersionNumber(version), expected, actor);
            }
            Command::RollBack { model, expected } => return self.roll_back(&model, expected, actor),
            Command::RemoveVersion { model, version } => return self.remove_version(&model, version, actor),
            Command::Metric { model, version, metric, value, samples } => {
                return self.report((&model, version), (&metric, value, samples), now);
            }
            Command::Alias { model, alias, version, expected } => {
                let registry = self.registry(&model)?;
                let expected = expected.map(VersionNumber).or(registry.alias(&alias));
                match version.map(VersionNumber) {
                    Some(version) => {
                        let writes = registry.move_alias(&alias, version, expected, actor)?;
                        (format!("{alias} of {model} is {version}"), writes)
                    }
                    None => {
                        let at = expected.unwrap_or_default();
                        (
                            format!("{model} has no alias {alias} any more"),
                            registry.remove_alias(&alias, at, actor)?,
                        )
                    }
                }
            }
            Command::Note { model, version, text } => {
                let version = VersionNumber(version);
                (
                    format!("noted at {version} of {model}"),
                    self.registry(&model)?.remark(version, &text, actor)?,
                )
            }
            Command::Label { model, version, name, value } => {
                let version = VersionNumber(version);
                let writes = self.registry(&model)?.label(version, (&name, value.as_deref()), actor)?;
                (format!("label {name} of {version} of {model} set"), writes)
            }
            other => return Err(Refusal::state(format!("{other:?} is not about a model"))),
        };
        Ok((Done { message, ..Done::default() }, writes))
    }

    fn registry(&mut self, model: &str) -> Result<&mut Registry, Refusal> {
        self.models.get_mut(model).ok_or_else(|| Refusal::no_model(model))
    }

    fn promote(
        &mut self,
        model: &str,
        version: VersionNumber,
        expected: Option<u64>,
        actor: Actor<'_>,
    ) -> Result<(Done, Writes), Refusal> {
        self.check_settled(model)?;
        let registry = self.registry(model)?;
        let champion = registry.alias(CHAMPION);
        let mut writes = registry.promote(version, expected.map(VersionNumber).or(champion), actor)?;
        if champion == Some(version) {
            let message = format!("{version} is the champion of {model} already");
            return Ok((Done { message, ..Done::default() }, writes));
        }
        writes.extend(self.supersede(model, "", &version.to_string(), actor.at));
        writes.extend(self.owe(model, version, HookStage::Promote, actor.at));
        Ok((Done { message: format!("{version} is the champion of {model}"), ..Done::default() }, writes))
    }

    fn roll_back(
        &mut self,
        model: &str,
        expected: Option<u64>,
        actor: Actor<'_>,
    ) -> Result<(Done, Writes), Refusal> {
        self.check_settled(model)?;
        let registry = self.registry(model)?;
        let nothing = || Refusal::state(format!("model {model} has no champion"));
        let champion = registry.alias(CHAMPION).ok_or_else(nothing)?;
        let mut writes = registry.roll_back(expected.map_or(champion, VersionNumber), actor)?;
        let version = registry.alias(CHAMPION).unwrap_or(champion);
        writes.extend(self.supersede(model, "", &version.to_string(), actor.at));
        writes.extend(self.owe(model, version, HookStage::RollBack, actor.at));
        let message = format!("{version} is the champion of {model} again, {champion} is not");
        Ok((Done { message, ..Done::default() }, writes))
    }

    /// While a run's hook puts a model into service, nobody else does.
    fn check_settled(&self, model: &str) -> Result<(), Refusal> {
        let moving = self.unended().find(|run| {
            run.model() == model && matches!(run.state.stage, Stage::Promoting(_) | Stage::RollingBack(_))
        });
        match moving {
            Some(run) => {
                let problem = format!("run {} is {} just now, ask again", run.id, run.state.stage.name());
                Err(Refusal::state(problem))
            }
            None => Ok(()),
        }
    }
}
