//! Schedules, all at a glance and one by one.

use muster_core::retrain::view::{Missed, ScheduleView};
use serde_json::{Value, json};

use crate::output::Report;
use crate::table::Table;
use crate::when::{shown, shown_if};

/// All schedules.
#[derive(Debug)]
pub(super) struct Schedules(pub(super) Vec<ScheduleView>);

impl Report for Schedules {
    fn text(&self) -> String {
        if self.0.is_empty() {
            return "no schedules; `muster schedules apply SCHEDULE.toml` makes one".to_owned();
        }
        let mut table = Table::new(["schedule", "model", "fires", "zone", "next", "state", "last run"]);
        for schedule in &self.0 {
            table.row([
                schedule.name.clone(),
                schedule.model.clone(),
                schedule.cron.clone(),
                schedule.time_zone.clone(),
                shown_if(schedule.next),
                state(schedule),
                schedule.last.clone().unwrap_or_default(),
            ]);
        }
        table.render()
    }

    fn json(&self) -> Value {
        json!({"schedules": self.0})
    }
}

/// One schedule.
#[derive(Debug)]
pub(super) struct Schedule(pub(super) ScheduleView);

impl Report for Schedule {
    fn text(&self) -> String {
        let schedule = &self.0;
        let mut lines = vec![
            format!("schedule {}", schedule.name),
            format!("  model     {}", schedule.model),
            format!("  fires     {} in {}", schedule.cron, schedule.time_zone),
            format!("  next      {}", schedule.next.map_or_else(|| "never".to_owned(), shown)),
            format!("  state     {}", state(schedule)),
        ];
        let lists = [
            ("at work", schedule.active.clone()),
            ("retries", schedule.retrying.iter().copied().map(shown).collect()),
            ("waiting", schedule.queued.iter().copied().map(shown).collect()),
            ("backfill", schedule.backfill.iter().copied().map(shown).collect()),
        ];
        for (name, list) in lists.into_iter().filter(|(_, list)| !list.is_empty()) {
            lines.push(format!("  {name:9} {}", first_of(&list)));
        }
        lines.extend(schedule.last.as_ref().map(|run| format!("  last run  {run}")));
        if let Some(applied) = &schedule.applied {
            let spec = &applied.spec;
            lines.push(format!("  dataset   {}", spec.dataset));
            lines.push(format!("  job       {}", spec.job));
            lines.push(format!("  workspace {}", spec.workspace));
            let hook = spec.promotion.hook.as_deref().unwrap_or("none");
            let gates = if spec.gates.is_some() { "asked" } else { "only that its parameters are numbers" };
            lines.push(format!("  gates     {gates}"));
            lines.push(format!("  hook      {hook}"));
        }
        if !schedule.missed.is_empty() {
            lines.push("fires that did not run, the latest first".to_owned());
            lines.push(missed(&schedule.missed));
        }
        lines.join("\n")
    }

    fn json(&self) -> Value {
        json!(self.0)
    }
}

/// What a schedule does now, in words.
fn state(schedule: &ScheduleView) -> String {
    let mut words = Vec::new();
    if schedule.paused {
        words.push("paused".to_owned());
    }
    let counts = [
        (schedule.active.len(), "at work"),
        (schedule.retrying.len(), "to be tried again"),
        (schedule.queued.len(), "waiting"),
        (schedule.backfill.len(), "to be filled in"),
    ];
    words
        .extend(counts.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}")));
    if schedule.failures > 0 {
        words.push(format!("{} failed in a row", schedule.failures));
    }
    if words.is_empty() { "idle".to_owned() } else { words.join(", ") }
}

/// The first few of a list that may be long.
fn first_of(list: &[String]) -> String {
    const FEW: usize = 5;
    let few = list.iter().take(FEW).cloned().collect::<Vec<_>>().join(", ");
    if list.len() > FEW { format!("{few} and {} more", list.len() - FEW) } else { few }
}

/// Fires that did not run, with reasons.
pub(super) fn missed(missed: &[Missed]) -> String {
    let mut table = Table::new(["for", "decided", "why"]);
    for fire in missed {
        table.row([shown(fire.logical), shown(fire.at), fire.why.clone()]);
    }
    table.render()
}
