//! What a month came to: day by day, what each way of training gave and cost, and what stopped whom.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use muster_core::retrain::gates;
use muster_core::retrain::registry::Entry;
use muster_core::retrain::view::{FleetView, ModelView, RunView};
use muster_core::retrain::{RunOutcome, Stage};
use serde_json::{Value, json};

use super::scores::{Score, Scores};
use crate::chart::{self, Chart, Series};
use crate::cmd::demo::write;
use crate::error::Error;
use crate::output::Report;
use crate::table::Table;

/// The chart.
const CHART: &str = "loop.svg";
/// All figures.
const FIGURES: &str = "loop.json";

/// A day of the loop.
#[derive(Debug, Clone, Default)]
pub(super) struct Day {
    /// From 1.
    pub(super) number: u32,
    pub(super) date: Timestamp,
    /// What was bad about it.
    pub(super) planted: Option<String>,
    /// How well the models in service that morning told what the day brought.
    pub(super) scores: Scores,
    /// The run of the night after it.
    pub(super) night: Option<RunView>,
    /// The champion after that.
    pub(super) champion: Option<u64>,
}

impl Day {
    /// A line for people.
    pub(super) fn line(&self) -> String {
        let score = |score: &Option<Score>| {
            score.as_ref().map_or("     -".to_owned(), |score| format!("{:.4}", score.ndcg))
        };
        let night = match &self.night {
            Some(run) => format!("{}{}", run_end(run), reason(run)),
            None => "no run".to_owned(),
        };
        let planted = self.planted.as_ref().map(|words| format!("  [{words}]")).unwrap_or_default();
        let Scores { shop, full, once } = &self.scores;
        format!(
            "day {:>2}  {}  loop {} full {} once {}  night: {night}{planted}",
            self.number,
            self.date.strftime("%a %b %d"),
            score(shop),
            score(full),
            score(once),
        )
    }

    fn json(&self) -> Value {
        let score = |score: &Option<Score>| {
            score
                .as_ref()
                .map(|score| json!({"NDCG@10": score.ndcg, "HR@10": score.hit_rate, "users": score.users}))
        };
        json!({
            "day": self.number, "date": self.date, "planted": self.planted, "champion": self.champion,
            "loop": score(&self.scores.shop), "full": score(&self.scores.full), "once": score(&self.scores.once),
            "run": self.night.as_ref().map(|run| &run.run),
        })
    }
}

fn run_end(run: &RunView) -> String {
    match (&run.stage, run.version) {
        (Stage::Ended { outcome }, Some(version)) => format!("{outcome} (version {version})"),
        (Stage::Watching { .. }, Some(version)) => format!("promoted (version {version}), watched"),
        (Stage::Ended { outcome }, None) => outcome.to_string(),
        (stage, _) => stage.name().to_owned(),
    }
}

/// The gates that stopped it, or why it failed.
fn reason(run: &RunView) -> String {
    let gates = stopped_by(run);
    match run.outcome {
        Some(RunOutcome::Stopped) if !gates.is_empty() => format!(" by {}", gates.join(", ")),
        Some(RunOutcome::Stopped | RunOutcome::Failed) => {
            format!(": {}", run.why.lines().next().unwrap_or_default())
        }
        _ => String::new(),
    }
}

fn stopped_by(run: &RunView) -> Vec<String> {
    let verdicts = run.judgement.iter().flat_map(|judgement| &judgement.verdicts);
    verdicts
        .filter(|verdict| verdict.outcome == gates::Outcome::Stopped)
        .map(|verdict| verdict.gate.clone())
        .collect()
}

/// A month.
#[derive(Debug)]
pub(super) struct Told {
    folder: PathBuf,
    pub(super) days: Vec<Day>,
    pub(super) runs: Vec<RunView>,
    pub(super) model: Option<ModelView>,
    pub(super) history: Vec<Entry>,
    pub(super) fleet: FleetView,
}

/// A way of training, over the month.
struct Way {
    name: &'static str,
    /// Its mean score over the days on which all three were scored.
    mean: f64,
    last: f64,
    runs: usize,
    worker_seconds: f64,
}

impl Told {
    pub(super) fn new(folder: &Path) -> Self {
        Self {
            folder: folder.to_owned(),
            days: Vec::new(),
            runs: Vec::new(),
            history: Vec::new(),
            model: None,
            fleet: FleetView::default(),
        }
    }

    /// Writes the chart and the figures.
    pub(super) fn save(&self) -> Result<(), Error> {
        for (name, text) in [(CHART, self.chart()), (FIGURES, format!("{:#}\n", self.json()))] {
            write(&self.folder, name, &text)?;
        }
        Ok(())
    }

    fn chart(&self) -> String {
        let line = |name: &str, of: fn(&Scores) -> &Option<Score>| Series {
            name: name.to_owned(),
            points: self
                .days
                .iter()
                .filter_map(|day| Some((f64::from(day.number), of(&day.scores).as_ref()?.ndcg)))
                .collect(),
        };
        let cost = |name: &str, schedule: &str| {
            let mut spent = 0.0;
            let mut runs: Vec<&RunView> = self.runs.iter().filter(|run| run.schedule == schedule).collect();
            runs.sort_by_key(|run| (run.logical, run.attempt));
            let first = self.days.first().map(|day| day.date).unwrap_or_default();
            let points = runs.iter().map(|run| {
                spent += run.cost.worker_seconds;
                (run.logical.duration_since(first).as_secs_f64() / 86_400.0, spent)
            });
            Series { name: name.to_owned(), points: points.collect() }
        };
        chart::render(&[
            Chart {
                title: "NDCG@10 of the model in service on the day's views".to_owned(),
                x_label: "day".to_owned(),
                series: vec![
                    line("loop: from the champion", |scores| &scores.shop),
                    line("from initial values each night", |scores| &scores.full),
                    line("trained once", |scores| &scores.once),
                ],
            },
            Chart {
                title: "worker seconds spent on training".to_owned(),
                x_label: "day".to_owned(),
                series: vec![
                    cost("loop: from the champion", "nightly"),
                    cost("from initial values each night", "full"),
                    cost("trained once", "once"),
                ],
            },
        ])
    }

    fn ways(&self) -> Vec<Way> {
        let all = |day: &&Day| {
            let Scores { shop, full, once } = &day.scores;
            shop.is_some() && full.is_some() && once.is_some()
        };
        let days: Vec<&Day> = self.days.iter().filter(all).collect();
        let way = |name, schedule: &str, of: fn(&Scores) -> &Option<Score>| {
            let scores: Vec<f64> =
                days.iter().filter_map(|day| Some(of(&day.scores).as_ref()?.ndcg)).collect();
            let runs = self.runs.iter().filter(|run| run.schedule == schedule);
            let last = &scores[scores.len().saturating_sub(7)..];
            Way {
                name,
                mean: mean(&scores),
                last: mean(last),
                runs: runs.clone().count(),
                worker_seconds: runs.map(|run| run.cost.worker_seconds).sum(),
            }
        };
        vec![
            way("loop: from the champion", "nightly", |scores| &scores.shop),
            way("from initial values each night", "full", |scores| &scores.full),
            way("trained once", "once", |scores| &scores.once),
        ]
    }

    fn outcomes(&self) -> BTreeMap<String, usize> {
        let mut outcomes = BTreeMap::new();
        for run in self.runs.iter().filter(|run| run.schedule == "nightly") {
            let end = run.outcome.map_or_else(|| run.stage.name().to_owned(), |end| end.to_string());
            *outcomes.entry(end).or_default() += 1;
        }
        outcomes
    }

    /// Candidates that each gate stopped.
    fn stops(&self) -> BTreeMap<String, usize> {
        let mut stops = BTreeMap::new();
        for run in self.runs.iter().filter(|run| run.schedule == "nightly") {
            stopped_by(run).into_iter().for_each(|gate| *stops.entry(gate).or_default() += 1);
            if run.outcome == Some(RunOutcome::Stopped) && stopped_by(run).is_empty() {
                *stops.entry("approval".to_owned()).or_default() += 1;
            }
        }
        stops
    }
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len().max(1) as f64
}

fn counted(counts: &BTreeMap<String, usize>) -> String {
    counts.iter().map(|(name, count)| format!("{name} {count}")).collect::<Vec<_>>().join(", ")
}

impl Report for Told {
    fn text(&self) -> String {
        let columns = ["way", "mean NDCG@10", "last 7 days", "runs", "worker seconds"];
        let mut table = Table::new(columns.map(str::to_owned));
        for way in self.ways() {
            table.row([
                way.name.to_owned(),
                format!("{:.4}", way.mean),
                format!("{:.4}", way.last),
                way.runs.to_string(),
                format!("{:.1}", way.worker_seconds),
            ]);
        }
        let (svg, figures) = (self.folder.join(CHART), self.folder.join(FIGURES));
        format!(
            "\n{}\n\n  runs of the loop: {}\n  candidates stopped, by gate: {}\n\n  chart    {}\n  figures  {}",
            table.render(),
            counted(&self.outcomes()),
            counted(&self.stops()),
            svg.display(),
            figures.display(),
        )
    }

    fn json(&self) -> Value {
        let ways = self.ways().into_iter().map(|way| {
            json!({
                "way": way.name, "mean_ndcg": way.mean, "last_week_ndcg": way.last, "runs": way.runs,
                "worker_seconds": way.worker_seconds,
            })
        });
        json!({
            "folder": self.folder, "days": self.days.iter().map(Day::json).collect::<Vec<_>>(),
            "ways": ways.collect::<Vec<_>>(), "outcomes": self.outcomes(), "stopped_by": self.stops(), "runs": self.runs,
            "fleet": self.fleet, "history": self.history,
        })
    }
}
