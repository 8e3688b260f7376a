//! What changes of a job's workers cost, for people.

use std::time::Duration;

use muster_proto::control::{Cause, Incident, RestoredFrom, Spent, Straggler};

use crate::table::Table;

/// An incident in a line.
pub fn line(incident: &Incident) -> String {
    let from = source(incident);
    let redone = match incident.steps_redone {
        0 => "no step redone".to_owned(),
        1 => "1 step redone".to_owned(),
        steps => format!("{steps} steps redone"),
    };
    let (down, before, after) = (incident.downtime().as_secs_f64(), incident.before, incident.after);
    format!("went on from {from} after {down:.2} s, {before} -> {after} workers, {redone}")
}

/// All of a job's incidents, stage by stage.
pub fn table(incidents: &[Incident]) -> String {
    let columns = [
        "generation",
        "workers",
        "detect",
        "abort",
        "decide",
        "rendezvous",
        "reload",
        "recompute",
        "total",
        "redone",
        "from",
        "why",
    ];
    let mut table = Table::new(columns);
    for incident in incidents {
        table.row([
            incident.generation.0.to_string(),
            format!("{} -> {}", incident.before, incident.after),
            seconds(incident.detect),
            seconds(incident.abort),
            seconds(incident.decide),
            seconds(incident.rendezvous),
            seconds(incident.reload),
            seconds(incident.recompute),
            seconds(incident.downtime()),
            incident.steps_redone.to_string(),
            source(incident).to_owned(),
            incident.reason.clone(),
        ]);
    }
    table.render()
}

/// What a job's time was spent on, in a line; none before it began.
pub fn spent(spent: &Spent) -> Option<String> {
    let goodput = spent.goodput()? * 100.0;
    let others = Cause::ALL.into_iter().filter(|cause| !matches!(cause, Cause::Queue | Cause::Training));
    let others = others.filter(|cause| spent.on(*cause) >= Duration::from_millis(1));
    let others: Vec<String> = others.map(|cause| format!("{cause} {}", seconds(spent.on(cause)))).collect();
    let training = seconds(spent.on(Cause::Training));
    Some(format!("goodput {goodput:.1} %: training {training}, {}", others.join(", ")))
}

/// A rank for which the others wait, in a line.
pub fn straggler(slow: &Straggler) -> String {
    let (own, median) = (slow.own_seconds * 1e3, slow.median_seconds * 1e3);
    format!(
        "rank {} ({}): {own:.1} ms of a step are its own, {median:.1} ms the median rank's",
        slow.rank, slow.worker
    )
}

fn seconds(time: Duration) -> String {
    format!("{:.3}s", time.as_secs_f64())
}

fn source(incident: &Incident) -> &'static str {
    match incident.restored_from {
        RestoredFrom::Start => "the start",
        RestoredFrom::Memory => "memory",
        RestoredFrom::Checkpoint(_) => "a checkpoint",
    }
}
