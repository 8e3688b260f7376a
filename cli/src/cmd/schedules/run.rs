//! A run: stage by stage, what it was made of, and what the gates said.

use muster_core::retrain::gates::Judgement;
use muster_core::retrain::view::RunView;
use serde_json::{Value, json};

use super::runs::stage;
use crate::capacity::question::spoken;
use crate::metrics;
use crate::output::Report;
use crate::table::{Table, grouped};
use crate::when::{shown, shown_if};

/// A run.
#[derive(Debug)]
pub(super) struct Run(pub(super) RunView);

impl Report for Run {
    fn text(&self) -> String {
        let run = &self.0;
        let mut lines = vec![
            format!("run {} of schedule {}", run.run, run.schedule),
            format!("  model    {}", run.model),
            format!("  for      {}, {}, try {}", shown(run.logical), run.kind, run.attempt),
            format!("  stage    {}: {}", stage(run), run.why).trim_end_matches([':', ' ']).to_owned(),
        ];
        lines.extend(made_of(run).into_iter().map(|(name, text)| format!("  {name:8} {text}")));
        lines.push(stages(run));
        lines.extend(metrics_of(run));
        lines.extend(run.judgement.as_ref().map(gates));
        lines.join("\n")
    }

    fn json(&self) -> Value {
        json!(self.0)
    }
}

/// What the run was made of and came to, as far as it got.
fn made_of(run: &RunView) -> Vec<(&'static str, String)> {
    let mut made = Vec::new();
    if let Some((from, until)) = run.window {
        let from = if from.is_some() { shown_if(from) } else { "the first event".to_owned() };
        made.push(("window", format!("from {from}, before {}", shown(until))));
    }
    if let Some(read) = &run.read {
        let files = format!("{} files, {} of them new", grouped(read.files), grouped(read.new_files));
        let rows = format!("{} new rows, {} rejected", grouped(read.rows_read), grouped(read.rows_rejected));
        made.push(("files", format!("{files}, {rows}, digest {}", read.files_digest)));
    }
    if let Some(dataset) = &run.dataset {
        let [rows, users, items] = [dataset.rows, dataset.users, dataset.items].map(grouped);
        made.push(("dataset", format!("{rows} rows of {users} users, {items} items, {}", dataset.folder)));
    }
    let version = |version: u64| format!("version {version}");
    made.extend(run.parent.map(|parent| ("parent", version(parent))));
    made.extend(run.champion.map(|champion| ("champion", version(champion))));
    made.extend(run.job.map(|job| ("job", job.to_string())));
    made.extend(run.version.map(|number| ("result", version(number))));
    let cost = &run.cost;
    if cost.worker_seconds > 0.0 || cost.cpu_seconds > 0.0 {
        let (workers, processors) = (spoken(cost.worker_seconds), spoken(cost.cpu_seconds));
        made.push(("cost", format!("{workers} of workers, {processors} of processors")));
    }
    made
}

/// Each stage with when it began, how long it took, and why the run came into it.
fn stages(run: &RunView) -> String {
    let mut table = Table::new(["stage", "at", "took", "why"]);
    for (place, transition) in run.transitions.iter().enumerate() {
        let next = run.transitions.get(place + 1);
        let took = next.map(|next| spoken(next.at.duration_since(transition.at).as_secs_f64()));
        let why = transition.why.clone();
        table.row([transition.stage.clone(), shown(transition.at), took.unwrap_or_default(), why]);
    }
    table.render()
}

/// The candidate beside the champion on the window's test split, of a candidate that was judged.
fn metrics_of(run: &RunView) -> Option<String> {
    if run.metrics.is_empty() {
        return None;
    }
    let mut table = Table::new(["metric", "candidate", "champion"]);
    for name in metrics::ordered(run.metrics.keys().map(String::as_str)) {
        let shown = |value: Option<&f64>| value.map_or_else(String::new, |value| format!("{value:.4}"));
        let (ours, theirs) = (run.metrics.get(name), run.champion_metrics.get(name));
        table.row([name.to_owned(), shown(ours), shown(theirs)]);
    }
    Some(table.render())
}

/// What each gate said.
pub(in crate::cmd) fn gates(judgement: &Judgement) -> String {
    let mut table = Table::new(["gate", "says", "why"]);
    for verdict in &judgement.verdicts {
        table.row([verdict.gate.clone(), verdict.outcome.to_string(), verdict.why.clone()]);
    }
    let (outcome, users, at) = (judgement.outcome, grouped(judgement.users), shown(judgement.at));
    format!("gates: {outcome}, on {users} users, {at}\n{}", table.render())
}
