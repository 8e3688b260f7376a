//! Runs at a glance.

use jiff::Timestamp;
use muster_core::retrain::Stage;
use muster_core::retrain::view::RunView;
use serde_json::{Value, json};

use crate::capacity::question::spoken;
use crate::output::Report;
use crate::table::Table;
use crate::when::shown;

/// Runs, newest first.
#[derive(Debug)]
pub(super) struct Runs {
    pub(super) runs: Vec<RunView>,
    /// Whether there are others before these.
    pub(super) more: bool,
}

impl Report for Runs {
    fn text(&self) -> String {
        if self.runs.is_empty() {
            return "no runs".to_owned();
        }
        let mut table =
            Table::new(["run", "schedule", "for", "kind", "try", "stage", "version", "took", "why"]);
        for run in &self.runs {
            table.row([
                run.run.clone(),
                run.schedule.clone(),
                shown(run.logical),
                run.kind.to_string(),
                run.attempt.to_string(),
                stage(run),
                run.version.map_or_else(String::new, |version| version.to_string()),
                took(run).map_or_else(String::new, spoken),
                run.why.clone(),
            ]);
        }
        let table = table.render();
        if self.more { format!("{table}\n  and older ones, --limit N shows more") } else { table }
    }

    fn json(&self) -> Value {
        json!({"runs": self.runs, "more": self.more})
    }
}

/// Where a run is, or how it ended.
pub(super) fn stage(run: &RunView) -> String {
    let until = |until: &Timestamp| format!("{} until {}", run.stage.name(), shown(*until));
    match (&run.stage, run.outcome) {
        (_, Some(outcome)) => outcome.to_string(),
        (
            Stage::Waiting { until: at } | Stage::Approving { until: at } | Stage::Watching { until: at },
            _,
        ) => until(at),
        (Stage::Promoting(call) | Stage::RollingBack(call), _) if call.attempt > 1 => {
            format!("{}, call {}", run.stage.name(), call.attempt)
        }
        (stage, _) => stage.name().to_owned(),
    }
}

/// Seconds from a run's begin to its end, of one that has ended.
fn took(run: &RunView) -> Option<f64> {
    run.outcome?;
    let (first, last) = (run.transitions.first()?, run.transitions.last()?);
    Some(last.at.duration_since(first.at).as_secs_f64())
}
