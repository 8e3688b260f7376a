//! A case: one job on so many workers under one plan, trained several times.

use std::path::PathBuf;

use muster_tests::folder::Folder;
use serde_json::{Value, json};

use crate::jobs::Job;

/// Trains cases.
pub(crate) struct Bench<'a> {
    pub(crate) folder: &'a Folder,
    pub(crate) calibration: PathBuf,
}

/// What is trained: one job on so many workers under one plan.
pub(crate) struct Wanted {
    pub(crate) job: &'static Job,
    pub(crate) workers: u32,
    pub(crate) plan: String,
    /// What is set over its file.
    pub(crate) sets: Vec<String>,
}

/// What a case was forecast and measured to take.
pub(crate) struct Case {
    pub(crate) job: String,
    pub(crate) workers: u32,
    pub(crate) plan: String,
    /// Milliseconds of a step.
    pub(crate) forecast: f64,
    /// Milliseconds of a step without steal time, run by run, ascending.
    pub(crate) measured: Vec<f64>,
    /// Milliseconds of a step with it, run by run, ascending.
    pub(crate) with_steal: Vec<f64>,
    /// Peak bytes of each rank: forecast, and the most of all runs.
    pub(crate) memory: Vec<(f64, f64)>,
    /// The phases of the median run, as the run told them.
    pub(crate) scored: Value,
}

impl Case {
    /// The median run's milliseconds: what a forecast is of, since a run is as likely to take longer as shorter.
    pub(crate) fn median(&self) -> f64 {
        middle(&self.measured)
    }

    /// The faster half of the runs, the middle one included: those that others left alone most.
    fn faster(&self) -> &[f64] {
        &self.measured[..self.measured.len().div_ceil(2)]
    }

    /// Their mean, in milliseconds.
    fn quiet(&self) -> f64 {
        self.faster().iter().sum::<f64>() / self.faster().len() as f64
    }

    /// What runs differ by from their median, as a share: the mean.
    pub(crate) fn noise(&self) -> f64 {
        differ(&self.measured)
    }

    /// The same with steal time.
    pub(crate) fn noise_with_steal(&self) -> f64 {
        differ(&self.with_steal)
    }

    /// The forecast's error against the median run.
    pub(crate) fn error(&self) -> f64 {
        self.forecast / self.median() - 1.0
    }

    /// The same against the median of what runs took with steal time.
    pub(crate) fn error_with_steal(&self) -> f64 {
        self.forecast / middle(&self.with_steal) - 1.0
    }

    /// The same against the faster half.
    pub(crate) fn error_of_faster(&self) -> f64 {
        self.forecast / self.quiet() - 1.0
    }

    /// The same against the fastest run.
    pub(crate) fn error_of_fastest(&self) -> f64 {
        self.forecast / self.measured[0] - 1.0
    }

    pub(crate) fn json(&self) -> Value {
        json!({
            "job": self.job, "workers": self.workers, "plan": self.plan, "forecast_ms": self.forecast,
            "measured_ms": self.measured, "with_steal_ms": self.with_steal, "median_ms": self.median(), "noise": self.noise(), "error": self.error(),
            "error_of_faster_half": self.error_of_faster(), "error_of_fastest": self.error_of_fastest(),
            "memory": self.memory, "scored": self.scored,
        })
    }
}

impl Case {
    /// As [`Case::json`] wrote it.
    pub(crate) fn from_json(json: &Value) -> Self {
        let number = |value: &Value| value.as_f64().unwrap();
        let numbers = |name: &str| json[name].as_array().unwrap().iter().map(number).collect();
        let text = |name: &str| json[name].as_str().unwrap().to_owned();
        let ranks = json["memory"].as_array().unwrap().iter();
        Self {
            job: text("job"),
            workers: json["workers"].as_u64().unwrap() as u32,
            plan: text("plan"),
            forecast: number(&json["forecast_ms"]),
            measured: numbers("measured_ms"),
            with_steal: numbers("with_steal_ms"),
            memory: ranks.map(|rank| (number(&rank[0]), number(&rank[1]))).collect(),
            scored: json["scored"].clone(),
        }
    }
}

impl Bench<'_> {
    /// Trains all of them so many times, round by round, so that a slow quarter of an hour of the machine is not one case's.
    pub(crate) fn cases(&self, wanted: &[Wanted], repeats: usize) -> Vec<Case> {
        let mut runs: Vec<Vec<Value>> = wanted.iter().map(|_| Vec::new()).collect();
        for round in 1..=repeats {
            for (wanted, runs) in wanted.iter().zip(&mut runs) {
                runs.push(self.train(wanted));
            }
            println!("round {round} of {repeats} is trained");
        }
        wanted.iter().zip(runs).map(|(wanted, runs)| case(wanted, runs)).collect()
    }

    fn train(&self, wanted: &Wanted) -> Value {
        let (job, out) = (wanted.job, "run");
        let file = format!("{}.job.toml", job.name);
        let mut spec: toml::Table = job.spec.parse().unwrap();
        spec.insert("name".into(), job.name.into());
        let training = spec.entry("training").or_insert_with(|| toml::Table::new().into());
        let training = training.as_table_mut().unwrap();
        training.entry("max_steps").or_insert_with(|| 60.into());
        training.insert("epochs".into(), 30.into());
        training.insert("validate_every".into(), 30.into());
        self.folder.write(&file, toml::to_string(&spec).unwrap());
        let _ = std::fs::remove_dir_all(self.folder.at(out));
        let (workers, calibration) = (wanted.workers.to_string(), self.calibration.display().to_string());
        let mut args =
            vec!["train", &file, "--dataset", job.dataset, "--workers", &workers, "--device", "cpu"];
        args.extend(["--out", out, "--calibration", &calibration]);
        for set in &wanted.sets {
            args.extend(["--set", set]);
        }
        self.folder.result(&args)
    }
}

fn case(wanted: &Wanted, mut runs: Vec<Value>) -> Case {
    let taken = |run: &Value, of: &str| run["scored"][of]["measured"].as_f64().unwrap();
    let step = |run: &Value| taken(run, "without_steal");
    let mut with_steal: Vec<f64> = runs.iter().map(|run| taken(run, "step")).collect();
    with_steal.sort_by(f64::total_cmp);
    runs.sort_by(|a, b| step(a).total_cmp(&step(b)));
    let median = &runs[runs.len() / 2]["scored"];
    let bytes = |rank: usize, of: &str| {
        runs.iter().filter_map(|run| run["scored"]["memory"][rank][of].as_f64()).fold(0.0, f64::max)
    };
    Case {
        job: wanted.job.name.to_owned(),
        workers: wanted.workers,
        plan: wanted.plan.clone(),
        forecast: median["step"]["forecast"].as_f64().unwrap(),
        measured: runs.iter().map(step).collect(),
        with_steal,
        memory: (0..wanted.workers as usize)
            .map(|rank| (bytes(rank, "forecast"), bytes(rank, "measured")))
            .collect(),
        scored: median.clone(),
    }
}

fn middle(ascending: &[f64]) -> f64 {
    ascending[ascending.len() / 2]
}

fn differ(ascending: &[f64]) -> f64 {
    let median = middle(ascending);
    let off: f64 = ascending.iter().map(|run| (run / median - 1.0).abs()).sum();
    off / ascending.len().saturating_sub(1).max(1) as f64
}
