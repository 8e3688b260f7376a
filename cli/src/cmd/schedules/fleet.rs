//! How all schedules go.

use muster_core::retrain::view::{FleetView, ScheduleHealth};
use serde_json::{Value, json};

use super::show::missed;
use crate::capacity::question::spoken;
use crate::output::Report;
use crate::table::Table;
use crate::when::shown_if;

/// All schedules, each with how it goes.
#[derive(Debug)]
pub(super) struct Fleet(pub(super) FleetView);

impl Report for Fleet {
    fn text(&self) -> String {
        let fleet = &self.0;
        if fleet.schedules.is_empty() {
            return "no schedules; `muster schedules apply SCHEDULE.toml` makes one".to_owned();
        }
        let columns = [
            "schedule",
            "model",
            "next",
            "data is old by",
            "runs",
            "pass gates",
            "to promotion",
            "processors a run",
            "workers a run",
            "missed",
        ];
        let mut table = Table::new(columns);
        for health in &fleet.schedules {
            let time = |seconds: Option<f64>| seconds.map_or_else(String::new, spoken);
            table.row([
                health.name.clone(),
                health.model.clone(),
                if health.paused { "paused".to_owned() } else { shown_if(health.next) },
                freshness(health),
                outcomes(health),
                health.pass_rate.map_or_else(String::new, |rate| format!("{:.0} %", rate * 100.0)),
                time(health.to_promotion),
                time(health.cpu_seconds),
                time(health.worker_seconds),
                health.missed.to_string(),
            ]);
        }
        let mut parts = vec![table.render(), format!("  runs at work: {}", fleet.active_runs)];
        for health in fleet.schedules.iter().filter(|health| !health.latest_missed.is_empty()) {
            parts.push(format!("fires of {} that did not run, the latest first", health.name));
            parts.push(missed(&health.latest_missed));
        }
        if !fleet.owed_calls.is_empty() {
            parts.push("calls of hooks that were not carried out".to_owned());
            parts.extend(fleet.owed_calls.iter().map(|call| format!("  {call}")));
        }
        if !fleet.unremoved.is_empty() {
            parts.push("folders of runs that nothing needs and that cannot be removed".to_owned());
            parts.extend(fleet.unremoved.iter().map(|folder| format!("  {folder}")));
        }
        parts.join("\n")
    }

    fn json(&self) -> Value {
        json!(self.0)
    }
}

/// How old the end of the champion's window is, against how old it may be.
fn freshness(health: &ScheduleHealth) -> String {
    let Some(age) = health.freshness else { return "no champion".to_owned() };
    match health.objective {
        None => spoken(age),
        Some(objective) if age > objective => format!("{}, over {}", spoken(age), spoken(objective)),
        Some(objective) => format!("{} of {}", spoken(age), spoken(objective)),
    }
}

fn outcomes(health: &ScheduleHealth) -> String {
    let counts = health.outcomes.iter().filter(|(_, count)| **count > 0);
    counts.map(|(outcome, count)| format!("{count} {outcome}")).collect::<Vec<_>>().join(", ")
}
