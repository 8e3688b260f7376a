//! Schedules in Prometheus' text format.

use std::fmt::{self, Write as _};

use muster_core::retrain::view::{FleetView, ScheduleHealth};

use super::head;

/// A figure of each schedule that has it: its name, its help, and how it is found.
type Gauge = (&'static str, &'static str, fn(&ScheduleHealth) -> Option<f64>);

const GAUGES: [Gauge; 8] = [
    ("muster_schedule_paused", "1 while a schedule is paused.", |health| {
        Some(f64::from(u8::from(health.paused)))
    }),
    ("muster_schedule_next_fire_timestamp_seconds", "When a schedule fires next.", |health| {
        Some(health.next?.as_millisecond() as f64 / 1e3)
    }),
    (
        "muster_champion_data_age_seconds",
        "Time since the end of the data that the champion was trained on.",
        |health| health.freshness,
    ),
    ("muster_champion_data_age_objective_seconds", "How old the end of that data may be.", |health| {
        health.objective
    }),
    (
        "muster_schedule_gate_pass_ratio",
        "Candidates that passed the gates over all that were judged.",
        |health| health.pass_rate,
    ),
    ("muster_schedule_promotion_seconds", "Mean time from a run's begin to its promotion.", |health| {
        health.to_promotion
    }),
    ("muster_schedule_run_processor_seconds", "Mean processor time of an ended run.", |health| {
        health.cpu_seconds
    }),
    ("muster_schedule_run_worker_seconds", "Mean worker time of an ended run.", |health| {
        health.worker_seconds
    }),
];

/// Writes what is known of all schedules. Their names and those of models are letters, digits and a few signs that need no escape.
pub(super) fn write(page: &mut String, fleet: &FleetView) -> fmt::Result {
    for (name, help, figure) in GAUGES {
        head(page, name, "gauge", help)?;
        for health in &fleet.schedules {
            if let Some(value) = figure(health) {
                writeln!(page, "{name}{{{}}} {value}", labels(health))?;
            }
        }
    }
    head(page, "muster_schedule_runs_total", "counter", "Runs of a schedule that ended, by how.")?;
    for health in &fleet.schedules {
        for (outcome, count) in &health.outcomes {
            writeln!(page, "muster_schedule_runs_total{{{},outcome=\"{outcome}\"}} {count}", labels(health))?;
        }
    }
    head(page, "muster_schedule_fires_missed_total", "counter", "Fires of a schedule that did not run.")?;
    for health in &fleet.schedules {
        writeln!(page, "muster_schedule_fires_missed_total{{{}}} {}", labels(health), health.missed)?;
    }
    head(page, "muster_runs_active", "gauge", "Runs that are at work.")?;
    writeln!(page, "muster_runs_active {}", fleet.active_runs)?;
    head(
        page,
        "muster_hook_calls_owed",
        "gauge",
        "Calls of hooks, for what people did, that are still to be made.",
    )?;
    writeln!(page, "muster_hook_calls_owed {}", fleet.owed_calls.len())?;
    head(
        page,
        "muster_folders_unremoved",
        "gauge",
        "Folders of runs that cannot be removed, at most 20 are counted.",
    )?;
    writeln!(page, "muster_folders_unremoved {}", fleet.unremoved.len())
}

fn labels(health: &ScheduleHealth) -> String {
    format!("schedule=\"{}\",model=\"{}\"", health.name, health.model)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use muster_core::retrain::RunOutcome;

    use super::*;

    #[test]
    fn what_is_known_of_a_schedule_is_a_line_and_what_is_not_is_none() {
        let health = ScheduleHealth {
            name: "nightly".into(),
            model: "shop".into(),
            paused: false,
            next: Some("2026-11-29T02:30:00Z".parse().unwrap()),
            freshness: Some(5400.0),
            objective: None,
            outcomes: BTreeMap::from([(RunOutcome::Promoted, 12), (RunOutcome::RolledBack, 1)]),
            pass_rate: Some(0.75),
            to_promotion: None,
            cpu_seconds: Some(80.5),
            worker_seconds: None,
            missed: 2,
            latest_missed: Vec::new(),
        };
        let fleet = FleetView {
            schedules: vec![health],
            active_runs: 3,
            owed_calls: vec!["one".into()],
            unremoved: vec!["/shared/shop/runs/one: denied".into()],
        };
        let mut page = String::new();
        write(&mut page, &fleet).unwrap();
        for line in [
            "muster_schedule_next_fire_timestamp_seconds{schedule=\"nightly\",model=\"shop\"} 1795919400",
            "muster_champion_data_age_seconds{schedule=\"nightly\",model=\"shop\"} 5400",
            "muster_schedule_runs_total{schedule=\"nightly\",model=\"shop\",outcome=\"rolled back\"} 1",
            "muster_schedule_fires_missed_total{schedule=\"nightly\",model=\"shop\"} 2",
            "muster_runs_active 3",
            "muster_hook_calls_owed 1",
            "muster_folders_unremoved 1",
        ] {
            assert!(page.lines().any(|there| there == line), "{line} is not in\n{page}");
        }
        assert!(!page.contains("muster_schedule_promotion_seconds{"), "{page}");
    }
}
