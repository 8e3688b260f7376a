//! What a job's steps are forecast to take on workers of this machine.

use std::path::Path;

use muster_proto::capacity::Phase;
use muster_proto::control::Queueing;
use muster_proto::measured::Forecast;
use serde_json::{Value, json};

use crate::error::Error;
use crate::forecast::{self, Counted, Here};
use crate::local::threads_each;
use crate::output::Report;
use crate::scored::Scored;
use crate::submission::{self, JobFile, Placement};
use crate::table::Table;

/// The question: a job over a dataset, on so many workers.
#[derive(Debug, Clone, Copy)]
pub struct Question<'a> {
    /// The job's file with its overrides.
    pub job: JobFile<'a>,
    /// The prepared dataset.
    pub dataset: &'a Path,
    /// Workers.
    pub workers: u32,
    /// Threads of each.
    pub threads: Option<u32>,
    /// The calibration, where one is named.
    pub calibration: Option<&'a Path>,
}

/// A job's forecast, and what it was made from where that was counted.
#[derive(Debug, Clone)]
pub struct JobPlan(Forecast, Option<Counted>);

/// Answers it.
///
/// # Errors
/// A job or dataset that does not fit, pieces that fit nowhere, or a calibration that lacks a term.
pub fn of(question: &Question<'_>) -> Result<JobPlan, Error> {
    let job = question.job.load()?;
    let placement = Placement {
        dataset: question.dataset.to_path_buf(),
        workers: question.workers,
        min_workers: 1,
        device: None,
        queueing: Queueing::default(),
    };
    let submission = submission::plan(&job, question.job.path, &placement)?;
    let known = forecast::known(question.calibration)?;
    let threads = question.threads.unwrap_or_else(|| threads_each(question.workers));
    let here = Here { workers: question.workers, threads, known: known.as_ref() };
    let (forecast, counted) = forecast::counted(&job, &submission, here)?;
    Ok(JobPlan(forecast, counted))
}

impl Report for JobPlan {
    fn text(&self) -> String {
        let Forecast { workers, threads, layouts, extrapolated, source, .. } = &self.0;
        let mut table = Table::new(["phase", "ms", "share"]);
        let step = self.0.step();
        let phases = Phase::ALL.into_iter().map(|phase| (phase.name(), self.0.phase(phase)));
        for (name, seconds) in phases.chain([("rest", self.0.rest), ("step", step)]) {
            let share = format!("{:.1} %", 100.0 * seconds / step.max(f64::MIN_POSITIVE));
            table.row([name.to_owned(), format!("{:.3}", seconds * 1e3), share]);
        }
        let mut lines = vec![
            format!("{workers} workers with {threads} threads each"),
            layouts.iter().map(|(name, layout)| format!("  {name}: {layout}")).collect::<Vec<_>>().join("\n"),
            table.render(),
        ];
        let memory = self.0.peak_bytes.iter().enumerate();
        let memory = memory.map(|(rank, bytes)| {
            format!("  rank {rank} holds at most {:.1} MiB", *bytes as f64 / f64::from(1 << 20))
        });
        lines.extend(memory);
        lines.push(format!("forecast from the {source}"));
        if !extrapolated.is_empty() {
            lines.push(format!("beyond what was measured: {}", extrapolated.join(", ")));
        }
        lines.retain(|line| !line.is_empty());
        lines.join("\n")
    }

    fn json(&self) -> Value {
        let scored = Scored { forecast: Some(&self.0), measured: &[] };
        let counted = self.1.as_ref();
        json!({
            "forecast": self.0, "step_seconds": self.0.step(), "scored": scored.json(),
            "workload": counted.map(|counted| &counted.workload), "plan": counted.map(|counted| &counted.plan),
        })
    }
}
